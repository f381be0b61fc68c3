"""What the end-to-end tests share: a ready single node, synthetic series."""
import json
import os
import pathlib
import sys

import numpy
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from nodes import Node, storescu, until

SRC = pathlib.Path(os.environ.get(
    "PSC_SRC", pathlib.Path(__file__).resolve().parent.parent.parent))
BIN = pathlib.Path(os.environ.get("PSC_BIN", SRC / "build" / "dev" / "bin"))
DATA = SRC / "tests" / "data" / "dicom"
SHARE = "kidney-trial-4"


def env(**more):
    """This process's environment and more."""
    return {**os.environ, **more}


def single(top, site, ae="SCANNER1", start=True, **settings):
    """A node that created its own share and receives into it."""
    node = Node(BIN, pathlib.Path(top) / site, site)
    inbox = {"calling_ae": ae, "share": SHARE, "compartment": "images",
             "profile": "basic", "tags": ["source=scanner"]}
    node.init(**{"dicom__listen": "127.0.0.1:0", "peers__listen": "off",
                 "rest__listen": "off", "store__segment_bytes": "32m",
                 "dicom__inboxes": json.dumps([inbox]), **settings})
    if start:
        node.start()
        node.cli("share", "create", SHARE, "--compartment", "images")
        node.cli("share", "grant", SHARE, node.json("id")["key"], "--role",
                 "writer", "--compartment", "images")
    return node


def make_series(folder, n, seed=0, size=64, patient="P-SYNTH-77",
                name="Nachname^Vorname"):
    """n small MR images of one series, the same bytes for the same seed."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    rng = numpy.random.default_rng(seed)
    root = f"1.2.826.0.1.3680043.8.498.77.{seed + 1}"
    paths = []
    for i in range(n):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{root}.3.{i + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.is_little_endian, ds.is_implicit_VR = True, False
        ds.SOPClassUID = MRImageStorage
        ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{root}.1", f"{root}.2"
        ds.FrameOfReferenceUID = f"{root}.4"
        ds.PatientName, ds.PatientID = name, patient
        ds.PatientBirthDate, ds.PatientSex = "19610203", "F"
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber = \
            "20240517", "101112", "ACC-998877"
        ds.Modality, ds.Manufacturer = "MR", "Synthetic"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        ds.SeriesNumber, ds.InstanceNumber = 3, i + 1
        ds.ScanningSequence, ds.SequenceVariant = "GR", "NONE"
        ds.ScanOptions, ds.MRAcquisitionType = "", "3D"
        ds.ImagePositionPatient = [0, 0, 2.0 * i]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1, 1], 2
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows = ds.Columns = size
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.PixelRepresentation = 0
        ds.PixelData = rng.integers(0, 4095, size * size,
                                    dtype="uint16").tobytes()
        path = folder / f"im{i + 1:04}.dcm"
        ds.save_as(str(path), write_like_original=False)
        paths.append(path)
    return paths


OFF = {"dicom__listen": "off", "peers__listen": "off", "rest__listen": "off"}


def inbox(share, ae="SCANNER1", compartment="images", **more):
    """Settings of a node that takes DICOM from ae into a compartment."""
    return {"dicom__listen": "127.0.0.1:0", "dicom__inboxes": json.dumps(
        [{"calling_ae": ae, "share": share, "compartment": compartment,
          "profile": "basic", **more}])}


def role(node):
    """Our role in the share, or None while the grant is on its way."""
    for share in node.json("status")["shares"]:
        if share["role"] and share["role"] != "pending":
            return share["role"]
    return None


def join(lab, node, share, *invite):
    """The node joins by an invite of the lab; waits for its grant."""
    node.cli("share", "join",
             lab.json("share", "invite", share, *invite)["invite"])
    until(f"{node.site} granted", 20, lambda: role(node))


def hub_lab_centre(top, share, **settings):
    """Blind hub, lab (registrar), centre (writer); both dial the hub, which
    keeps its port over a restart."""
    off = {**OFF, **settings}
    hub, lab, centre = (Node(BIN, top / s, s)
                        for s in ("hub", "lab", "centre"))
    hub.init(**{**off, "peers__listen": "127.0.0.1:0"})
    hub.start()
    port = hub.port("peers")
    hub.stop()
    hub.cli("config", "set", f"peers.listen=127.0.0.1:{port}")
    lab.init(**off)
    centre.init(**{**off, **inbox(share, tags=["source=scanner"])})
    for node in (hub, lab, centre):
        node.start()
    lab.cli("peer", "add", f"127.0.0.1:{port}", "--key",
            hub.json("id")["key"])
    lab.cli("share", "create", share, "--compartment", "images")
    join(lab, hub, share, "--role", "hub")
    join(lab, centre, share, "--role", "writer", "--compartment", "images")
    return hub, lab, centre


def release(node, folder, n=3, seed=5, size=32):
    """Sends a series of n images and releases it; its asset id."""
    files = make_series(folder, n, seed=seed, size=size)
    done = storescu(node.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    item = node.rows("quarantine", "list")[-1]
    return node.json("quarantine", "release", item["id"], "--reason",
                     "synthetic")["asset"]


def error_of(done):
    """The {error, cause, next} of a command that failed with --json."""
    assert done.returncode == 1, \
        f"exit {done.returncode}: {done.stdout} {done.stderr}"
    err = json.loads(done.stderr.strip().splitlines()[-1])
    for key in ("error", "cause", "next"):
        assert err.get(key), f"{key} is missing in {err}"
    return err


assert pydicom and sys
