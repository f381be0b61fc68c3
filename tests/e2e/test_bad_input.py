#!/usr/bin/python3
"""Bad input gets a clear error, a log line without patient data, and nothing
already held is lost: not DICOM, truncated DICOM, 2 GiB claimed length,
unknown calling AE, wrong key, expired, reused and damaged invite, port taken,
second daemon on one home, corrupted segment, full disk.
"""
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

import e2e
from nodes import Node, storescu, until

PATIENT = "P-SECRET-4711"
NAME = "Geheimrat^Wolfgang"


def held(node):
    """Images in quarantine."""
    return sum(i["instances"] for i in node.rows("quarantine", "list"))


def imported(node, path):
    """The one row of an import of one file."""
    done = node.cli("import", path, "--share", e2e.SHARE, "--compartment",
                    "images", "--json", check=False)
    rows = [e2e.json.loads(x) for x in done.stdout.splitlines() if x]
    assert rows[-1].get("summary"), done.stdout + done.stderr
    return rows[0]


def test_not_dicom(node, top):
    """A text file is refused, the reason says so."""
    path = top / "notes.dcm"
    path.write_text("this is a shopping list\n" * 40, encoding="ascii")
    row = imported(node, path)
    assert row["state"] == "refused", row
    assert "DICOM" in row["reason"], row


def test_truncated(node, top):
    """A file cut in its pixels is kept aside, never released."""
    good = e2e.make_series(top / "cut", 1, seed=40, patient=PATIENT,
                           name=NAME)[0]
    data = good.read_bytes()
    good.write_bytes(data[:len(data) - 3000])
    row = imported(node, good)
    assert row["state"] in ("quarantined", "refused"), row
    if row["state"] == "quarantined":
        items = node.rows("quarantine", "list")
        err = e2e.error_of(node.cli("quarantine", "release", items[-1]["id"],
                                    "--reason", "try", "--json", check=False))
        assert "cannot be released" in err["cause"], err


def test_claimed_length(node, top):
    """An element that claims 2 GiB is not believed."""
    good = e2e.make_series(top / "claim", 1, seed=41)[0]
    data = bytearray(good.read_bytes())
    at = data.index(b"\xe0\x7f\x10\x00OW")
    struct.pack_into("<I", data, at + 8, 0x7FFFFFFE)
    good.write_bytes(data)
    row = imported(node, good)
    assert row["state"] in ("quarantined", "refused"), row
    with socket.create_connection(("127.0.0.1", node.port("dicom"))) as s:
        s.sendall(b"\x01\x00\x7f\xff\xff\xff" + b"\0" * 4096)
        s.settimeout(5)
        try:
            while s.recv(4096):
                pass
        except (OSError, TimeoutError):
            pass


def test_unknown_ae(node, top):
    """A calling AE that is in no inbox is rejected."""
    files = e2e.make_series(top / "ae", 2, seed=42)
    before = held(node)
    done = storescu(node.port("dicom"), "INTRUDER", files)
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr, \
        done.stdout + done.stderr
    done = storescu(node.port("dicom"), "SCANNER1", files, called_ae="OTHER")
    assert done.returncode != 0, "another called AE title was accepted"
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr, \
        done.stdout + done.stderr
    assert held(node) == before


def test_port_taken(node, top):
    """A node whose DICOM port is used says which and ends."""
    other = Node(e2e.BIN, top / "other", "other")
    other.init(dicom__listen=f"127.0.0.1:{node.port('dicom')}",
               peers__listen="off", rest__listen="off")
    done = subprocess.run([str(e2e.BIN / "pesscarad"), "--home",
                           str(other.home)], text=True, capture_output=True,
                          timeout=20, check=False)
    assert done.returncode == 1
    assert "port is taken" in done.stderr, done.stderr
    assert "next:" in done.stderr, done.stderr


def test_second_daemon(node, _top):
    """One home, one daemon."""
    done = subprocess.run([str(e2e.BIN / "pesscarad"), "--home",
                           str(node.home)], text=True, capture_output=True,
                          timeout=20, check=False)
    assert done.returncode == 1
    assert "another" in done.stderr, done.stderr
    assert "next:" in done.stderr, done.stderr
    assert node.json("status")["site"] == node.site


def test_wrong_key(node, top):
    """A peer whose key is not the expected one is never connected."""
    hub = Node(e2e.BIN, top / "hub", "hub")
    hub.init(dicom__listen="off", peers__listen="127.0.0.1:0",
             rest__listen="off")
    own = Node(e2e.BIN, top / "stranger", "stranger").init()["key"]
    hub.start()
    try:
        node.cli("peer", "add", f"127.0.0.1:{hub.port('peers')}", "--key",
                 own)
        bad = until("the refusal shows", 15, lambda: [
            p for p in node.rows("peer", "list") if p.get("error")])
        assert not bad[0]["connected"], bad
        err = e2e.error_of(node.cli("peer", "add", "127.0.0.1:1", "--key",
                                    own[:-3] + "abc", "--json", check=False))
        assert "key" in err["cause"], err
        node.cli("peer", "remove", f"127.0.0.1:{hub.port('peers')}")
    finally:
        hub.stop()


def joiner(top, name):
    """A started node that belongs to nothing yet."""
    node = Node(e2e.BIN, top / name, name)
    node.init(dicom__listen="off", peers__listen="off", rest__listen="off")
    node.start()
    return node


