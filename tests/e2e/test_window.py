#!/usr/bin/python3
"""A sender that negotiated an asynchronous operations window has several
images unanswered; each answer still means that the image is durable.

One association, 120 images: all are held, none was answered before its time
(kill -9 in mid-stream, then what was acknowledged is sent again: nothing is
new).  A window of one, asked for, is kept as well.
"""
import pathlib
import sys
import tempfile

import e2e
import window_scu
from nodes import storescu

IMAGES = 120


def held(node):
    """Instances in quarantine."""
    return sum(i["instances"] for i in node.rows("quarantine", "list"))


def stream(node, files, window):
    """All of them over one association; the sender."""
    scu = window_scu.WindowScu(node.port("dicom"), "SCANNER1",
                               window_scu.kinds_of(files), window)
    for f in files:
        scu.send(f)
    scu.finish()
    assert set(scu.answers.values()) == {0}, scu.answers
    assert len(scu.answers) == len(files)
    return scu


def stream_and_kill(node, files, after):
    """The files that were acknowledged before the daemon died."""
    scu = window_scu.WindowScu(node.port("dicom"), "SCANNER1",
                               window_scu.kinds_of(files))
    dead = False
    try:
        for f in files:
            scu.send(f)
            if not dead and len(scu.answers) >= after:
                node.kill()
                dead = True
        scu.finish()
        raise AssertionError("the sender did not notice the kill")
    except OSError:
        pass
    return [f for f, uid in zip(files, uids(files))
            if scu.answers.get(uid) == 0]


def uids(files):
    """Their SOP Instance UIDs."""
    return [str(window_scu.pydicom.filereader.read_file_meta_info(
        str(f)).MediaStorageSOPInstanceUID) for f in files]


def broken_after_good(node, top, window, seed):
    """A dataset that cannot be walked, behind an image of a patient in the
    same association: quarantine must not show it as that patient's."""
    good, bad = e2e.make_series(top, 2, seed=seed)
    bad.write_bytes(bad.read_bytes()[:-1000])
    before = held(node)
    stream(node, [good, bad], window)
    assert held(node) == before + 2
    shown = [node.json("quarantine", "show", i["id"])
             for i in node.rows("quarantine", "list")]
    nobody = sum(i["instances"] for i in shown if not i["subject"])
    assert nobody == (before + 2) // 2, shown


def main():
    """Whole, then cut short."""
    with tempfile.TemporaryDirectory(prefix="psc-window-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1")
        try:
            files = e2e.make_series(top / "all", IMAGES, seed=1)
            scu = stream(node, files, 0)
            assert scu.window == 16 and scu.most == 16, (scu.window, scu.most)
            assert held(node) == IMAGES
            files = e2e.make_series(top / "one", 3, seed=2)
            assert stream(node, files, 1).most == 1
            assert held(node) == IMAGES + 3
            files = e2e.make_series(top / "cut", IMAGES, seed=3)
            told = stream_and_kill(node, files, 40)
            assert 40 <= len(told) < IMAGES, f"{len(told)} acknowledged"
            node.start()
            assert not node.json("verify", "--deep")["bad"]
            before = held(node)
            assert storescu(
                node.port("dicom"), "SCANNER1", told).returncode == 0
            assert held(node) == before, "an acknowledged image was not there"
            assert storescu(
                node.port("dicom"), "SCANNER1", files).returncode == 0
            assert held(node) == 2 * IMAGES + 3
            node.stop()
            node = e2e.single(top, "centre3")
            broken_after_good(node, top / "b1", 1, 31)
            broken_after_good(node, top / "b16", 0, 32)
        finally:
            node.stop()
    print(f"window of 16: {IMAGES} images, and {len(told)} acknowledged "
          "before a kill, all here")


if __name__ == "__main__":
    sys.exit(main())
