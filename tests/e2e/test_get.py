#!/usr/bin/python3
"""`pesscara get` on several cores: a damaged chunk costs its one file, in
clear words, and the others come; a node killed in mid-get leaves no half file
under a final name; two gets into one directory both end well; what was there
is replaced and the caller's umask holds."""
import collections
import hashlib
import os
import pathlib
import subprocess
import tempfile

import e2e
from nodes import Node, until
from test_repair import flip, records

FILES = 120


def digests(folder):
    """SHA-256 by name of all files below, hidden ones included."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def start(node, asset, out):
    """A get that runs."""
    return subprocess.Popen(
        [e2e.BIN / "pesscara", "--home", node.home, "get", asset, "-o", out],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ready(top):
    """A node with one series, as it came in."""
    node = Node(e2e.BIN, top / "home", "centre")
    node.init(dicom__listen="off", peers__listen="off", rest__listen="off")
    node.start()
    node.cli("share", "create", e2e.SHARE, "--compartment", "images",
             "--allow-identified")
    node.cli("share", "grant", e2e.SHARE, node.json("id")["key"], "--role",
             "writer", "--compartment", "images")
    e2e.make_series(top / "in", FILES, size=128)
    node.cli("import", top / "in", "--share", e2e.SHARE, "--compartment",
             "images", "--no-deid", "--reason", "test")
    for item in node.rows("quarantine", "list"):
        node.cli("quarantine", "release", item["id"], "--reason", "test")
    return node, node.rows("find", "level=series")[0]["id"]


def test_all_come_with_the_umask(node, asset, top):
    """Every byte of what came in; a second time in place of what is there."""
    came = sorted(digests(top / "in").values())
    old = os.umask(0o027)
    try:
        rows = node.rows("get", asset, "-o", top / "out")
    finally:
        os.umask(old)
    assert len(rows) == FILES
    assert sorted(r["sha256"] for r in rows) == came
    want = digests(top / "out")
    assert sorted(want.values()) == came
    for row in rows:
        path = pathlib.Path(row["path"])
        assert want[path.name] == row["sha256"]
        assert path.stat().st_mode & 0o777 == 0o640, oct(path.stat().st_mode)
        assert path.parent.stat().st_mode & 0o777 == 0o750
    pathlib.Path(rows[0]["path"]).write_bytes(b"mine")
    node.cli("get", asset, asset, "-o", top / "out")
    assert digests(top / "out") == want
    return want


def test_two_at_once(node, asset, top, want):
    """Into one directory."""
    both = [start(node, asset, top / "both") for _ in range(2)]
    for p in both:
        said = p.communicate(timeout=60)[1]
        assert p.returncode == 0, said
    assert digests(top / "both") == want


def test_killed_in_the_middle(node, asset, top, want):
    """What has its name is whole."""
    for i in range(3):
        out = top / f"killed{i}"
        p = start(node, asset, out)
        until("a file is there", 20, lambda: any(out.rglob("*.dcm")),
              every=0.001)
        node.kill()
        said = p.communicate(timeout=60)[1]
        assert p.returncode in (0, 1) and (p.returncode == 0 or said), said
        got = {n: d for n, d in digests(out).items() if n[0] != "."}
        assert got and got.items() <= want.items()
        node.start()
    node.cli("get", asset, "-o", top / "killed0")
    assert {n: d for n, d in digests(top / "killed0").items()
            if n[0] != "."} == want


def test_damage_costs_one_file(node, asset, top, want):
    """One bit of one image's chunk."""
    node.stop()
    chunks = [r for r in records(node) if r[2] == 1]
    usual = collections.Counter(r[3] for r in chunks).most_common(1)[0][0]
    path, at, _, length = [r for r in chunks if r[3] == usual][FILES // 2]
    flip(path, at + 64 + length // 2)
    node.start()
    done = node.cli("get", asset, "-o", top / "hurt", check=False)
    assert done.returncode == 1, done
    got = digests(top / "hurt")
    assert len(got) == FILES - 1 and got.items() < want.items()
    lost = (set(want) - set(got)).pop()
    assert lost in done.stderr and "repair" in done.stderr, done.stderr
    assert len(done.stdout.splitlines()) == FILES - 1
    err = e2e.error_of(node.cli("get", asset, "-o", top / "hurt2", "--json",
                                check=False))
    assert lost in err["cause"], err


def main():
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="psc-get-") as top:
        top = pathlib.Path(top)
        node, asset = ready(top)
        try:
            want = test_all_come_with_the_umask(node, asset, top)
            test_two_at_once(node, asset, top, want)
            test_killed_in_the_middle(node, asset, top, want)
            test_damage_costs_one_file(node, asset, top, want)
        finally:
            node.stop()


if __name__ == "__main__":
    main()
