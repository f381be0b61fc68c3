#!/usr/bin/python3
"""Profiles of the site's own: a YAML file in the home is listed with its hash,
used by name by an import, a preview and an inbox, does to real files what its
rules say, and is refused with file, line and cause when it is wrong.
"""
import json
import pathlib
import sys
import tempfile

from pydicom import config, dcmread

import e2e
from nodes import Failed, storescu

config.settings.reading_validation_mode = config.IGNORE

SITE = """\
extends: trial-imaging
description: what our core lab asked for
options: [Retain Device Identity]
rules:
  ClinicalTrialSiteID: {set: "SITE-07"}
  ClinicalTrialProtocolID: {set: "KIDNEY-4"}
  ClinicalTrialSubjectReadingID: {replace: "never there"}
  (0018,11xx): remove
"""
LAB = """\
extends: site-a
rules:
  ClinicalTrialSiteID: {set: "SITE-08"}
  Manufacturer: keep
"""
STATION = "CTROOM4"
NAME = "Wolframite^Perpetua"


def put(node, name, text):
    """A profile file of the node."""
    folder = pathlib.Path(node.home) / "profiles"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def real_files(folder, kind, root):
    """Real images that name a station, a site and a patient."""
    folder.mkdir()
    out = []
    for i, path in enumerate(sorted((e2e.DATA / kind).rglob("*.dcm"))[:2]):
        ds = dcmread(path)
        ds.StationName, ds.DeviceSerialNumber = STATION, "SN-4711"
        ds.ClinicalTrialSiteID, ds.ExposureTime = "old site id", "12"
        ds.PatientName, ds.PatientID = NAME, "MRN-5519-" + root
        ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.909." + root
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = \
            f"{ds.SeriesInstanceUID}.{i + 1}"
        out.append(folder / path.name)
        ds.save_as(out[-1])
    assert out, kind
    return out


def release(node, out):
    """What was released of all that is held, and how it was stamped."""
    for item in node.rows("quarantine", "list"):
        node.cli("quarantine", "release", item["id"], "--reason", "real")
    ids = [r["id"] for r in node.rows("find", "level=series")]
    node.cli("get", *ids, "-o", out)
    return [dcmread(p) for p in sorted(out.rglob("*.dcm"))]


def codes(ds):
    """Codes of what was done."""
    return [c.CodeValue for c in ds.DeidentificationMethodCodeSequence]


def listed(node):
    """Names, hashes, parents; the same rules have the same hash."""
    rows = {r["name"]: r for r in node.rows("deid", "profiles")}
    assert list(rows) == ["basic", "trial-imaging", "lab", "site-a"], rows
    assert rows["basic"]["extends"] is None
    assert rows["site-a"]["extends"] == "trial-imaging"
    assert rows["lab"]["options"] == "113105 113107 113108 113109 113111"
    assert len({r["hash"] for r in rows.values()}) == 4
    put(node, "lab", LAB.replace("SITE-08", "SITE-09"))
    changed = {r["name"]: r for r in node.rows("deid", "profiles")}
    assert changed["lab"]["hash"] != rows["lab"]["hash"]
    assert changed["site-a"] == rows["site-a"]
    put(node, "lab", LAB)
    again = {r["name"]: r for r in node.rows("deid", "profiles")}
    assert again == rows
    head, *rules = node.rows("deid", "profiles", "lab")
    assert head == rows["lab"]
    assert rules == [
        {"element": "(0008,0070)", "name": "Manufacturer", "now": "keep",
         "parent": "by the table"},
        {"element": "(0012,0030)", "name": "ClinicalTrialSiteID",
         "now": 'set "SITE-08"', "parent": 'set "SITE-07"'}], rules
    text = node.cli("deid", "profiles", "lab").stdout
    assert "2 rules differ from the parent's" in text, text


def imported(node, top):
    """By name; the released bytes say what the rules do."""
    files = real_files(top / "in", "mr_ge_t1_deidentified", "1")
    before = [dcmread(p) for p in files]
    rows = node.rows("deid", "preview", files[0], "--profile", "lab")
    why = {r["at"]: r["why"] for r in rows[:-1]}
    assert why["(0008,1010)"] == "113109: the device stays", why
    assert why["(0012,0030)"] == "profile: set", why
    node.cli("import", top / "in", "--share", e2e.SHARE, "--compartment",
             "images", "--profile", "lab")
    after = release(node, top / "out")
    assert len(after) == len(before)
    for ds in after:
        assert ds.StationName == STATION
        assert ds.DeviceSerialNumber == "SN-4711"
        assert ds.ClinicalTrialSiteID == "SITE-08"
        assert ds.ClinicalTrialProtocolID == "KIDNEY-4"
        assert "ClinicalTrialSubjectReadingID" not in ds
        assert "ExposureTime" not in ds
        assert ds.Manufacturer == before[0].Manufacturer
        assert codes(ds) == ["113100", "113105", "113107", "113108",
                             "113109", "113111"], codes(ds)
        assert ds.DeidentificationMethod[0].endswith(" lab")
        assert ds.LongitudinalTemporalInformationModified == "MODIFIED"
        assert ds.PixelData in [b.PixelData for b in before]
    for path in (top / "out").rglob("*.dcm"):
        for word in (b"Wolframite", b"Perpetua", b"MRN-5519", b"old site"):
            assert word not in path.read_bytes(), word


