#!/usr/bin/python3
"""Sites that are never connected share through files: one joins, both write;
the second file is the difference; what a hub carries it cannot read. A file
for another, a cut, an altered and a stale one are refused with their cause and
leave nothing; kill -9 in the middle costs nothing but doing it again.
"""
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

import e2e
from nodes import Node, until

SHARE = "carried-trial"


def site(top, name):
    """A node that neither listens nor dials."""
    node = Node(e2e.BIN, top / name, name)
    node.init(**{**e2e.OFF, **e2e.inbox(SHARE)})
    node.start()
    node.key = node.json("id")["key"]
    return node


def carry(top, giver, taker, *options):
    """One file from one to the other: what it held, what was new."""
    carry.n += 1
    path = top / f"file{carry.n}"
    wrote = giver.json("sync", "export", path, "--peer", taker.key, *options)
    took = taker.json("sync", "import", path)
    assert took["ops"] == wrote["ops"], (wrote, took)
    return path, took


carry.n = 0


def ops(node):
    """Ops of the compartment and their root."""
    for share in node.json("status")["shares"]:
        for part in share["compartments"]:
            return part["ops"], part["root"]
    return None


def content(node, asset, out):
    """Bytes of the files of an asset."""
    node.cli("get", asset, "-o", out)
    return sorted(p.read_bytes() for p in pathlib.Path(out).rglob("*")
                  if p.is_file())


def same(top, a, b, asset):
    """Both hold an asset, bit for bit; and all else."""
    same.n += 1
    assert ops(a) == ops(b), (ops(a), ops(b))
    want = content(a, asset, top / f"want{same.n}")
    assert want and content(b, asset, top / f"got{same.n}") == want


same.n = 0


def refused(node, path, word):
    """An import that takes nothing, and says why."""
    err = e2e.error_of(node.cli("sync", "import", path, "--json",
                                check=False))
    assert word in err["cause"], err


def join(top, lab, node, *invite):
    """The node joins by files: claim there, chain back."""
    text = lab.json("share", "invite", SHARE, "--address", "127.0.0.1:1",
                    *invite)["invite"]
    node.cli("share", "join", text)
    carry(top, node, lab)
    until("the claim is granted", 10, lambda: any(
        m["key"] == node.key for m in lab.rows("share", "members", SHARE)))
    carry(top, lab, node)
    until(f"{node.site} is granted", 10, lambda: e2e.role(node))


