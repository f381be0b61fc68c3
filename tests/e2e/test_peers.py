#!/usr/bin/python3
"""Real senders: storescu and dcmsend (dcmtk), gdcmscu, odil and Orthanc each
reach the node by C-ECHO and C-STORE, all at once too, and every image that
they sent is held, as they sent it."""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

import e2e
import pydicom
from archives import Orthanc, free_port

N = 12


def run(*args):
    """The finished process of a tool that succeeded."""
    done = subprocess.run([str(a) for a in args], text=True, timeout=60,
                          capture_output=True, check=False)
    assert done.returncode == 0, (args[0], done.stdout, done.stderr)


def storescu(port, files):
    """dcmtk."""
    run("echoscu", "-aet", "DCMTK", "-aec", "PESSCARA", "127.0.0.1", port)
    run("storescu", "-aet", "DCMTK", "-aec", "PESSCARA", "127.0.0.1", port,
        *files)


def dcmsend(port, files):
    """dcmtk's newer sender."""
    run("dcmsend", "-aet", "DCMSEND", "-aec", "PESSCARA", "127.0.0.1", port,
        *files)


def gdcmscu(port, files):
    """GDCM.  Debian's 3.0.21 aborts after its own release, against storescp
    too: what reached us counts."""
    for how in (["--echo"], ["--store"]):
        subprocess.run(
            ["gdcmscu", *how, "--aetitle", "GDCM", "--call", "PESSCARA",
             "127.0.0.1", str(port)] +
            [str(f) for f in files if how == ["--store"]],
            capture_output=True, timeout=60, check=False)


def odil(port, files):
    """odil."""
    run("/usr/bin/odil", "echo", "127.0.0.1", port, "ODIL", "PESSCARA")
    run("/usr/bin/odil", "store", "127.0.0.1", port, "ODIL", "PESSCARA",
        *files)


def orthanc(archive, files):
    """Orthanc, told to by REST."""
    archive.take(files)
    ids = archive.rest("/instances")
    assert len(ids) == len(files)
    archive.rest("/modalities/us/echo", {})
    said = archive.rest("/modalities/us/store",
                        {"Resources": ids, "Synchronous": True})
    assert said["FailedInstancesCount"] == 0, said


def held(node):
    """Instances by calling AE."""
    return {i["calling_ae"]: i["instances"]
            for i in node.rows("quarantine", "list")}


def pixels(node, top):
    """Pixels of all that was held, after release."""
    out = []
    for item in node.rows("quarantine", "list"):
        asset = node.json("quarantine", "release", item["id"], "--reason",
                          "synthetic")["asset"]
        node.cli("get", asset, "-o", top / "out")
    for path in (top / "out").rglob("*"):
        if path.is_file():
            out.append(pydicom.dcmread(path).PixelData)
    return sorted(out)


def main():
    """A node, an Orthanc, and all of them at once."""
    with tempfile.TemporaryDirectory(prefix="psc-peers-") as tmp:
        top = pathlib.Path(tmp)
        listen = free_port()
        Orthanc.http = free_port()
        archive = Orthanc(top, "PESSCARA", listen)
        node = None
        try:
            node = e2e.single(
                top, "node", dicom__listen=f"127.0.0.1:{listen}",
                dicom__inboxes=json.dumps(
                    [{"calling_ae": ae, "share": e2e.SHARE,
                      "compartment": "images", "profile": "basic"}
                     for ae in ("DCMTK", "DCMSEND", "GDCM", "ODIL",
                                "ORTHANC")]))
            files = [e2e.make_series(top / f"in{i}", N, seed=i, size=32)
                     for i in range(5)]
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                jobs = [pool.submit(fn, listen, files[i]) for i, fn in
                        enumerate((storescu, dcmsend, gdcmscu, odil))]
                jobs.append(pool.submit(orthanc, archive, files[4]))
                for job in jobs:
                    job.result()
            assert held(node) == {ae: N for ae in (
                "DCMTK", "DCMSEND", "GDCM", "ODIL", "ORTHANC")}, held(node)
            sent = sorted(pydicom.dcmread(p).PixelData
                          for series in files for p in series)
            assert pixels(node, top) == sent
        finally:
            if node is not None:
                node.stop()
            archive.stop()
    print("five senders, every image held")


if __name__ == "__main__":
    sys.exit(main())