def survivor(node, top):
    """An element that the profile keeps is searched like all others."""
    path = real_files(top / "bad", "mr_ge_t1_deidentified", "2")[0]
    ds = dcmread(path)
    ds.StationName = "WOLFRAMITE1"
    ds.save_as(path)
    rows = node.rows("deid", "preview", path, "--profile", "lab")
    kinds = [f["kind"] for f in rows[-1]["summary"]["findings"]]
    assert "identifier-survived" in kinds, kinds


def received(node, top):
    """An inbox takes it by name."""
    files = real_files(top / "sent", "mr_ge_t1_deidentified", "3")
    done = storescu(node.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    after = release(node, top / "out2")
    assert {"SITE-07", "SITE-08"} == {d.ClinicalTrialSiteID for d in after}


LOST = ["AccessionNumber", "StudyDescription", "BlockOwner",
        "unspecifiedelements"]


def from_ctp(node, top):
    """A CTP script and table: a profile that the node takes, and each line
    that it cannot follow."""
    ctp = e2e.SRC / "tests" / "data" / "ctp"
    done = node.cli("deid", "import", ctp / "site.script", "--name", "ctp",
                    "--json")
    rows = [json.loads(x) for x in done.stdout.splitlines()]
    lost = [r for r in rows[:-1] if not r["mapped"]]
    assert [next(w for w in LOST if w in (r["name"], r["element"]))
            for r in lost] == LOST, lost
    assert [r["line"] for r in lost] == [15, 20, 31, 46], lost
    assert rows[-1]["summary"]["not_mapped"] == len(lost)
    assert node.cli("deid", "import", ctp / "site.script", "--name", "ctp",
                    check=False).returncode == 1, "an overwritten profile"
    text = node.cli("deid", "import", ctp / "site.script").stdout
    assert "options: [113107, 113108, 113109]" in text, text
    ids = top / "ids.csv"
    said = node.cli("deid", "import", ctp / "ids.properties", "--lookup",
                    "ptid", "--out", ids).stdout
    assert "line 4: NOT MAPPED" in said and "MRN" not in said, said
    assert ids.stat().st_mode & 0o777 == 0o600
    node.cli("deid", "lookup", "import", ids)
    before = dcmread(real_files(top / "ctp", "mr_ge_t1_deidentified", "4")[0])
    node.cli("import", top / "ctp", "--share", e2e.SHARE, "--compartment",
             "images", "--profile", "ctp")
    after = [d for d in release(node, top / "out3")
             if d.PatientID == "003-0142"]
    assert after, "the lookup table's pseudonym"
    for ds in after:
        assert ds.ClinicalTrialSiteID == "SITE-07"
        assert ds.ClinicalTrialProtocolID == "KIDNEY-4"
        assert ds.ClinicalTrialSponsorName == 'The "sponsor"'
        assert ds.StationName == STATION
        assert ds.Manufacturer == before.Manufacturer
        assert not ds.AccessionNumber
        assert "ProtocolName" not in ds and "StudyDescription" not in ds
        assert codes(ds) == ["113100", "113107", "113108", "113109"]


def wrong(node, top):
    """By file, line and cause, wherever it is used."""
    put(node, "site-a", SITE + "  StationNam: keep\n")
    want = "profiles/site-a.yaml:9: no attribute is called"
    rows = {r["name"]: r for r in node.rows("deid", "profiles")}
    for name in ("site-a", "lab"):
        assert want in rows[name]["wrong"] and not rows[name]["hash"], rows
    err = e2e.error_of(node.cli(
        "import", top / "in", "--share", e2e.SHARE, "--compartment", "images",
        "--profile", "lab", "--json", check=False))
    assert want in err["cause"] and "StationName" in err["cause"], err
    done = storescu(node.port("dicom"), "SCANNER1",
                    list((top / "sent").iterdir()))
    assert done.returncode != 0, "an association without a profile"
    assert want in node.log_tail(40)
    err = e2e.error_of(node.cli("config", "check", "--json", check=False))
    assert want in err["cause"], err
    node.stop()
    try:
        node.start()
        started = True
    except Failed as e:
        started = False
        assert want in str(e), e
    assert not started, "the node started with a wrong profile"
    put(node, "site-a", SITE)
    node.start()


def main():
    """One node with two profiles of its own."""
    with tempfile.TemporaryDirectory(prefix="psc-profiles-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "ruled", start=False)
        put(node, "site-a", SITE)
        put(node, "lab", LAB)
        inbox = {"calling_ae": "SCANNER1", "share": e2e.SHARE,
                 "compartment": "images", "profile": "site-a"}
        node.cli("config", "set", "dicom.inboxes=" + json.dumps([inbox]))
        node.start()
        node.cli("share", "create", e2e.SHARE, "--compartment", "images")
        node.cli("share", "grant", e2e.SHARE, node.json("id")["key"],
                 "--role", "writer", "--compartment", "images")
        try:
            listed(node)
            imported(node, top)
            survivor(node, top)
            received(node, top)
            from_ctp(node, top)
            wrong(node, top)
        finally:
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
