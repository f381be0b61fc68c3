#!/usr/bin/python3
"""The walker sees what pydicom sees.

Claim: for every readable object of tests/data/dicom the walker's table (tag,
depth, length of value, in order) is the one pydicom makes of the file, items
and private sequences included.  Two that must be refused are refused.
"""
import logging
import os
import subprocess
import sys
import warnings

from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
config.settings.reading_validation_mode = config.IGNORE
SRC = os.environ.get("PSC_SRC") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
TOOL = os.path.join(os.environ.get("PSC_BIN") or
                    os.path.join(SRC, "build", "bin"), "deid_tool")
DATA = os.path.join(SRC, "tests", "data", "dicom")
PIXELS, ITEM = 0x7FE00010, 0xFFFEE000
REFUSED = {"MR_truncated.dcm"}
OPAQUE = {"image_dfl.dcm"}  # deflated: file meta only


def flatten(ds, depth, out):
    """(depth, tag, length if pydicom left the value raw), in tag order."""
    for tag in sorted(ds.keys()):
        e = ds.get_item(tag)
        raw = isinstance(e, RawDataElement)
        if raw and (e.VR == "SQ" or (e.VR is None and ds[tag].VR == "SQ")):
            e, raw = ds[tag], False
        if not raw and e.VR == "SQ":
            out.append((depth, int(tag), None))
            for item in e.value:
                out.append((depth + 1, ITEM, None))
                flatten(item, depth + 1, out)
        else:
            n = len(e.value or b"") if raw else None
            out.append((depth, int(tag), n))


def walked(path):
    """The walker's rows without the fragments of pixel data; or None."""
    r = subprocess.run([TOOL, "walk", path], capture_output=True, text=True,
                       timeout=60)
    if r.returncode == 1:
        return None
    assert r.returncode == 0, (path, r.returncode, r.stderr[-2000:])
    rows, pixels = [], None
    for line in r.stdout.splitlines():
        if line.startswith("#"):
            continue
        depth, tag, _, n, _ = line.split()
        row = (int(depth), int(tag, 16), int(n))
        if pixels is not None and row[0] > pixels and row[1] == ITEM:
            continue
        pixels = row[0] if row[1] == PIXELS else None
        rows.append(row)
    return rows


def compare(path):
    mine = walked(path)
    name = os.path.basename(path)
    if name in REFUSED:
        assert mine is None, path
        return 0
    assert mine is not None, path
    ds = dcmread(path, force=True)
    theirs = []
    flatten(ds.file_meta, 0, theirs)
    if name in OPAQUE:
        assert [r[:2] for r in mine] == [r[:2] for r in theirs], path
        return len(mine)
    flatten(ds, 0, theirs)
    assert [r[:2] for r in mine] == [r[:2] for r in theirs], path
    for a, b in zip(mine, theirs):
        if b[2] is not None and a[1] != PIXELS:
            assert a[2] == b[2], (path, hex(a[1]), a[2], b[2])
    return len(mine)


def main():
    files = elements = 0
    for root, _, names in os.walk(DATA):
        for name in sorted(n for n in names if n.endswith(".dcm")):
            elements += compare(os.path.join(root, name))
            files += 1
    print("ok: %d files, %d elements" % (files, elements))
    assert files > 80 and elements > 10000


sys.exit(main())
