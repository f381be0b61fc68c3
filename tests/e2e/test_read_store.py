#!/usr/bin/python3
"""An independent reader (tests/lib/read_store.py), written from
docs/store-format.md, agrees with the node byte for byte: every record of the
log, every place in the index, every file of every released version, and every
original in the vault, edited ones (codec 6) among them."""
import json
import pathlib
import struct
import subprocess
import tempfile

import msgpack
import pydicom
import zstandard

import e2e
from nodes import storescu
from read_store import CHUNK, Store, digest


def fill(node, top):
    """A CT series, an MR series, one of noise; all released."""
    files = []
    for name, n in (("ct_philips_head_tilt", 2), ("mr_ge_t1_deidentified", 3)):
        files += sorted((e2e.DATA / name / "in").iterdir())[:n]
    files += e2e.make_series(pathlib.Path(top) / "noise", 3)
    storescu(node.port("dicom"), "SCANNER1", files)
    for item in node.rows("quarantine", "list"):
        node.cli("quarantine", "release", item["id"], "--reason", "test")
    # Edited ones stay in the vault.
    edited = []
    for k, f in enumerate(files[:2]):
        ds = pydicom.dcmread(str(f))
        ds.PatientName = f"{ds.PatientName} who was renamed"
        edited.append(pathlib.Path(top) / f"edited{k}.dcm")
        ds.save_as(str(edited[-1]))
    storescu(node.port("dicom"), "SCANNER1", edited)
    return len(files)


def vault_images(store, rows):
    """Originals in the vault, each joined to what its row says of it."""
    n = 0
    for (tag, _), value in rows.items():
        if tag != "vi":
            continue
        page = value[1:] if value[0] == 0 else \
            zstandard.ZstdDecompressor().decompress(value[5:])
        for image in msgpack.unpackb(page):
            original = store.join(image["original"])
            assert digest(original) == image["ohash"], "an original"
            n += 1
    return n


def got_by_node(node, top):
    """{name: bytes} of every file of every series, as the node gives it."""
    out = {}
    for asset in node.rows("find", "level=series"):
        for row in node.rows("get", asset["id"], "-o", str(top)):
            path = pathlib.Path(row["path"])
            out[path.name] = path.read_bytes()
    return out


def check_log(store):
    """Every record is sound; every chunk's place in the index is a record of
    it, and every chunk in the log that the index has is where it says."""
    places = {}
    for seg, off, kind, ident, _ in store.records():
        if kind == CHUNK:
            places.setdefault(ident, []).append((seg, off))
    rows = store.tables["CHUNK"].values()
    for row in rows:
        assert struct.unpack_from("<IQ", row, 32) in places[row[:32]], row
    assert len(rows) > 5 and {r[:32] for r in rows} == set(places)
    return len(rows)


def main():
    with tempfile.TemporaryDirectory() as top:
        node = e2e.single(top, "north")
        try:
            n = fill(node, top)
            want = got_by_node(node, pathlib.Path(top) / "out")
            assert len(want) == n, (len(want), n)
        finally:
            node.stop()
        dump = subprocess.run(
            ["mdb_dump", "-a", str(node.home / "store" / "db")], check=True,
            capture_output=True, text=True).stdout
        store = Store(node.home, dump)
        chunks = check_log(store)
        rows, read = store.rows(), {}
        for (tag, _), value in rows.items():
            if tag == "version":
                size = struct.unpack_from("<I", value, 1)[0]
                read.update(store.members(value[5:5 + size]))
        assert read == want, "the reader's files differ from the node's"
        assert vault_images(store, rows) == n + 2
        assert store.own == sum(store.codecs.values()) > 0, \
            "keys follow from content"
        assert {1, 5, 6} <= set(store.codecs), store.codecs
        # The check can fail: one flipped bit of a chunk is noticed.
        row = next(iter(store.tables["CHUNK"].values()))
        seg, off = struct.unpack_from("<IQ", row, 32)
        data = bytearray(store.files[seg])
        data[off + 70] ^= 1
        store.files[seg] = bytes(data)
        try:
            store.chunk(row[:32])
        except AssertionError:
            pass
        else:
            raise AssertionError("a flipped bit was not noticed")
        print(json.dumps({"files": len(read), "chunks": chunks,
                          "rows": len(rows),
                          "codecs": store.codecs}))


main()
