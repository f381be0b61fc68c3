#!/usr/bin/python3
"""`deid preview` tells what release would do to a file: what it says of each
element is what a release of the same file does; nothing is stored, the look
is audited, and a bad file or path is told with its cause.
"""
import pathlib
import sys
import tempfile

from pydicom import config, dcmread

import e2e

config.settings.reading_validation_mode = config.IGNORE


def top_level(rows):
    """Rows of elements that are in no sequence, by tag."""
    return {int(r["at"][1:5] + r["at"][6:10], 16): r for r in rows
            if len(r["at"]) == 11}


def same_as_release(node, path, top):
    """Import and release it; compare with what was said before."""
    rows = node.rows("deid", "preview", path, "--profile", "trial-imaging")
    assert rows[-1]["summary"]["releasable"], rows[-1]
    said = top_level(rows[:-1])
    before = dcmread(path)
    assert {int(e.tag) for e in before} <= set(said)
    assert not node.rows("quarantine", "list"), "the preview took it in"
    node.cli("import", path, "--share", e2e.SHARE, "--compartment",
             "images", "--profile", "trial-imaging")
    item = node.rows("quarantine", "list")[-1]["id"]
    node.cli("quarantine", "release", item, "--reason", "synthetic")
    asset = node.rows("find", "level=series")[-1]["id"]
    node.cli("get", asset, "-o", top / "out")
    after = dcmread(next((top / "out").rglob("*.dcm")))
    for tag, row in said.items():
        what = (hex(tag), row)
        assert (tag in after) == (row["did"] != "removed"), what
        if row["did"] == "kept":
            assert after[tag].value == before[tag].value, what
        elif row["did"] == "emptied":
            assert not after[tag].value and before[tag].value, what
        elif row["did"] in ("replaced", "moved"):
            assert after[tag].value != before[tag].value, what
    assert {int(e.tag) for e in after} <= set(said)
    dids = {r["did"] for r in said.values()}
    assert {"kept", "emptied", "replaced", "moved", "added"} <= dids, dids
    assert said[0x00100010]["now"] == "SUBJECT"  # a stand-in


def bad_ones(node, top):
    """Each with its cause; a helper that met them goes on to the next."""
    (top / "text").write_text("no image")
    for name, cause in (("text", "DICOM"), ("nothing", "No such file"),
                        (".", "not a regular")):
        err = e2e.error_of(node.cli("deid", "preview", top / name, "--json",
                                    check=False))
        assert cause in err["cause"], err
    err = e2e.error_of(node.cli("deid", "preview", top / "text", "--profile",
                                "mine", "--json", check=False))
    assert "mine" in err["cause"], err


def main():
    """One file of a scanner, one node."""
    with tempfile.TemporaryDirectory(prefix="psc-preview-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "looker")
        try:
            path = e2e.make_series(top / "in", 1, seed=3)[0]
            same_as_release(node, path, top)
            text = node.cli("deid", "preview", path).stdout
            assert "PatientName: replaced [Nachname^Vorname]" in text, text
            assert "it could be released" in text, text
            bad_ones(node, top)
        finally:
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
