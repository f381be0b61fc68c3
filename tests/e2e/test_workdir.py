#!/usr/bin/python3
"""Working directories on one node: what is checked out is what is stored; the
diff is decided by hash; nothing of the user's is ever overwritten; a killed
check-out can be repeated; names, links and manifests that lie lead nowhere.
"""
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import e2e
from nodes import until

MANIFEST = ".pesscara"


def released(node, top, n=4, seed=1, size=64):
    """A released series; its asset id."""
    before = {i["id"] for i in node.rows("quarantine", "list")}
    e2e.make_series(top / f"in{seed}", n, seed=seed, size=size,
                    patient=f"P-SYNTH-{seed}", name=f"Name{seed}^V")
    node.cli("import", top / f"in{seed}", "--share", e2e.SHARE,
             "--compartment", "images")
    item = next(i["id"] for i in node.rows("quarantine", "list")
                if i["id"] not in before)
    return node.json("quarantine", "release", item, "--reason", "ok")["asset"]


def manifest(work):
    """The manifest as a tree."""
    return json.loads((work / MANIFEST).read_text(encoding="utf-8"))


def checkout(node, *args, **kw):
    """The rows of a check-out, without progress; the summary last."""
    return [r for r in node.rows("checkout", *args, **kw)
            if "progress" not in r]


def states(node, work):
    """path -> state of what is not unchanged, and the summary."""
    rows = node.rows("diff", work)
    return {r["path"]: r["state"] for r in rows[:-1]
            if r["state"] != "unchanged"}, rows[-1]["summary"]


def folder_of(work, asset):
    """The folder of an asset in a check-out."""
    return work / next(a["path"] for a in manifest(work)["assets"]
                       if a["id"] == asset)


def test_checkout_writes_what_is_stored(node, top, series):
    """Files, hashes and the manifest fit; again changes nothing."""
    work = top / "work"
    rows = checkout(node, series, work)
    assert rows[0]["state"] == "new" and rows[0]["files"] == 4, rows
    assert rows[-1]["summary"]["assets"] == 1, rows
    entry = manifest(work)["assets"][0]
    shown = node.json("show", series)
    assert entry["id"] == series and entry["level"] == "series"
    assert entry["version"] == shown["versions"][-1]["version"]
    assert entry["share"] == e2e.SHARE and entry["compartment"] == "images"
    folder = work / entry["path"]
    assert series[:8] in entry["path"] and "MR" in entry["path"], entry
    for f in entry["files"]:
        data = (folder / f["name"]).read_bytes()
        assert len(data) == f["bytes"]
        assert hashlib.blake2b(data, digest_size=32).hexdigest() == f["hash"]
    got = node.rows("get", series, "-o", top / "got")
    for row in got:
        path = pathlib.Path(row["path"])
        assert path.read_bytes() == (folder / path.name).read_bytes()
    text = (work / MANIFEST).stat().st_mtime_ns
    assert checkout(node, series, work)[0]["state"] == "current"
    assert states(node, work) == ({}, {"unchanged": 4, "changed": 0,
                                       "added": 0, "removed": 0,
                                       "refused": 0, "behind": 0})
    assert text  # written anew, the same but for the time
    return work


def test_queries_and_levels(node, top, series):
    """A query, the subject above, and DICOM only lead to the same files."""
    for i, what in enumerate(("level=series", "Modality=MR",
                              node.json("show", series)["parent"])):
        work = top / f"q{i}"
        assert [r["asset"] for r in checkout(node, what, work)[:-1]] == \
            [series]
    for bad, say in (("level=nifti", "found"), ("zzzzzzzz", "no asset"),
                     ("level==", "col")):
        err = e2e.error_of(node.cli("checkout", bad, top / "qx", "--json",
                                    check=False))
        assert say in err["cause"], err
        assert not (top / "qx").exists()


