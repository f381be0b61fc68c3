#!/usr/bin/python3
"""Watched folders: a file that is complete is imported once and put away, one
that is still being written is not; what cannot be taken lies in failed/ with
the reason beside it; the same file again is nothing new; kill -9 in the
middle loses nothing; no symbolic link leads out of the folder."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import e2e
from nodes import until


def held(node):
    """Instances that wait in quarantine, and of which sender."""
    items = node.rows("quarantine", "list")
    assert {i["calling_ae"] for i in items} <= {"FOLDER"}, items
    return sum(i["instances"] for i in items)


def waiting(folder):
    """Files that were not put away."""
    return [p for p in folder.rglob("*") if not p.is_dir() and
            p.relative_to(folder).parts[0] not in ("done", "failed")]


def drained(folder, seconds=40):
    """Until every file was put away."""
    until(f"{folder} is empty", seconds, lambda: not waiting(folder), 0.1)


def names(folder):
    """Files below, as relative paths."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")
                  if p.is_symlink() or not p.is_dir())


def test_good_and_bad(node, top, folder):
    """One of each kind; the folder did not exist when the node started."""
    until("the missing folder is told", 10,
          lambda: "make the folder" in node.log_tail(40))
    files = e2e.make_series(top / "src", 6, seed=1)
    stage = top / "stage"
    (stage / "a" / "b").mkdir(parents=True)
    for i, name in enumerate(("one.dcm", "a/two.dcm", "a/b/three.dcm")):
        shutil.copy(files[i], stage / name)
    (stage / "notes.txt").write_text("Nachname, Vorname: no image")
    (stage / "unfinished.dcm.part").write_bytes(b"x")
    secret = top / "secret"
    secret.mkdir()
    shutil.copy(files[3], secret / "outside.dcm")
    (stage / "link.dcm").symlink_to(secret / "outside.dcm")
    (stage / "linked").symlink_to(secret)
    os.mkfifo(stage / "pipe")
    os.rename(stage, folder)
    # one that grows for longer than the quiet time: taken when it is whole
    data = files[4].read_bytes()
    with open(folder / "slow.dcm", "wb", buffering=0) as f:
        for at in range(0, len(data), len(data) // 8):
            f.write(data[at:at + len(data) // 8])
            time.sleep(0.25)
            assert (folder / "slow.dcm").exists(), "taken while it grows"
    until("good ones are put away", 30, lambda: names(folder / "done") == [
        "a/b/three.dcm", "a/two.dcm", "one.dcm", "slow.dcm"])
    assert held(node) == 4, held(node)
    assert (folder / "unfinished.dcm.part").exists()
    os.rename(folder / "unfinished.dcm.part", folder / "finished.dcm")
    shutil.copy(files[5], folder / ".hidden")
    os.rename(folder / ".hidden", folder / "shown.dcm")
    drained(folder)
    bad = ("finished.dcm", "link.dcm", "linked", "notes.txt", "pipe")
    assert names(folder / "failed") == sorted(
        n + e for n in bad for e in ("", ".reason.txt"))
    said = {n: (folder / "failed" / f"{n}.reason.txt").read_text()
            for n in bad}
    assert said["notes.txt"] == "not a DICOM file\n", said
    assert "symbolic link" in said["link.dcm"], said
    assert "symbolic link" in said["linked"], said
    assert "not a regular file" in said["pipe"], said
    assert held(node) == 5
    assert (secret / "outside.dcm").exists()
    assert "Nachname" not in pathlib.Path(f"{node.home}.log").read_text()


def test_again(node, top, folder):
    """The same bytes under the same name, and under another."""
    files = sorted((top / "src").iterdir())
    shutil.copy(files[0], folder / "one.dcm")
    shutil.copy(files[1], folder / "other.dcm")
    drained(folder)
    assert held(node) == 5, "a duplicate counts"
    assert (folder / "done" / "one.dcm~2").exists()
    assert (folder / "done" / "other.dcm").exists()


def test_removed(node, top, folder):
    """after: remove leaves nothing but what failed; tags are kept."""
    before = held(node)
    e2e.make_series(folder / "x", 3, seed=2)
    (folder / "bad").write_bytes(b"\0" * 200)
    drained(folder)
    assert held(node) == before + 3
    assert not (folder / "done").exists()
    assert names(folder) == ["failed/bad", "failed/bad.reason.txt"]
    item = node.rows("quarantine", "list")[-1]["id"]
    asset = node.json("quarantine", "release", item, "--reason",
                      "synthetic")["asset"]
    assert sorted(node.json("show", asset)["tags"]) == [
        "data_type=phantom", "way=folder"]


def test_kill(node, top, folder):
    """kill -9 while many are taken, twice."""
    before = held(node)
    e2e.make_series(top / "many", 160, seed=3)
    os.rename(top / "many", folder / "many")
    done = folder / "done" / "many"
    for least in (1, 80):
        until(f"{least} are done", 60,
              lambda n=least: done.exists() and len(names(done)) >= n, 0.005)
        node.kill()
        put = len(names(done))
        node.start()
        assert held(node) >= before + put, "done, and not held"
    drained(folder, 60)
    assert len(names(done)) == 160
    assert held(node) == before + 160, held(node)
    assert not names(folder / ".pesscara")


def test_full(node, top, folder):
    """No space: files wait where they are, and go on when there is room."""
    def quota(n):
        node.stop()
        node.cli("config", "set", f"store.quota_bytes={n}")
        node.start()
    before = held(node)
    e2e.make_series(top / "fill", 2, seed=4, size=512)
    os.rename(top / "fill", folder / "fill")
    drained(folder)
    quota(1 << 20)
    e2e.make_series(top / "big", 12, seed=5, size=256)
    os.rename(top / "big", folder / "big")
    until("the full store is told", 30,
          lambda: "store.quota_bytes is reached" in node.log_tail(20))
    assert not [n for n in names(folder / "failed") if "big" in n]
    assert len(waiting(folder)) == 12
    assert held(node) == before + 2
    quota(0)
    drained(folder, 60)
    assert held(node) == before + 14, held(node)


def main():
    """A node with two folders; DICOM is off."""
    with tempfile.TemporaryDirectory(prefix="psc-folder-") as tmp:
        top = pathlib.Path(tmp)
        keep, remove = top / "keep", top / "remove"
        remove.mkdir()
        target = {"share": e2e.SHARE, "compartment": "images",
                  "profile": "basic", "quiet": "1s"}
        node = e2e.single(
            top, "node", dicom__listen="off", folders=json.dumps([
                {"path": str(keep), **target},
                {"path": str(remove), "after": "remove",
                 "data_type": "phantom", "tags": ["way=folder"], **target}]))
        try:
            for fn, folder in ((test_good_and_bad, keep), (test_again, keep),
                               (test_removed, remove), (test_kill, keep),
                               (test_full, keep)):
                fn(node, top, folder)
                print(f"ok  {fn.__name__}", flush=True)
            assert node.json("verify", "--deep")["bad"] == []
        finally:
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
