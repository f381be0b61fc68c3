#!/usr/bin/python3
"""Completeness: those who run a share say which series an exam is expected to
have; every member names the exams that lack some, the site they came from and
whom to ask there, until the series comes (domain.md 16, 29)."""
import pathlib
import sys
import tempfile

import pydicom

import e2e
from nodes import storescu, until

SHARE = "expect-trial-2"
CONTACT = "imaging desk, ext. 4711"


def missing(node, *more):
    """The report, without what every run has another value of."""
    rows = node.rows("expect", "missing", SHARE, *more)
    return [(r["site"], r["contact"], r["series"], r["complete"],
             r["missing"], r["detail"]) for r in rows]


def refused(node, *args, cause):
    """The act fails and says why."""
    err = e2e.error_of(node.cli("expect", *args, "--json", check=False))
    assert cause in err["cause"], (args, err)


def level(*nodes):
    """All have the same ops."""
    roots = {n.json("status")["shares"][0]["compartments"][0]["root"]
             for n in nodes}
    return len(roots) == 1


def rules(lab, centre):
    """Who may say rules, and what is no rule."""
    say = ("set", SHARE, "t1", "--where", "Modality=MR", "--images", "5")
    refused(lab, *say, cause="may write into no compartment")
    lab.cli("share", "grant", SHARE, lab.json("id")["key"], "--role",
            "writer", "--compartment", "images")
    lab.cli("expect", *say)
    lab.cli("expect", "set", SHARE, "late", "--where", "SeriesNumber=4")
    lab.cli("expect", "set", SHARE, "men", "--where", "Modality=PT",
            "--exams", "Modality=PT")
    lab.cli("expect", "contact", SHARE, "centre", CONTACT)
    refused(lab, "set", SHARE, "4t", "--where", "Modality=MR",
            cause="not a name for a rule")
    refused(lab, "set", SHARE, "x", cause="needs a query")
    refused(lab, "set", SHARE, "x", "--where", "Modality=",
            cause="query")
    refused(lab, "set", SHARE, "x", "--where", "Modality=MR", "--series",
            "0", cause="cannot be expected")
    refused(lab, "remove", SHARE, "nothing", cause="no rule of this name")
    refused(lab, "missing", "no-such-share", cause="share")
    until("rules came", 30, lambda: level(lab, centre))
    refused(centre, "remove", SHARE, "t1",
            cause="may not say what is permitted")
    named = [(r["name"], r["series"], r["images"])
             for r in centre.rows("expect", "list", SHARE)]
    assert sorted(named) == [("late", 1, 0), ("men", 1, 0), ("t1", 1, 5)]


def later_series(folder, first):
    """Another series of the same exam."""
    folder.mkdir()
    ds = pydicom.dcmread(sorted(first.iterdir())[0])
    ds.SeriesInstanceUID += ".7"
    ds.SOPInstanceUID += ".7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.SeriesNumber = 4
    ds.save_as(folder / "late.dcm")
    return [folder / "late.dcm"]


def send(node, files):
    """C-STORE and release; the series' asset."""
    done = storescu(node.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    item = node.rows("quarantine", "list")[-1]
    return node.json("quarantine", "release", item["id"], "--reason",
                     "synthetic")["asset"]


def main():
    """One exam, from wanting to complete and back."""
    with tempfile.TemporaryDirectory(prefix="psc-expect-") as tmp:
        top = pathlib.Path(tmp)
        hub, lab, centre = e2e.hub_lab_centre(top, SHARE)
        try:
            rules(lab, centre)
            assert not missing(lab)
            e2e.release(centre, top / "a", n=3)
            wants = [("centre", CONTACT, 1, False, ["late", "t1"],
                      "late 0 of 1; t1 0 of 1, one has 3 of 5 images")]
            assert missing(centre) == wants, missing(centre)
            until("the lab knows", 30, lambda: missing(lab) == wants)
            assert not missing(lab, "--site", "elsewhere")
            lab.cli("expect", "set", SHARE, "t1", "--where", "Modality=MR",
                    "--images", "3")
            last = [("centre", CONTACT, 1, False, ["late"], "late 0 of 1")]
            assert missing(lab) == last, missing(lab)
            late = send(centre, later_series(top / "b", top / "a"))
            until("complete at the lab", 30, lambda: not missing(lab))
            assert missing(lab, "--all") == [
                ("centre", CONTACT, 2, True, [], None)], missing(lab, "--all")
            centre.cli("retire", late, "--reason", "of another subject")
            until("wanting again", 30, lambda: missing(lab) == last)
            lab.cli("expect", "remove", SHARE, "late")
            assert not missing(lab)
            text = centre.cli("expect", "missing", SHARE, "--all").stdout
            assert "imaging desk" in text, text
        finally:
            for node in (hub, lab, centre):
                node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