def bad_files(top, lab, centre, hub):
    """Wrong addressee, cut, altered, stale."""
    good = top / "good"
    lab.json("sync", "export", good, "--peer", centre.key, "--all")
    data = good.read_bytes()
    before = ops(centre)
    refused(hub, good, "another node")
    rng = random.Random(4)
    cut = top / "cut"
    for n in [0, 5, 119, 121, len(data) // 2, len(data) - 1]:
        cut.write_bytes(data[:n])
        refused(centre, cut, "cut short" if n else "")
    for _ in range(6):
        at = rng.randrange(8, len(data))
        bad = bytearray(data)
        bad[at] ^= 1 << rng.randrange(8)
        cut.write_bytes(bad)
        refused(centre, cut, "")
    cut.write_bytes(data + b"\0")
    refused(centre, cut, "its end")
    cut.write_bytes(b"NOTAFILE" * 40)
    refused(centre, cut, "no file of sync export")
    assert ops(centre) == before
    err = e2e.error_of(lab.cli("sync", "export", good, "--peer", centre.key,
                               "--json", check=False))
    assert "already" in err["cause"]
    stranger = site(top, "stranger")
    try:
        err = e2e.error_of(lab.cli("sync", "export", top / "x", "--peer",
                                   stranger.key, "--json", check=False))
        assert "no share" in err["cause"], err
        assert not (top / "x").exists() and not (top / "x.part").exists()
    finally:
        stranger.stop()


def killed(top, lab, centre):
    """Killed while it takes a file in, again and again: the last is whole."""
    assets = [e2e.release(lab, top / f"k{i}", seed=20 + i, size=256, n=6)
              for i in range(3)]
    path = top / "big"
    lab.json("sync", "export", path, "--peer", centre.key)
    rng = random.Random(7)
    for _ in range(4):
        run = threading.Thread(
            target=lambda: centre.cli("sync", "import", path, check=False))
        run.start()
        time.sleep(rng.uniform(0.05, 0.4))
        centre.kill()
        run.join()
        centre.start()
    centre.json("sync", "import", path)
    for asset in assets:
        same(top, lab, centre, asset)
    assert centre.json("verify", "--deep")["bad"] == []
    again = centre.json("sync", "import", path)
    assert again["new_ops"] == again["new_chunks"] == 0, again


def put_back(top, lab, hub):
    """A node that is put back to an older state gets a file that begins too
    late: refused whole; a full one mends it."""
    hub.stop()
    old = top / "old"
    shutil.copytree(hub.home, old, ignore=shutil.ignore_patterns("*.sock"))
    hub.start()
    e2e.release(lab, top / "p1", seed=40)
    carry(top, lab, hub)
    carry(top, hub, lab)
    hub.stop()
    shutil.rmtree(hub.home)
    shutil.copytree(old, hub.home)
    hub.start()
    before = ops(hub)
    e2e.release(lab, top / "p2", seed=41)
    late = top / "late"
    lab.json("sync", "export", late, "--peer", hub.key)
    refused(hub, late, "begins after")
    assert ops(hub) == before
    carry(top, lab, hub, "--all")
    assert ops(hub) == ops(lab)


def run(top, lab, centre, hub):
    """The story."""
    lab.cli("share", "create", SHARE, "--compartment", "images")
    lab.cli("share", "grant", SHARE, lab.key, "--role", "writer",
            "--compartment", "images")
    join(top, lab, hub, "--role", "hub")
    join(top, lab, centre, "--role", "writer", "--compartment", "images")

    first = e2e.release(lab, top / "a", seed=1)
    path, took = carry(top, lab, centre)
    assert took["new_ops"] == took["ops"] > 0 and took["new_chunks"] > 0
    same(top, lab, centre, first)
    again = centre.json("sync", "import", path)
    assert again["new_ops"] == again["new_chunks"] == 0, again

    # A reply tells what is there: the next file is the difference.
    second = e2e.release(centre, top / "b", seed=2)
    _, took = carry(top, centre, lab)
    assert took["new_ops"] > 0
    same(top, centre, lab, second)
    path, took = carry(top, lab, centre)
    assert took["ops"] == took["chunks"] == 0, took
    third = e2e.release(lab, top / "c", seed=3)
    small, took = carry(top, lab, centre)
    assert took["ops"] == took["new_ops"] and took["chunks"] > 0
    everything, took = carry(top, lab, centre, "--all")
    assert took["ops"] > took["new_ops"] == 0
    assert small.stat().st_size < everything.stat().st_size * 0.7
    same(top, lab, centre, third)
    assert b"images" not in everything.read_bytes()

    # The hub in the middle: ciphertext in, ciphertext out.
    fourth = e2e.release(lab, top / "d", seed=4)
    _, took = carry(top, lab, hub)
    assert took["new_chunks"] > 0, took
    assert hub.rows("find", "level=series") == []
    _, took = carry(top, hub, centre)
    assert took["new_chunks"] > 0, took
    same(top, lab, centre, fourth)

    bad_files(top, lab, centre, hub)

    # Ops without images, then what the other says it misses.
    fifth = e2e.release(lab, top / "e", seed=5)
    _, took = carry(top, lab, centre, "--no-content")
    assert took["new_ops"] > 0 and took["chunks"] == 0
    carry(top, centre, lab)
    _, took = carry(top, lab, centre)
    assert took["ops"] == 0 and took["new_chunks"] > 0, took
    same(top, lab, centre, fifth)

    killed(top, lab, centre)

    put_back(top, lab, hub)

    # Put out: the file it is given later is none.
    lab.cli("share", "revoke", SHARE, centre.key, "--reason", "test")
    err = e2e.error_of(lab.cli("sync", "export", top / "no", "--peer",
                               centre.key, "--json", check=False))
    assert "no share" in err["cause"], err


def main():
    """Run."""
    with tempfile.TemporaryDirectory(prefix="psc-air-") as tmp:
        top = pathlib.Path(tmp)
        nodes = [site(top, s) for s in ("lab", "centre", "hub")]
        try:
            run(top, *nodes)
        finally:
            for node in nodes:
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())