def test_diff_is_by_hash(node, work, series):
    """Changed, added, removed, touched; and back to unchanged."""
    folder = folder_of(work, series)
    names = sorted(p.name for p in folder.iterdir())
    first = (folder / names[0]).read_bytes()
    (folder / names[0]).write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    stat = (folder / names[1]).stat()
    os.utime(folder / names[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 9))
    (folder / names[2]).unlink()
    (folder / "seg.nii").write_bytes(b"x")
    (work / "notes.txt").write_text("y", encoding="ascii")
    (folder / ".DS_Store").write_text("z", encoding="ascii")
    base = folder.name
    changed, summary = states(node, work)
    assert changed == {f"{base}/{names[0]}": "changed",
                       f"{base}/{names[2]}": "removed",
                       f"{base}/seg.nii": "added", "notes.txt": "added"}
    assert summary["unchanged"] == 2, summary
    text = node.cli("diff", work).stdout
    assert f"removed   {base}/{names[2]}" in text, text
    # the same version: your change stays, what is missing comes back
    assert checkout(node, series, work)[0]["state"] == "current"
    assert (folder / names[0]).read_bytes() != first
    assert f"{base}/{names[2]}" not in states(node, work)[0]
    (folder / names[0]).write_bytes(first)
    for path in (folder / "seg.nii", work / "notes.txt"):
        path.unlink()
    assert states(node, work)[0] == {}


def test_what_cannot_be_content_is_refused(node, top, work, series):
    """Links, pipes, folders, odd names: named with the reason, never read."""
    folder = folder_of(work, series)
    secret = top / "secret"
    secret.write_text("s", encoding="ascii")
    (folder / "link.nii").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "sock"))
    (folder / "deep").mkdir()
    (work / "other").mkdir()
    (work / "toplink").symlink_to("/etc")
    odd = [b"new\nline", b"not-\xff-utf8", b"col:on", b"-dash"]
    for name in odd:
        with open(os.path.join(os.fsencode(folder), name), "wb") as f:
            f.write(b"x")
    rows = [r for r in node.rows("diff", work)[:-1]
            if r["state"] != "unchanged"]
    assert {r["state"] for r in rows} == {"refused"}, rows
    assert len(rows) == 4 + 2 + len(odd), rows
    causes = " ".join(r["cause"] for r in rows)
    for word in ("symbolic link", "not a regular", "folder in", "rename it",
                 "of no asset"):
        assert word in causes, causes
    assert "\n" not in node.cli("diff", work).stdout.splitlines()[0]
    sock.close()
    for name in odd:
        os.unlink(os.path.join(os.fsencode(folder), name))
    for path in (folder / "link.nii", folder / "pipe", folder / "sock",
                 work / "toplink"):
        path.unlink()
    (folder / "deep").rmdir()
    (work / "other").rmdir()
    # the asset's folder swapped for a link
    folder.rename(top / "aside")
    folder.symlink_to(top / "aside")
    changed, _ = states(node, work)
    assert changed[folder.name] == "refused", changed
    folder.unlink()
    (top / "aside").rename(folder)
    assert states(node, work)[0] == {}


def test_only_own_or_empty_directories(node, top, series):
    """Somebody's files, another site's check-out: refused, untouched."""
    mine = top / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("t", encoding="ascii")
    err = e2e.error_of(node.cli("checkout", series, mine, "--json",
                                check=False))
    assert "not empty" in err["cause"], err
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    for act in ("diff",):
        err = e2e.error_of(node.cli(act, mine, "--json", check=False))
        assert "not checked out" in err["cause"], err
    assert node.cli("diff", top / "nowhere", check=False).returncode == 1
    other = top / "foreign"
    checkout(node, series, other)
    tree = manifest(other)
    tree["site"] = "elsewhere"
    (other / MANIFEST).write_text(json.dumps(tree), encoding="utf-8")
    for args in (["checkout", series, other], ["diff", other]):
        err = e2e.error_of(node.cli(*args, "--json", check=False))
        assert "elsewhere" in err["cause"], err


