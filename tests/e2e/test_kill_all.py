#!/usr/bin/python3
"""kill -9 of one node or both while images come in by C-STORE and import,
items are released, gc collects and compacts, and a peer replicates, lets go
and fetches again: nothing acknowledged is lost, `verify --deep` is clean at
each start, nothing is repaired by hand, and both ends agree in the end.

What is sent and what is imported are different images: one image that comes
both ways is two originals (test_races.py), so sending again what was only
imported would count as new without anything being lost.

PSC_LONG=1 runs 40 rounds instead of 3."""
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import e2e
from nodes import Node, storescu, until

SHARE = e2e.SHARE
ROUNDS = 40 if os.environ.get("PSC_LONG") else 3
IMAGES, SIDE = 16, 192


class World:
    """Both nodes and what they acknowledged."""

    def __init__(self, top):
        self.top = top
        self.rng = random.Random(7)
        self.stored = []    # files the sender was told are stored
        self.folders = []   # imported, as the command said
        self.released = {}  # asset -> instances, as release answered
        self.over = threading.Event()
        small = {"store__segment_bytes": "2m", "gc__grace_hours": "0",
                 "gc__interval_minutes": "0"}
        self.centre = e2e.single(top, "centre", peers__listen="127.0.0.1:0",
                                 **small)
        for which in ("peers", "dicom"):  # the same ports after a restart
            self.centre.cli("config", "set", f"{which}.listen=127.0.0.1:"
                            f"{self.centre.port(which)}")
        self.lab = Node(e2e.BIN, top / "lab", "lab")
        self.lab.init(dicom__listen="off", peers__listen="off",
                      rest__listen="off", **small)
        self.lab.start()
        self.lab.cli("share", "join", self.centre.json(
            "share", "invite", SHARE, "--role", "reader", "--compartment",
            "images")["invite"])
        self.dicom = self.centre.port("dicom")

    def send(self, files):
        """C-STORE; each answer counts, whatever comes after it."""
        sender = subprocess.Popen(
            ["storescu", "-v", "-xs", "-aet", "SCANNER1", "-aec", "PESSCARA",
             "127.0.0.1", str(self.dicom)] + [str(f) for f in files],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=e2e.env(TCP_NODELAY="1"))
        now = None
        for line in sender.stdout:
            sending = re.search(r"Sending file: (\S+)", line)
            if sending:
                now = sending.group(1)
            if "Received Store Response (Success)" in line:
                self.stored.append(now)
        sender.wait(60)

    def imported(self, folder):
        """Acknowledged as a whole, or not at all that we know of."""
        done = self.centre.cli("import", folder, "--share", SHARE,
                               "--compartment", "images", "--json",
                               check=False)
        if done.returncode == 0:
            self.folders.append(folder)

    def release_all(self, items):
        """Items of the rounds before."""
        for item in items:
            done = self.centre.cli("quarantine", "release", item["id"],
                                   "--reason", "r", "--json", check=False)
            if done.returncode == 0:
                asset = re.search(r'"asset": ?"(\w+)"', done.stdout)
                self.released[asset.group(1)] = item["instances"]

    def churn(self):
        """gc at both ends; the lab lets go and fetches again."""
        while not self.over.is_set():
            for content in ("none", "all"):
                self.lab.cli("subscribe", SHARE, "--content", content,
                             check=False)
                self.lab.cli("gc", check=False)
                self.centre.cli("gc", check=False)

    def one_round(self, n):
        """All at once, and a kill in the middle."""
        held = self.centre.rows("quarantine", "list")
        sent = e2e.make_series(self.top / f"sent{n}", IMAGES, seed=2 * n,
                               size=SIDE)
        e2e.make_series(self.top / f"file{n}", IMAGES, seed=2 * n + 1,
                        size=SIDE)
        before = len(self.stored)
        self.over.clear()
        work = [threading.Thread(target=fn, args=args) for fn, args in (
            (self.send, (sent,)), (self.release_all, (held,)),
            (self.imported, (self.top / f"file{n}",)), (self.churn, ()))]
        for thread in work:
            thread.start()
        until("something was acknowledged", 60,
              lambda: len(self.stored) > before, every=0.005)
        time.sleep(self.rng.random() * 0.4)
        dead = [(self.centre,), (self.lab,), (self.centre, self.lab)][n % 3]
        for node in dead:
            node.kill()
        self.over.set()
        for thread in work:
            thread.join()
        for node in dead:
            node.start()
        for node in (self.centre, self.lab):
            said = node.json("verify", "--deep", check=False)
            assert said["bad"] == [], (n, node.site, said["bad"][:3])

    def count(self):
        """Instances that the centre holds, held or released."""
        return sum(i["instances"] for i in
                   self.centre.rows("quarantine", "list", "--all"))

    def nothing_lost(self):
        """What was acknowledged is there, at both ends."""
        before = self.count()
        want = len(self.stored) + IMAGES * len(self.folders)
        assert before >= want, (before, want)
        done = storescu(self.dicom, "SCANNER1", self.stored)
        assert done.returncode == 0, done.stderr
        assert self.count() == before, "a stored image was not there"
        for folder in self.folders:
            self.centre.cli("import", folder, "--share", SHARE,
                            "--compartment", "images")
        assert self.count() == before, "an imported image was not there"
        self.lab.cli("subscribe", SHARE, "--content", "all")
        until("both ends agree", 60, self.agree)
        for asset, n in self.released.items():
            for node in (self.centre, self.lab):
                got = node.rows("get", asset, "-o",
                                self.top / f"out-{node.site}-{asset}")
                files = [g for g in got if g.get("path")]
                assert len(files) >= n, (node.site, asset, n, len(files))

    def agree(self):
        """The same series, with their content."""
        names = [sorted(r["id"] for r in node.rows("find", "level=series"))
                 for node in (self.centre, self.lab)]
        return names[0] == names[1] and set(self.released) <= set(
            names[0]) and self.lab.cli("sync", "wait", "--timeout", "5s",
                                       check=False).returncode == 0


def main():
    """Rounds on the same two homes."""
    with tempfile.TemporaryDirectory(prefix="psc-kill-") as name:
        world = World(pathlib.Path(name))
        try:
            for n in range(ROUNDS):
                world.one_round(n)
            world.nothing_lost()
        except BaseException:
            for node in (world.centre, world.lab):
                print(node.log_tail(30), file=sys.stderr)
            raise
        finally:
            world.over.set()
            for node in (world.centre, world.lab):
                node.stop()
    print(f"{ROUNDS} kills, {len(world.stored)} images, "
          f"{len(world.folders)} imports and "
          f"{len(world.released)} releases acknowledged: all there")


if __name__ == "__main__":
    main()