def invited(node, *more):
    """A fresh invite for a reader."""
    return node.json("share", "invite", e2e.SHARE, "--role", "reader",
                     "--compartment", "images", *more)["invite"]


def granted(node):
    """Is this node a reader by now?"""
    return [s for s in node.json("status")["shares"] if s["role"] == "reader"]


def test_invites(node, top):
    """Damaged, expired and reused invites are refused with the reason."""
    late = invited(node, "--expires", "1s")
    invite = invited(node)
    err = e2e.error_of(node.cli("share", "join", invite, "--json",
                                check=False))
    assert "member" in err["cause"], err
    err = e2e.error_of(node.cli("share", "invite", e2e.SHARE, "--role",
                                "emperor", "--compartment", "images",
                                "--json", check=False))
    assert "role" in err["cause"], err
    one, two = joiner(top, "one"), joiner(top, "two")
    try:
        err = e2e.error_of(one.cli("share", "join", invite[:-4] + "aaaa",
                                   "--json", check=False))
        assert "invite" in err["cause"], err
        time.sleep(2.1)  # whole seconds, rounded up
        err = e2e.error_of(one.cli("share", "join", late, "--json",
                                   check=False))
        assert "expired" in err["cause"], err
        one.cli("share", "join", invite)
        until("the first joiner is granted", 15, lambda: granted(one))
        two.cli("share", "join", invite)
        until("the registrar refuses the reuse", 15,
              lambda: "claim refused" in node.log_tail(100))
        assert not granted(two)
    finally:
        one.stop()
        two.stop()


def test_corrupt_segment(node, top):
    """Flipped bytes are found by verify --deep, not served, and the rest of
    the store stays readable."""
    files = e2e.make_series(top / "rot", 3, seed=50, size=256)
    assert storescu(node.port("dicom"), "SCANNER1", files).returncode == 0
    item = node.rows("quarantine", "list")[-1]
    done = node.json("quarantine", "release", item["id"], "--reason", "ok")
    asset = done["asset"]
    tagged = node.rows("find", "level=series and tag:source=scanner")
    assert [a["id"] for a in tagged] == [asset], tagged  # the inbox's tag
    node.stop()
    segment = sorted((node.home / "store").rglob("*seg*"))
    segment = [p for p in segment if p.is_file()][-1]
    with open(segment, "r+b") as f:
        data = f.read()
        # the middle of the largest run of ciphertext before the end
        end = len(data.rstrip(b"\0"))
        f.seek(end // 2)
        f.write(bytes(b ^ 0xff for b in data[end // 2:end // 2 + 64]))
    node.start()
    done = node.cli("verify", "--deep", "--json", check=False)
    assert done.returncode == 1, done.stdout
    assert e2e.json.loads(done.stdout)["bad"], "flipped bytes were not found"
    done = node.cli("get", asset, "-o", top / "out", "--json", check=False)
    for path in (top / "out").rglob("*.dcm"):
        row = [r for r in map(e2e.json.loads, done.stdout.splitlines())
               if r["path"] == str(path)]
        assert row, f"{path} was written but not reported"
    assert node.json("status")["store"]["chunks"] > 0


def test_full_disk(top):
    """No space: the sender gets A700 or the like, the node stays up, what it
    held is intact."""
    disk = top / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs",
                       str(disk)], check=False,
                      capture_output=True).returncode != 0:
        print("full disk: no tmpfs can be mounted here, not shown")
        return
    node = None
    try:
        node = e2e.single(disk, "centre9", store__segment_bytes="8m",
                          store__map_bytes="16m")
        files = e2e.make_series(top / "full", 60, seed=60, size=1024)
        done = storescu(node.port("dicom"), "SCANNER1", files)
        assert done.returncode != 0, "60 x 2 MB fitted into 48 MB?"
        assert held(node) > 0
        assert not node.json("verify", "--deep")["bad"]
        assert node.json("status")["site"] == "centre9"
    finally:
        if node:
            node.stop()
        subprocess.run(["umount", str(disk)], check=False)


def no_patient_in(log):
    """The log of the node names no patient; the control file does."""
    text = pathlib.Path(log).read_bytes()
    for word in (PATIENT, "Geheimrat", "P-SYNTH-77", "Nachname", "19610203",
                 "ACC-998877"):
        assert word.encode() not in text, f"{word} is in the log"
    assert b"association" in text, "the log says nothing at all"


def main():
    """All cases on one node, which must live through them."""
    with tempfile.TemporaryDirectory(prefix="psc-bad-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1", peers__listen="127.0.0.1:0")
        try:
            keep = e2e.make_series(top / "keep", 5, seed=1)
            assert storescu(node.port("dicom"), "SCANNER1",
                            keep).returncode == 0
            for case in (test_not_dicom, test_truncated, test_claimed_length,
                         test_unknown_ae, test_port_taken, test_second_daemon,
                         test_wrong_key, test_invites, test_corrupt_segment):
                began = time.monotonic()
                case(node, top)
                assert held(node) >= 5, f"{case.__name__} lost images"
                print(f"ok {case.__name__} {time.monotonic() - began:.1f} s")
            no_patient_in(f"{node.home}.log")
        finally:
            node.stop()
        if os.geteuid() == 0:
            test_full_disk(top)
            print("ok test_full_disk")


if __name__ == "__main__":
    sys.exit(main())
