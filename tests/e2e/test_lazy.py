#!/usr/bin/python3
"""Lazy content comes when it is opened, also while a backfill fills a link of
10 Mbit/s with 50 ms there and back; nobody there to send it is told with the
names of those who may hold it; a subscription that ends ends its transfer.

The figure that is printed is the time from asking for a file to its last
byte; what must hold on any machine is that it does not wait for the backfill.
That it stays under 200 ms is shown in virtual time by
tests/unit/replication/test_slow_link.c.
"""
import http.client
import json
import pathlib
import socket
import statistics
import sys
import tempfile
import time

import e2e
from nodes import Node, storescu, until
from slowlink import SlowLink

SHARE = "lazy-trial-1"
SMALL = 6


class Local(http.client.HTTPConnection):
    """HTTP over the node's unix socket."""

    def __init__(self, home):
        super().__init__("localhost", timeout=60)
        self.path = str(home / "pesscara.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def inbox(ae, compartment):
    """Images of one sender go to one compartment."""
    return {"calling_ae": ae, "share": SHARE, "compartment": compartment,
            "profile": "basic"}


def build(top):
    """The centre (writer of both) and the lab, behind a slow link."""
    off = {"dicom__listen": "off", "peers__listen": "off",
           "rest__listen": "off"}
    lab, centre = (Node(e2e.BIN, top / s, s) for s in ("lab", "centre"))
    lab.init(**off)
    centre.init(**{**off, "peers__listen": "127.0.0.1:0",
                   "dicom__listen": "127.0.0.1:0",
                   "dicom__inboxes": json.dumps(
                       [inbox("SMALL", "small"), inbox("BULK", "bulk")])})
    lab.start()
    centre.start()
    link = SlowLink(centre.port("peers"), 10e6, 0.025)
    lab.cli("peer", "add", f"127.0.0.1:{link.port}", "--key",
            centre.json("id")["key"])
    lab.cli("share", "create", SHARE, "--compartment", "small",
            "--compartment", "bulk")
    lab.cli("subscribe", SHARE, "--compartment", "small", "--content", "lazy")
    lab.cli("subscribe", SHARE, "--compartment", "bulk", "--content", "none")
    centre.cli("share", "join", lab.json(
        "share", "invite", SHARE, "--role", "writer", "--compartment",
        "small", "--address", "127.0.0.1:1")["invite"])
    until("centre granted", 20, lambda: any(
        s["role"] == "writer" for s in centre.json("status")["shares"]))
    lab.cli("share", "grant", SHARE, centre.json("id")["key"], "--role",
            "writer", "--compartment", "bulk")
    until("centre granted both", 20, lambda: any(
        len(s.get("compartments", [])) == 2 and s["role"] == "writer"
        for s in centre.json("status")["shares"]))
    return lab, centre, link


def release(centre, known):
    """Release what is new in quarantine; its assets."""
    out = []
    for item in centre.rows("quarantine", "list"):
        if item["id"] in known:
            continue
        known.add(item["id"])
        out.append(centre.json("quarantine", "release", item["id"],
                               "--reason", "synthetic")["asset"])
    return out


def open_file(lab, asset):
    """Ask for the first file of an asset: milliseconds, bytes."""
    http_ = Local(lab.home)
    start = time.monotonic()
    http_.request("GET", f"/api/v1/assets/{asset}/files/0")
    answer = http_.getresponse()
    body = answer.read()
    took = 1000 * (time.monotonic() - start)
    assert answer.status == 200, (answer.status, body[:300])
    http_.close()
    return took, body


def wanted(lab):
    """Chunks the lab waits for."""
    return lab.json("sync", "status")["wanted_chunks"]


def run(top, lab, centre, link):
    """Send, open while the link is full, stop, open with nobody there."""
    known = set()
    for i in range(SMALL + 1):
        done = storescu(centre.port("dicom"), "SMALL", e2e.make_series(
            top / f"s{i}", 1, seed=20 + i, patient=f"P-SYNTH-{i}"))
        assert done.returncode == 0, done.stderr
    small = release(centre, known)
    assert len(small) == SMALL + 1, small
    done = storescu(centre.port("dicom"), "BULK", e2e.make_series(
        top / "big", 24, seed=7, size=512, patient="P-SYNTH-B"))
    assert done.returncode == 0, done.stderr
    big = release(centre, known)
    until("the lab knows all", 30, lambda: len(lab.rows(
        "find", "level=series")) == SMALL + 2)
    assert wanted(lab) == 0
    assert not any(r["complete"] for r in lab.rows("find", "level=series"))

    quiet, _ = open_file(lab, small[0])
    lab.cli("subscribe", SHARE, "--compartment", "bulk", "--content", "all")
    before = link.bytes
    until("the backfill runs", 20, lambda: link.bytes > before + 1000000)
    took = [open_file(lab, a)[0] for a in small[1:SMALL]]
    busy = wanted(lab)
    print(f"opened: {quiet:.0f} ms on the quiet link, under a backfill "
          f"median {statistics.median(took):.0f} ms, worst {max(took):.0f} "
          f"ms; {busy} chunks still to come")
    assert busy > 0, "the backfill was over: nothing was shown"

    # What is subscribed to no more does not go on.
    lab.cli("subscribe", SHARE, "--compartment", "bulk", "--content", "none")
    until("nothing wanted", 5, lambda: wanted(lab) == 0)
    lab.cli("get", small[1], "-o", str(top / "out"))
    assert len(list((top / "out").rglob("*.dcm"))) == 1

    centre.stop()
    start = time.monotonic()
    gone = lab.cli("get", small[SMALL], "-o", str(top / "gone"), check=False)
    assert gone.returncode != 0, gone.stdout
    assert "centre" in gone.stderr and "writer" in gone.stderr, gone.stderr
    assert time.monotonic() - start > 9
    assert big


def main():
    """Two nodes, one slow link."""
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp)
        lab, centre, link = build(top)
        try:
            run(top, lab, centre, link)
        finally:
            lab.stop()
            centre.stop()
            link.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
