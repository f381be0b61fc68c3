#!/usr/bin/python3
"""Import on every core: a helper that dies costs its one file, kill -9 loses
nothing that was told, a file that changed is looked into even where size and
time are the old ones, and a lost index costs no memory of what is here.
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import e2e
from test_repair import hurt


def imported(node, folder, **kw):
    """The rows of an import by path, and its summary."""
    rows = node.rows("import", folder, "--share", e2e.SHARE, "--compartment",
                     "images", **kw)
    return {r["path"]: r for r in rows[:-1]}, rows[-1]["summary"]


def helpers(node):
    """Process ids of the node's helpers now."""
    pids = []
    for task in pathlib.Path(f"/proc/{node.proc.pid}/task").iterdir():
        pids += map(int, (task / "children").read_text().split())
    return pids


def test_a_helper_that_dies_costs_one_file(node, top):
    """Helpers are shot while 240 files are imported."""
    files = e2e.make_series(top / "shot", 240, seed=1, size=128)
    end, shots = threading.Event(), []

    def shoot():
        while not end.is_set() and len(shots) < 6:
            for pid in helpers(node)[:1]:
                os.kill(pid, signal.SIGKILL)
                shots.append(pid)
            time.sleep(0.05)

    shooter = threading.Thread(target=shoot)
    shooter.start()
    rows, said = imported(node, top / "shot")
    end.set()
    shooter.join()
    assert shots, "nothing was shot"
    assert len(rows) == len(files), (len(rows), said)
    lost = [r for r in rows.values() if r["state"] == "refused"]
    assert len(lost) <= len(shots), lost
    assert all("died" in r["reason"] for r in lost), lost
    assert said["stored"] == len(files) - len(lost), said
    _, said = imported(node, top / "shot")
    assert said["stored"] == len(lost) and said["refused"] == 0, said


def test_kill_9_loses_nothing_that_was_told(node, top):
    """What the import said of a file is true after kill -9."""
    e2e.make_series(top / "cut", 400, seed=2, size=128)
    cli = subprocess.Popen(
        [str(node.bin / "pesscara"), "--home", str(node.home), "import",
         str(top / "cut"), "--share", e2e.SHARE, "--compartment", "images",
         "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True)
    told = [cli.stdout.readline() for _ in range(70)]
    node.kill()
    told += cli.stdout.readlines()
    cli.wait(20)
    stored = sum('"stored"' in line for line in told)
    assert 70 <= stored, told[:3]
    node.start()
    _, said = imported(node, top / "cut")
    assert said["duplicate"] >= stored, (said, stored)
    assert said["duplicate"] + said["stored"] == 400, said


def test_one_bad_file_in_a_folder_costs_itself(node, top):
    """Text, an empty file and a cut one among good ones."""
    folder = top / "mixed"
    files = e2e.make_series(folder, 20, seed=3)
    (folder / "im0003.txt").write_text("no image")
    (folder / "im0004.nil").write_bytes(b"")
    (folder / "im0005.lnk").symlink_to(files[0])
    files[6].write_bytes(files[6].read_bytes()[:900])
    rows, said = imported(node, folder)
    assert said["stored"] + said["quarantined"] == 20, said
    assert said["refused"] == 3, rows
    link = rows[str(folder / "im0005.lnk")]["reason"]
    assert "symbolic link" in link and "import the file" in link, link


def test_a_changed_file_is_never_taken_for_the_old(node, top):
    """Same path, inode, size and modification time, other bytes."""
    folder = top / "again"
    files = e2e.make_series(folder, 6, seed=4)
    time.sleep(4)  # younger files are not known by their inode
    imported(node, folder)
    _, said = imported(node, folder)
    assert said["duplicate"] == 6, said
    old = files[2].stat()
    with open(files[2], "r+b") as f:
        f.seek(-2, os.SEEK_END)
        byte = f.read(1)
        f.seek(-2, os.SEEK_END)
        f.write(bytes([byte[0] ^ 1]))
    os.utime(files[2], ns=(old.st_atime_ns, old.st_mtime_ns))
    new = files[2].stat()
    assert (new.st_ino, new.st_size, new.st_mtime_ns) == \
        (old.st_ino, old.st_size, old.st_mtime_ns)
    rows, said = imported(node, folder)
    assert said["duplicate"] == 5, said
    assert rows[str(files[2])]["state"] == "quarantined", rows
    # a file of one name in another's place, moved there
    os.rename(files[4], files[5])
    rows, said = imported(node, folder)
    assert said["duplicate"] == said["files"] == 5, said
    # what was rejected is looked into again
    item = rows[str(files[5])]["item"]
    node.cli("quarantine", "reject", item, "--reason", "x")
    _, said = imported(node, folder)
    assert said["duplicate"] == 0, said


def test_files_that_come_again_mend_what_is_damaged(node, top):
    """Also those whose inode is known, which nobody opens otherwise."""
    folder = top / "whole"
    e2e.make_series(folder, 6, seed=5)
    time.sleep(4)  # younger files are not known by their inode
    rows, _ = imported(node, folder)
    assert hurt(node, 1, 1) >= 6
    _, said = imported(node, folder)
    assert said["duplicate"] == 6, "nobody knows of the damage yet"
    assert node.json("verify", "--deep", check=False)["bad"]
    rows, said = imported(node, folder)
    assert said["duplicate"] == 6, said
    for row in rows.values():
        assert "replaced" in row["reason"], rows
    rows, said = imported(node, folder)
    assert not any(row.get("reason") for row in rows.values()), rows
    item = node.rows("quarantine", "list")[-1]["id"]
    node.cli("quarantine", "release", item, "--reason", "x")


def main():
    """All of it on one node."""
    with tempfile.TemporaryDirectory(prefix="psc-import-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "node")
        try:
            for fn in (test_a_helper_that_dies_costs_one_file,
                       test_kill_9_loses_nothing_that_was_told,
                       test_one_bad_file_in_a_folder_costs_itself,
                       test_a_changed_file_is_never_taken_for_the_old):
                fn(node, top)
                print(f"ok  {fn.__name__}", flush=True)
            assert node.json("verify", "--deep")["bad"] == []
            test_files_that_come_again_mend_what_is_damaged(node, top)
        finally:
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