def test_manifests_that_lie_are_refused(node, top, series):
    """Paths with .., absolute, wrong ids, hashes, doubles, cut short."""
    work = top / "lies"
    checkout(node, series, work)
    good = (work / MANIFEST).read_text(encoding="utf-8")

    def lie(change):
        tree = json.loads(good)
        change(tree["assets"][0])
        (work / MANIFEST).write_text(json.dumps(tree), encoding="utf-8")
        done = node.cli("diff", work, "--json", check=False)
        assert "not as check-out wrote" in e2e.error_of(done)["cause"], done

    for path in ("..", "../x", "/etc", "a/b", "", ".hidden", "a\nb"):
        lie(lambda a, p=path: a.update(path=p))
        lie(lambda a, p=path: a["files"][0].update(name=p))
    lie(lambda a: a.update(id="short"))
    lie(lambda a: a.update(version="00"))
    lie(lambda a: a["files"][0].update(hash="xy" * 32))
    lie(lambda a: a["files"][0].update(bytes=-1))
    lie(lambda a: a["files"].append(a["files"][0]))
    lie(lambda a: a.pop("files"))
    (work / MANIFEST).write_text(good[:len(good) // 2], encoding="utf-8")
    assert node.cli("diff", work, check=False).returncode == 1
    (work / MANIFEST).write_text(good.replace('"format":1', '"format":99'),
                                 encoding="utf-8")
    err = e2e.error_of(node.cli("diff", work, "--json", check=False))
    assert "another format" in err["cause"], err
    (work / MANIFEST).unlink()
    (work / MANIFEST).symlink_to(top / "secret")
    assert node.cli("diff", work, check=False).returncode == 1


def test_updates_lose_nothing(node, top, series):
    """A later version: an unchanged check-out follows, a changed one is kept
    and named."""
    clean, dirty = top / "clean", top / "dirty"
    checkout(node, series, clean)
    checkout(node, series, dirty)
    folder = folder_of(dirty, series)
    victim = sorted(folder.iterdir())[0]
    victim.write_bytes(b"mine")
    one = e2e.make_series(top / "in1b", 6, seed=1, patient="P-SYNTH-1",
                          name="Name1^V")
    assert len(one) == 6
    node.cli("import", top / "in1b", "--share", e2e.SHARE, "--compartment",
             "images")
    item = node.rows("quarantine", "list")[-1]["id"]
    again = node.json("quarantine", "release", item, "--reason", "late")
    assert again["asset"] == series, again
    changed, summary = states(node, clean)
    assert summary["behind"] == 1 and len(changed) == 1, (changed, summary)
    row = checkout(node, series, clean)[0]
    assert (row["state"], row["files"]) == ("updated", 6), row
    assert states(node, clean)[1]["unchanged"] == 6
    before = (dirty / MANIFEST).read_bytes()
    err = e2e.error_of(node.cli("checkout", series, dirty, "--json",
                                check=False))
    assert victim.name in err["cause"], err
    assert victim.read_bytes() == b"mine"
    assert len(list(folder.iterdir())) == 4
    assert (dirty / MANIFEST).read_bytes() == before


def test_killed_checkout_can_be_repeated(node, top):
    """kill -9 of the CLI, then of the node, somewhere in the middle."""
    series = released(node, top, n=60, seed=9, size=256)
    for who in ("cli", "node"):
        work = top / f"killed-{who}"
        cmd = [str(node.bin / "pesscara"), "--home", str(node.home),
               "checkout", series, str(work)]
        with subprocess.Popen(cmd, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as proc:
            until("some files are there", 20,
                  lambda w=work: len(list(w.glob("*/*.dcm"))) > 2, every=0)
            if who == "cli":
                proc.send_signal(signal.SIGKILL)
            else:
                node.kill()
            proc.wait(20)
        if who == "node":
            assert manifest(work)["assets"] == []
            node.start()
        until("the directory is free", 20,
              lambda w=work: node.cli("checkout", series, w,
                                      check=False).returncode == 0)
        assert states(node, work) == ({}, {
            "unchanged": 60, "changed": 0, "added": 0, "removed": 0,
            "refused": 0, "behind": 0})
        assert not list(work.glob("*/.*part"))


def test_many_small_files(node, top):
    """2,000 images in one folder."""
    series = released(node, top, n=2000, seed=20, size=8)
    start = time.monotonic()
    rows = checkout(node, series, top / "many")
    assert rows[-1]["summary"]["files"] == 2000
    assert states(node, top / "many")[1]["unchanged"] == 2000
    print(f"2,000 files out and compared in {time.monotonic() - start:.1f} s")


def main():
    """All of it on one node."""
    with tempfile.TemporaryDirectory(prefix="psc-work-") as name:
        top = pathlib.Path(name)
        node = e2e.single(top, "north")
        try:
            series = released(node, top)
            work = test_checkout_writes_what_is_stored(node, top, series)
            test_queries_and_levels(node, top, series)
            test_diff_is_by_hash(node, work, series)
            test_what_cannot_be_content_is_refused(node, top, work, series)
            test_only_own_or_empty_directories(node, top, series)
            test_manifests_that_lie_are_refused(node, top, series)
            test_updates_lose_nothing(node, top, series)
            test_killed_checkout_can_be_repeated(node, top)
            test_many_small_files(node, top)
        finally:
            node.stop()
        assert node.proc.returncode == 0, node.log_tail()
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
