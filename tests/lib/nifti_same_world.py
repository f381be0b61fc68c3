#!/usr/bin/python3
"""Do two NIfTI files say the same of the same points in the world?

usage: nifti_same_world.py OURS REFERENCE

Storage order (flips, permutations of axes) is free; every voxel centre of
ours must be a voxel centre of the reference (to 1e-4 of a voxel, corners
included) and hold the same value (to 1e-4 of the value range of float
rounding).  Exit 1 and say why if not.
"""
import sys

import nibabel
import numpy as np


def main():
    ours, ref = nibabel.load(sys.argv[1]), nibabel.load(sys.argv[2])
    a, b = ours.get_fdata(), ref.get_fdata()
    if a.ndim != b.ndim or a.shape[3:] != b.shape[3:]:
        return f"shape {a.shape} against {b.shape}"
    m = np.linalg.inv(ref.affine) @ ours.affine
    lin = np.rint(m[:3, :3]).astype(int)
    if sorted(np.abs(lin).sum(axis=0)) != [1, 1, 1] or \
       sorted(np.abs(lin).sum(axis=1)) != [1, 1, 1]:
        return f"axes differ: {m.round(4).tolist()}"
    corners = np.array([[x, y, z, 1] for x in (0, a.shape[0] - 1)
                        for y in (0, a.shape[1] - 1)
                        for z in (0, a.shape[2] - 1)]).T
    at = (m @ corners)[:3]
    world = (ours.affine @ corners)[:3]
    back = (ref.affine @ np.vstack([np.rint(at), np.ones(8)]))[:3]
    worst = np.abs(world - back).max()
    if worst > 1e-3 or np.abs(at - np.rint(at)).max() > 1e-3:
        return f"corners off by {worst} mm"
    axis = [int(np.argmax(np.abs(lin[:, k]))) for k in range(3)]
    c = np.transpose(b, axis + list(range(3, b.ndim)))
    for k in range(3):
        if lin[axis[k], k] < 0:
            c = np.flip(c, k)
    if c.shape != a.shape:
        return f"shape {a.shape} against {c.shape}"
    off = np.abs(a - c).max()
    if off > 1e-4 * max(1.0, np.abs(c).max()):
        return f"voxels differ by up to {off}"
    if ours.header["qform_code"] > 0:
        q = np.abs(ours.get_qform() - ours.get_sform()).max()
        if q > 1e-3:
            return f"qform and sform differ by {q}"
    print(f"corners within {worst:.2e} mm, voxels within {off:.2e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
