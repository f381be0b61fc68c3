#!/usr/bin/python3
"""Storage commitment asked by Orthanc: success is reported, in an association
of our own, only if every object is durable here; an inbox without `commit`
does not offer it; a report that cannot be delivered outlives kill -9."""
import json
import os
import pathlib
import struct
import sys
import tempfile

import e2e
import pydicom
import window_scu
from archives import Orthanc, element, free_port
from nodes import storescu, until


def refs(files):
    """[class, instance] of each."""
    metas = [pydicom.filereader.read_file_meta_info(str(f)) for f in files]
    return [[str(m.MediaStorageSOPClassUID),
             str(m.MediaStorageSOPInstanceUID)] for m in metas]


def ask(orthanc, files):
    """Orthanc asks us; the path of its report."""
    return orthanc.rest("/modalities/us/storage-commitment",
                        {"DicomInstances": refs(files)})["Path"]


def report(orthanc, path, seconds=20):
    """The report, once it came."""
    def ended():
        got = orthanc.rest(path)
        return got if got["Status"] != "Pending" else None
    return until("a report comes", seconds, ended)


def check(node, orthanc, files):
    """All here, some here, none here, and many."""
    def send(some):
        done = storescu(node.port("dicom"), "ORTHANC", some)
        assert done.returncode == 0, done.stderr
    send(files[:3])
    got = report(orthanc, ask(orthanc, files[:3]))
    assert got["Status"] == "Success", got
    assert len(got["Success"]) == 3 and not got["Failures"], got
    got = report(orthanc, ask(orthanc, files[:5]))
    assert got["Status"] == "Failure", got
    assert len(got["Success"]) == 3 and len(got["Failures"]) == 2, got
    assert {f["FailureReason"] for f in got["Failures"]} == {0x0112}, got
    # what was rejected is not here
    item = node.rows("quarantine", "list")[-1]["id"]
    node.cli("quarantine", "reject", item, "--reason", "x")
    got = report(orthanc, ask(orthanc, files[:3]))
    assert len(got["Failures"]) == 3, got
    send(files)
    got = report(orthanc, ask(orthanc, files))
    assert got["Status"] == "Success" and len(got["Success"]) == len(files)
    text = node.log_tail(80)
    assert "storage commitment is on" in text
    assert f"here={len(files)} of={len(files)}" in text, text


COMMIT = ("1.2.840.10008.1.20.1", "1.2.840.10008.1.2")


def action(scu, kind, data):
    """The status of an N-ACTION of this type."""
    cmd = b"".join(window_scu.element(tag, value) for tag, value in (
        (0x0003, window_scu.uid(COMMIT[0])), (0x0100, b"\x30\x01"),
        (0x0110, b"\1\0"), (0x0800, b"\1\0"),
        (0x1001, window_scu.uid(COMMIT[0] + ".1")),
        (0x1008, bytes([kind, 0]))))
    ctx = scu.contexts[COMMIT]
    scu.sent[1] = "action"
    out, most = scu.data(ctx, cmd, 3), window_scu.PDV_MAX
    for at in range(0, max(len(data), 1), most):
        out += scu.data(ctx, data[at:at + most],
                        2 if at + most >= len(data) else 0)
    scu.sock.sendall(out)
    scu.take()
    return scu.answers["action"]


def hostile(node):
    """What is ill-formed is refused, and the association goes on."""
    scu = window_scu.WindowScu(node.port("dicom"), "ORTHANC", {COMMIT})
    one = element(8, 0x1150, "1.2") + element(8, 0x1155, "1.2.3")
    bad = element(8, 0x1150, "1.2") + element(8, 0x1155, "../../etc")

    def request(item, transaction="2.25.1", n=1):
        body = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
        return element(8, 0x1195, transaction) + struct.pack(
            "<HHI", 8, 0x1199, len(body) * n) + body * n
    assert action(scu, 2, request(one)) == 0x0123
    assert action(scu, 1, os.urandom(500)) != 0
    assert action(scu, 1, b"") != 0
    assert action(scu, 1, request(one)[:-3]) != 0
    assert action(scu, 1, request(bad)) == 0x0115
    assert action(scu, 1, request(one, "")) == 0x0115
    assert action(scu, 1, request(one, n=20001)) == 0x0115
    assert action(scu, 1, request(one, n=20000)) == 0
    scu.finish()


def later(node, orthanc, files):
    """A report that cannot go out waits, also over kill -9."""
    settings = [{"calling_ae": "ORTHANC", "share": e2e.SHARE,
                 "compartment": "images",
                 "commit": f"127.0.0.1:{free_port()}"}]
    node.stop()
    node.cli("config", "set", f"dicom.inboxes={json.dumps(settings)}")
    node.start()
    path = ask(orthanc, files[:2])
    until("it is tried", 20,
          lambda: "a report was not taken" in node.log_tail(20))
    assert orthanc.rest(path)["Status"] == "Pending"
    node.kill()
    # the address is kept with the request: someone must listen there
    port = int(settings[0]["commit"].rsplit(":", 1)[1])
    orthanc.stop()
    node.start()
    again = OrthancAt.at(port, orthanc)
    try:
        until("the report goes out after the kill", 40,
              lambda: "storage commitment reported" in node.log_tail(30))
    finally:
        again.stop()


class OrthancAt(Orthanc):
    """One that listens where it is told to."""

    @classmethod
    def at(cls, port, old):
        """Another process with the storage of an old one."""
        self = cls.__new__(cls)
        self.dir, self.port, self.http = old.dir, port, old.http
        self.run(*old.to)
        return self


def off(node, orthanc, files):
    """Without `commit` the service is not offered."""
    node.stop()
    node.cli("config", "set", "dicom.inboxes=" + json.dumps(
        [{"calling_ae": "ORTHANC", "share": e2e.SHARE,
          "compartment": "images"}]))
    node.start()
    try:
        path = ask(orthanc, files[:1])
        assert orthanc.rest(path)["Status"] != "Success"
    except OSError:
        pass  # Orthanc says that the peer does not offer it
    assert "storage commitment" not in node.log_tail(4)


def main():
    """A node and an Orthanc that know each other."""
    with tempfile.TemporaryDirectory(prefix="psc-commit-") as tmp:
        top = pathlib.Path(tmp)
        listen = free_port()
        Orthanc.http = free_port()
        files = e2e.make_series(top / "in", 300, 1, size=16)
        orthanc = Orthanc(top, "PESSCARA", listen)
        node = None
        try:
            node = e2e.single(
                top, "node", dicom__listen=f"127.0.0.1:{listen}",
                dicom__inboxes=json.dumps(
                    [{"calling_ae": "ORTHANC", "share": e2e.SHARE,
                      "compartment": "images", "profile": "basic",
                      "commit": f"127.0.0.1:{orthanc.port}"}]))
            check(node, orthanc, files)
            hostile(node)
            off(node, orthanc, files)
            later(node, orthanc, files)
        finally:
            if node is not None:
                node.stop()
            orthanc.stop()
    print("success is said of what is here, and of nothing else")


if __name__ == "__main__":
    sys.exit(main())
