#!/usr/bin/python3
"""frames.py OUT FOLDER...: the native pixel frames below folders, for bench_codec.

Each record: u32 columns, u32 rows, u32 samples (0: 16-bit, 1: 8-bit, 2: RGB),
u32 bytes, then the bytes as they lie in the file.  Equal frames are taken
once.  Prints how many there are.
"""
import hashlib
import os
import pathlib
import struct
import sys
import warnings

import pydicom


def frames_of(path):
    """(columns, rows, samples, bytes) of every frame; nothing for the rest."""
    try:
        ds = pydicom.dcmread(path, force=False)
        if "PixelData" not in ds:
            return
        syntax = ds.file_meta.TransferSyntaxUID
        if syntax.is_compressed or syntax.is_deflated:
            return
        w, h, bits = ds.Columns, ds.Rows, ds.BitsAllocated
        spp = ds.get("SamplesPerPixel", 1)
        planar = spp == 3 and ds.get("PlanarConfiguration", 0) == 1
        count = int(ds.get("NumberOfFrames", 1) or 1)
        data = ds.PixelData
    except Exception:  # a file that is no image is no frame
        return
    if bits not in (8, 16) or spp not in (1, 3) or (spp == 3 and bits != 8):
        return
    samples = 0 if bits == 16 else 2 if spp == 3 and not planar else 1
    if planar:
        h *= 3
    n = w * h * bits // 8 * (3 if samples == 2 else 1)
    for k in range(count):
        part = data[k * n:(k + 1) * n]
        if len(part) == n > 0:
            yield w, h, samples, part


def main():
    """Write the file."""
    warnings.simplefilter("ignore")
    seen = set()
    out, folders = sys.argv[1], sys.argv[2:]
    with open(out, "wb") as f:
        for top in folders:
            for path in sorted(pathlib.Path(top).rglob("*")):
                if not path.is_file() or os.path.getsize(path) < 132:
                    continue
                for w, h, samples, part in frames_of(path):
                    name = hashlib.blake2b(part).digest()
                    if name in seen:
                        continue
                    seen.add(name)
                    f.write(struct.pack("<4I", w, h, samples, len(part)))
                    f.write(part)
    print(len(seen))


if __name__ == "__main__":
    main()
