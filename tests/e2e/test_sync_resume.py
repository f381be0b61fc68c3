#!/usr/bin/python3
"""Replication through a blind hub survives kill -9 of either end in the
middle of a transfer, sends finished chunks no second time, converges after
the reconnect, and pushes new ops live.

The centre and the lab dial the hub; nobody dials them.
"""
import pathlib
import sys
import tempfile
import time

import e2e
from nodes import until

SHARE = "resume-trial-9"
IMAGES, SIDE = 160, 512  # 84 MB of noise: nothing to compress away


def chunks_in(node):
    """Chunks received from peers in this run, and held in all."""
    status = node.json("status")
    return (sum(p.get("chunks_rx", 0) for p in status["peers"]),
            status["store"]["chunks"])


def kill_midway(node, share_of_all, total):
    """kill -9 once it holds this part; returns chunks received so far."""
    until(f"{node.site} is midway", 60,
          lambda: chunks_in(node)[1] >= share_of_all * total, every=0.02)
    got = chunks_in(node)[0]
    node.kill()
    return got


def equal(lab, centre, asset, top):
    """The asset's files at both, byte for byte."""
    names = {}
    for node in (lab, centre):
        out = top / f"out-{node.site}-{asset[:8]}"
        rows = node.rows("get", asset, "-o", out)
        names[node.site] = {
            pathlib.Path(r["path"]).name: pathlib.Path(r["path"]).read_bytes()
            for r in rows}
    assert names["lab"], "no files"
    assert names["lab"] == names["centre"], "files differ"
    return len(names["lab"])


def main():
    """Kills in the middle, then a live push."""
    with tempfile.TemporaryDirectory(prefix="psc-sync-") as tmp:
        top = pathlib.Path(tmp)
        nodes = hub, lab, centre = e2e.hub_lab_centre(top, SHARE)
        try:
            lab.cli("subscribe", SHARE, "--content", "all")
            asset = e2e.release(centre, top / "big", IMAGES, 1, SIDE)
            total = IMAGES  # at least one chunk an image
            got = kill_midway(hub, 0.4, total)
            hub.start()
            got_lab = kill_midway(lab, 0.6, total)
            lab.start()
            for node in (centre, lab):
                node.cli("sync", "wait", "--timeout", "90s", timeout=100)
            hub_twice = got + chunks_in(hub)[0]
            lab_twice = got_lab + chunks_in(lab)[0]
            for name, twice, held in (
                    ("hub", hub_twice, chunks_in(hub)[1]),
                    ("lab", lab_twice, chunks_in(lab)[1])):
                assert twice <= 1.15 * held + 16, \
                    f"{name} received {twice} chunks to hold {held}"
            n = equal(lab, centre, asset, top)
            assert n == IMAGES, n
            for node in nodes:
                assert not node.json("verify", "--deep")["bad"], node.site
            asset = e2e.release(centre, top / "small", 2, 2, 64)
            t = time.monotonic()
            until("the new series is at the lab", 10, lambda: lab.cli(
                "show", asset, "--json", check=False).returncode == 0)
            print(f"resumed twice; live push seen after "
                  f"{time.monotonic() - t:.2f} s")
        finally:
            for node in nodes:
                node.stop()


if __name__ == "__main__":
    sys.exit(main())
