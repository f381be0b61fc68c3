#!/usr/bin/python3
"""Pull from real archives (Orthanc, dcmqrscp): C-FIND says what there is,
C-GET and C-MOVE bring it, and what was found stands beside what is here; a
series that the archive lost half of is reported as incomplete; nothing but
what was asked for comes; an archive that cannot be reached says so."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import e2e
import pydicom
from archives import Dcmqrscp, Liar, Orthanc, element, free_port


def pull(node, archive, *args):
    """Rows by series, and the summary."""
    rows = node.rows("pull", archive, *args)
    rows = [r for r in rows if "progress" not in r]
    return {r["series"]: r for r in rows[:-1]}, rows[-1]["summary"]


def series_of(path):
    """Its SeriesInstanceUID."""
    return str(pydicom.dcmread(path, stop_before_pixels=True)
               .SeriesInstanceUID)


def held(node):
    """Instances in quarantine by sender."""
    out = {}
    for item in node.rows("quarantine", "list"):
        ae = item["calling_ae"]
        out[ae] = out.get(ae, 0) + item["instances"]
    return out


def test_get(node, archive, files):
    """C-FIND, then C-GET of one patient; twice is nothing new."""
    name, sender = archive.ae.lower(), archive.ae
    rows, said = pull(node, name, "--patient", "P-ONE", "--dry-run")
    assert said["found"] == 8 and said["here"] == 0, said
    assert len(rows) == 2, rows
    assert held(node).get(sender, 0) == 0, "--dry-run brought images"
    rows, said = pull(node, name, "--patient", "P-ONE")
    assert said["found"] == said["here"] == 8, (said, rows)
    assert held(node)[sender] == 8, held(node)
    row = rows[series_of(files["one"][0])]
    assert (row["found"], row["stored"], row["missing"]) == (5, 5, 0), row
    rows, said = pull(node, name, "--patient", "P-ONE", "--modality", "MR")
    assert said["missing"] == 0
    assert all(r["duplicate"] == r["found"] for r in rows.values()), rows
    assert held(node)[sender] == 8


def test_move(node, archive, files):
    """C-MOVE comes through our own door, from an AE title that is let in."""
    name = archive.ae.lower()
    one = series_of(files["two"][0])
    rows, said = pull(node, name, "--patient", "P-TWO", "--move")
    assert said["found"] == said["here"] == 4, (said, rows)
    assert list(rows) == [one], rows
    assert "association opened" in node.log_tail(200)


def test_lost(node, archive, files):
    """The archive lost two images after it told of them."""
    lost = 0
    for path in sorted((archive.dir / "db").rglob("*")):
        if path.is_file() and path.read_bytes()[128:132] == b"DICM":
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            if ds.PatientID == "P-LOST" and lost < 2:
                path.write_bytes(b"")
                lost += 1
    assert lost == 2
    done = node.cli("pull", archive.ae.lower(), "--patient", "P-LOST",
                    check=False)
    assert done.returncode == 1, done.stdout
    assert "2 images are not here" in done.stderr, done.stderr
    assert "5 found, 3 here, 2 missing: the archive" in done.stdout
    assert len(files["lost"]) == 5


def test_refusals(node, archive):
    """What is asked wrongly, or of nobody, says what to do."""
    def no(*args):
        return e2e.error_of(node.cli("pull", *args, "--json", check=False))
    name = archive.ae.lower()
    assert "everything is refused" in no(name)["cause"]
    assert "cannot be asked for" in no(name, "--patient", "P*")["cause"]
    assert "no archive" in no("nowhere", "--patient", "P")["cause"]
    assert "nothing that fits" in no(name, "--patient", "NOBODY")["cause"]
    assert "cannot connect" in no("gone", "--patient", "P")["cause"]
    said = no("wrong", "--patient", "P-ONE")
    assert "called AE title not recognised" in said["cause"], said
    assert "is in no inbox" in no("deaf", "--patient", "P", "--move")["cause"]


def test_liars(node):
    """Rows of another patient, without UIDs, cut short, and noise."""
    done = node.cli("pull", "liar", "--patient", "P-ONE", check=False)
    assert done.returncode == 1
    assert "nothing that fits" in done.stderr, done.stderr
    assert "not asked for are left out" in node.log_tail(5)
    done = node.cli("pull", "noise", "--patient", "P-ONE", check=False)
    assert "archive noise: " in done.stderr, done.stderr
    node.cli("status")


def test_stop(node):
    """An archive that never answers does not hold the node's stop."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        archives = node.json("config", "show")["dicom"]["archives"]
        archives[0]["address"] = f"127.0.0.1:{mute.getsockname()[1]}"
        node.stop()
        node.cli("config", "set", f"dicom.archives={json.dumps(archives)}")
        node.start()
        cli = subprocess.Popen(
            [str(node.bin / "pesscara"), "--home", str(node.home), "pull",
             archives[0]["name"], "--patient", "P"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        caller, _ = mute.accept()
        node.proc.terminate()
        assert node.proc.wait(15) == 0
        assert cli.wait(15) != 0
        caller.close()


LIES = [element(0x0010, 0x0020, "P-OTHER") + element(0x0020, 0x000D, "1.2.3"),
        element(0x0010, 0x0020, "P-ONE") + element(0x0020, 0x000D, "../etc"),
        element(0x0010, 0x0020, "P-ONE") + b"\x20\0\x0d\0\xff\xff\0\0001",
        b"", os.urandom(300)]


def compressed(top):
    """A series whose images are in four compressed syntaxes and one not."""
    uid, out = "1.2.826.0.1.3680043.8.498.77.99", []
    (top / "comp").mkdir()
    for i, path in enumerate(
            [e2e.DATA / "compressed" / s / "in" / "IM-0001-0001-0001.dcm"
             for s in ("j2k", "jpeg_lossless", "jpeg_ls", "rle")] +
            [e2e.DATA / "odd" / "MR_small.dcm"]):
        ds = pydicom.dcmread(path)
        ds.PatientID, ds.StudyInstanceUID = "P-COMP", f"{uid}.1"
        ds.SeriesInstanceUID = f"{uid}.2"
        ds.SOPInstanceUID = f"{uid}.3.{i}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        out.append(top / "comp" / f"{i}.dcm")
        ds.save_as(out[-1])
    return out


def syntaxes(paths):
    """Their transfer syntaxes."""
    return sorted(pydicom.filereader.read_file_meta_info(p).TransferSyntaxUID
                  for p in paths)


def test_as_stored(node, archive, top):
    """C-GET asks for every syntax: nothing is decompressed on the way."""
    files = compressed(top)
    subprocess.run(["dcmsend", "-dn", "-aec", archive.ae, "127.0.0.1",
                    str(archive.port)] + [str(f) for f in files], check=True,
                   capture_output=True)
    _, said = pull(node, archive.ae.lower(), "--patient", "P-COMP")
    assert said["found"] == said["here"] == 5, said
    item = node.rows("quarantine", "list")[-1]["id"]
    asset = node.json("quarantine", "release", item, "--reason",
                      "synthetic")["asset"]
    node.cli("get", asset, "-o", top / "out")
    got = [p for p in (top / "out").rglob("*") if p.is_file()]
    assert syntaxes(got) == syntaxes(files), syntaxes(got)


def main():
    """A node and two archives, each knows where the node listens."""
    with tempfile.TemporaryDirectory(prefix="psc-pull-") as tmp:
        top = pathlib.Path(tmp)
        listen, archives = free_port(), []
        target = {"share": e2e.SHARE, "compartment": "images",
                  "profile": "basic"}
        files = {"one": e2e.make_series(top / "1", 5, 1, patient="P-ONE"),
                 "more": e2e.make_series(top / "2", 3, 2, patient="P-ONE"),
                 "two": e2e.make_series(top / "3", 4, 3, patient="P-TWO"),
                 "lost": e2e.make_series(top / "4", 5, 4, patient="P-LOST")}
        try:
            for kind in (Orthanc, Dcmqrscp):
                archives.append(kind(top, "PESSCARA", listen))
                archives[-1].take(sum(files.values(), []))
            entries = [{"name": a.ae.lower(), "ae": a.ae, **target,
                        "address": f"127.0.0.1:{a.port}"} for a in archives]
            entries += [
                {"name": "gone", "ae": "GONE", **target,
                 "address": f"127.0.0.1:{free_port()}"},
                {"name": "wrong", "ae": "WRONG", **target,
                 "address": f"127.0.0.1:{archives[1].port}"},
                {"name": "liar", "ae": "LIAR", **target,
                 "address": f"127.0.0.1:{Liar(LIES).port}"},
                {"name": "noise", "ae": "LIAR", **target,
                 "address": f"127.0.0.1:{Liar([]).port}"},
                {"name": "deaf", "ae": "DEAF", **target,
                 "address": f"127.0.0.1:{archives[0].port}"}]
            node = e2e.single(
                top, "node", dicom__listen=f"127.0.0.1:{listen}",
                dicom__archives=json.dumps(entries),
                dicom__inboxes=json.dumps(
                    [{"calling_ae": a.ae, "from": ["127.0.0.1"], **target}
                     for a in archives]))
        except BaseException:
            for a in archives:
                a.stop()
            raise
        try:
            for a in archives:
                test_get(node, a, files)
                test_move(node, a, files)
                print(f"ok  {a.ae}", flush=True)
                for item in node.rows("quarantine", "list"):
                    node.cli("quarantine", "reject", item["id"], "--reason",
                             "next archive")
            test_as_stored(node, archives[0], top)
            test_refusals(node, archives[1])
            test_liars(node)
            test_lost(node, archives[1], files)
            test_stop(node)
        finally:
            node.stop()
            for a in archives:
                a.stop()
    print("found and here stand side by side for both archives")


if __name__ == "__main__":
    sys.exit(main())
