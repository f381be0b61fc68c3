#!/usr/bin/python3
"""Replication through a blind hub survives kill -9 of either end in the
middle of a transfer, sends finished chunks no second time, converges after
the reconnect, and pushes new ops live.

The centre and the lab dial the hub; nobody dials them.
"""
import json
import pathlib
import sys
import tempfile
import time

import e2e
from nodes import Node, storescu, until

SHARE = "resume-trial-9"
IMAGES, SIDE = 160, 512  # 84 MB of noise: nothing to compress away


def role(node):
    """Our role in the share, or None while the grant is on its way."""
    for share in node.json("status")["shares"]:
        if share["role"] and share["role"] != "pending":
            return share["role"]
    return None


def build(top):
    """Hub, centre (writer), lab (registrar and reader)."""
    off = {"dicom__listen": "off", "peers__listen": "off",
           "rest__listen": "off"}
    hub, lab, centre = (Node(e2e.BIN, top / s, s)
                        for s in ("hub", "lab", "centre"))
    hub.init(**{**off, "peers__listen": "127.0.0.1:0"})
    hub.start()
    port = hub.port("peers")
    hub.stop()  # from here on it keeps this port
    hub.cli("config", "set", f"peers.listen=127.0.0.1:{port}")
    lab.init(**off)
    centre.init(**{**off, "dicom__listen": "127.0.0.1:0",
                   "dicom__inboxes": json.dumps(
                       [{"calling_ae": "SCANNER1", "share": SHARE,
                         "compartment": "images", "profile": "basic"}])})
    for node in (hub, lab, centre):
        node.start()
    lab.cli("peer", "add", f"127.0.0.1:{port}", "--key",
            hub.json("id")["key"])
    lab.cli("share", "create", SHARE, "--compartment", "images")
    hub.cli("share", "join",
            lab.json("share", "invite", SHARE, "--role", "hub")["invite"])
    until("hub granted", 20, lambda: role(hub))
    centre.cli("share", "join", lab.json(
        "share", "invite", SHARE, "--role", "writer", "--compartment",
        "images")["invite"])
    until("centre granted", 20, lambda: role(centre))
    return hub, lab, centre


def release(centre, folder, n, seed, size):
    """Send a series and release it; its asset id."""
    files = e2e.make_series(folder, n, seed=seed, size=size)
    done = storescu(centre.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    item = centre.rows("quarantine", "list")[-1]
    return centre.json("quarantine", "release", item["id"], "--reason",
                       "synthetic")["asset"]


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
        nodes = hub, lab, centre = build(top)
        try:
            lab.cli("subscribe", SHARE, "--content", "all")
            asset = release(centre, top / "big", IMAGES, 1, SIDE)
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
            asset = release(centre, top / "small", 2, 2, 64)
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
