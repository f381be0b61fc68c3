#!/usr/bin/python3
"""domain.md 4, 7, 25, 28: equal PatientIDs of two hospitals behind one node are
two subjects; a follow-up gets the same name, also after a restart and out of a
backup; names are random where the project wants that; the way back needs a
reason."""
import json
import pathlib
import sys
import tempfile

import pydicom

import e2e
from nodes import Node, storescu

FILE = sorted((e2e.DATA / "mr_t1_axial_7t_defaced" / "in").glob("*"))[0]
INBOXES = [
    {"calling_ae": "OURS", "share": e2e.SHARE, "compartment": "images",
     "profile": "trial-imaging"},
    {"calling_ae": "THEIRS", "share": e2e.SHARE, "compartment": "images",
     "profile": "trial-imaging", "domain": "clinic-b"},
]


def exam(top, name, day, patient="4711"):
    """One real image of this patient and day, an exam of its own."""
    ds = pydicom.dcmread(FILE)
    ds.PatientID, ds.PatientName = patient, "Nachname^Vorname"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    for i, key in enumerate(("StudyInstanceUID", "SeriesInstanceUID",
                             "SOPInstanceUID", "FrameOfReferenceUID")):
        setattr(ds, key, f"1.2.826.0.1.3680043.8.498.4.{day}.{name}.{i}")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path = top / f"{name}.dcm"
    ds.save_as(str(path))
    return path


def arrive(node, ae, path):
    """Sends, releases; the subject's name and its study date."""
    done = storescu(node.port("dicom"), ae, [path])
    assert done.returncode == 0, done.stderr
    item = node.rows("quarantine", "list")[-1]
    asset = node.json("quarantine", "release", item["id"], "--reason",
                      "synthetic")["asset"]
    fields = node.json("show", asset)["fields"]
    assert fields["PatientID"] == item["subject"], fields
    return item["subject"], fields["StudyDate"]


def look_up(node, ours, theirs):
    """The way back, and what it refuses."""
    done = node.cli("deid", "reidentify", ours, check=False)
    assert done.returncode == 2 and "--reason" in done.stderr, done
    err = e2e.error_of(node.cli("deid", "reidentify", ours, "--reason", " ",
                                "--json", check=False))
    assert "needs a reason" in err["cause"], err
    err = e2e.error_of(node.cli("deid", "reidentify", "4711", "--reason",
                                "which?", "--json", check=False))
    assert "gave nobody" in err["cause"], err
    for name, domain in ((ours, None), (theirs, "clinic-b")):
        found = node.rows("deid", "reidentify", name, "--reason",
                          "adverse event", "--share", e2e.SHARE)
        assert found == [{"share": e2e.SHARE, "pseudonym": name,
                          "patient_id": "4711", "issuer": None,
                          "patient_name": "Nachname^Vorname",
                          "domain": domain}], found


def days(a, b):
    """Between two dates of DICOM."""
    return (pydicom.valuerep.DA(b) - pydicom.valuerep.DA(a)).days


def check(node, top):
    """Two hospitals, a follow-up, a restart."""
    ours, first = arrive(node, "OURS", exam(top, 1, "20200104"))
    theirs, _ = arrive(node, "THEIRS", exam(top, 2, "20200104"))
    assert ours != theirs, "one name for two patients"
    assert len(ours) == 11 and ours.startswith("T-"), ours
    node.stop()
    node.start()
    again, then = arrive(node, "OURS", exam(top, 3, "20230107", " 4711 "))
    assert again == ours, (again, ours)
    assert days(first, then) == days("20200104", "20230107"), (first, then)
    look_up(node, ours, theirs)
    assert "4711" not in node.log_tail(400)
    # a list is of a domain
    table = top / "list.csv"
    table.write_text("0815,003-0142\n", encoding="ascii")
    node.cli("deid", "lookup", "import", table, "--domain", "clinic-b")
    own, _ = arrive(node, "OURS", exam(top, 4, "20200105", "0815"))
    assert own != "003-0142", "the list of another hospital was used"
    listed, _ = arrive(node, "THEIRS", exam(top, 5, "20200105", "0815"))
    assert listed == "003-0142", listed
    return ours


def main():
    """One node for two hospitals, then another out of its backup."""
    with tempfile.TemporaryDirectory(prefix="psc-identity-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(
            top, "centre1", dicom__inboxes=json.dumps(INBOXES),
            deid__projects=json.dumps(
                [{"share": e2e.SHARE, "pseudonyms": "random",
                  "pattern": "T-{n:09}"}]))
        other = Node(e2e.BIN, top / "other", "centre1")
        try:
            ours = check(node, top)
            node.cli("backup", top / "backup")
            node.stop()
            other.cli("restore", top / "backup", "--recovery-file",
                      top / "centre1.recovery")
            other.start()
            found = other.rows("deid", "reidentify", ours, "--reason", "drill")
            assert found[0]["patient_id"] == "4711", found
        finally:
            node.stop()
            other.stop()
    print("one patient one name, and the way back is audited")


if __name__ == "__main__":
    sys.exit(main())
