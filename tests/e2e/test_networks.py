#!/usr/bin/python3
"""Real daemons on real networks converge: a centre, a blind hub and a lab in
network namespaces of their own (tests/lib/netns.py).

Under each trouble the centre releases a series; once the trouble is over, or
through it, all roots are equal, the lab holds the content, and `get` gives the
same bytes at both ends: long cables, loss, 10 Mbit/s, a flapping cable, one
that is open one way, kill -9 of each node in mid-transfer, a full disk at the
receiver, a clock that is years wrong, a node put back from an old copy.
PSC_LONG: larger series, and a one-way partition that outlasts the patience of
the sessions. PSC_SEED chooses when the kills happen.
"""
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

import e2e
import netns
from nodes import Node, storescu, until

SHARE = "network-trial-3"
LONG = bool(os.environ.get("PSC_LONG"))
IMAGES = 24 if LONG else 6
PATIENCE = 240
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
OFF = {"dicom__listen": "off", "peers__listen": "off", "rest__listen": "off",
       "store__segment_bytes": "8m"}


def share(node):
    """The share as this node sees it, or None."""
    for row in node.json("status")["shares"]:
        if row["role"] and row["role"] != "pending":
            return row
    return None


def root(node):
    """{ops, root} of the compartment."""
    row = share(node)["compartments"][0]
    return row["ops"], row["root"]


class World:
    """hub in the sandbox's namespace, centre and lab behind cables."""

    def __init__(self, top):
        self.top = top
        self.rng = random.Random(int(os.environ.get("PSC_SEED") or 1))
        self.series = 0
        self.hub, self.lab, self.centre = self.nodes = [
            Node(e2e.BIN, top / s, s) for s in ("hub", "lab", "centre")]
        self.cables = [netns.Cable(e2e.BIN, n.site, i + 1)
                       for i, n in enumerate(self.nodes[1:])]
        for node, cable in zip(self.nodes[1:], self.cables):
            node.wrap = cable.wrap

    def build(self):
        """All three are members."""
        hub, lab, centre = self.nodes
        (self.top / "lab").mkdir()
        netns.call("mount", "-t", "tmpfs", "-o", "size=400m", "none",
                   self.top / "lab")
        lab.home = self.top / "lab" / "home"
        hub.init(**{**OFF, "peers__listen": "0.0.0.0:7433"})
        lab.init(**OFF)
        inbox = {"calling_ae": "SCANNER1", "share": SHARE,
                 "compartment": "images", "profile": "basic"}
        centre.init(**{**OFF, "dicom__listen": "127.0.0.1:0",
                       "dicom__inboxes": json.dumps([inbox])})
        for node in self.nodes:
            node.start()
        for node, cable in zip(self.nodes[1:], self.cables):
            node.cli("peer", "add", f"{cable.hub}:7433", "--key",
                     hub.json("id")["key"])
        lab.cli("share", "create", SHARE, "--compartment", "images")
        hub.cli("share", "join",
                lab.json("share", "invite", SHARE, "--role", "hub")["invite"])
        until("hub granted", 30, lambda: share(hub))
        centre.cli("share", "join", lab.json(
            "share", "invite", SHARE, "--role", "writer", "--compartment",
            "images")["invite"])
        until("centre granted", 30, lambda: share(centre))
        lab.cli("subscribe", SHARE, "--content", "all")

    def cables_are(self, **what):
        """Both."""
        for cable in self.cables:
            cable.is_as(**what)

    def release(self, images=IMAGES, size=128):
        """A new series at the centre; its asset id."""
        self.series += 1
        files = e2e.make_series(self.top / f"in{self.series}", images,
                                seed=self.series, size=size)
        done = storescu(self.centre.port("dicom"), "SCANNER1", files,
                        wrap=self.centre.wrap)
        assert done.returncode == 0, done.stderr
        item = self.centre.rows("quarantine", "list")[-1]
        return self.centre.json("quarantine", "release", item["id"],
                                "--reason", "synthetic")["asset"]

    def got(self, node, asset):
        """{name: bytes} of an asset."""
        out = self.top / f"out-{node.site}-{asset[:8]}"
        rows = node.rows("get", asset, "-o", out)
        files = {pathlib.Path(r["path"]).name:
                 pathlib.Path(r["path"]).read_bytes() for r in rows}
        shutil.rmtree(out)
        return files

    def level(self, asset, images=IMAGES):
        """Roots are equal, content is there, bytes are the same."""
        until("roots are equal", PATIENCE,
              lambda: len({root(n) for n in self.nodes}) == 1, every=0.1)
        self.lab.cli("sync", "wait", "--timeout", f"{PATIENCE}s",
                     timeout=PATIENCE + 10)
        until("the lab wants nothing", PATIENCE, lambda: self.lab.cli(
            "show", asset, "--json", check=False).returncode == 0)
        mine, theirs = (self.got(n, asset) for n in (self.lab, self.centre))
        assert len(mine) == images and mine == theirs, "files differ"

    def stop(self):
        """Leave nothing running."""
        for node in self.nodes:
            node.stop()
        for cable in self.cables:
            cable.clean()
        netns.call("umount", "-l", self.top / "lab", check=False)


def long_cable(w, ms):
    """Both sites this far from the hub."""
    w.cables_are(rtt_ms=ms)
    seen = w.cables[0].ping_ms()
    assert seen >= ms - 2, f"the wire delays {seen} ms, not {ms}"
    w.level(w.release())


def lossy(w):
    """One packet in a hundred is lost."""
    w.cables_are(rtt_ms=10, loss=10)
    w.level(w.release(size=256), IMAGES)


def narrow(w):
    """10 Mbit/s."""
    w.cables_are(mbit=10)
    w.level(w.release(size=256))


def flapping(w):
    """The lab's cable comes and goes while it fetches."""
    stop = threading.Event()

    def flap():
        while not stop.wait(0.4):
            w.cables[0].carrier(False)
            stop.wait(0.4)
            w.cables[0].carrier(True)

    w.cables_are(mbit=10)
    flapper = threading.Thread(target=flap)
    flapper.start()
    try:
        asset = w.release(size=256)
        time.sleep(4)
    finally:
        stop.set()
        flapper.join()
        w.cables[0].carrier(True)
    w.level(asset)


def one_way(w):
    """What the lab says arrives, what it should hear does not."""
    w.cables_are()
    w.cables[0].deaf()
    asset = w.release()
    if LONG:  # the sessions give up after 75 s of silence
        until("the lab gave up", 120, lambda: not w.lab.json(
            "sync", "status")["peers"][0]["connected"])
    else:
        time.sleep(1)
    assert root(w.lab) != root(w.centre)
    w.cables_are()
    w.level(asset)


def killed(w):
    """kill -9 of each in turn while content is on its way."""
    w.cables_are(mbit=10)
    for node in w.nodes:
        asset = w.release(size=256)
        time.sleep(w.rng.uniform(0, 0.8))
        node.kill()
        time.sleep(w.rng.uniform(0, 0.3))
        node.start()
    w.level(asset)
    for node in w.nodes:
        assert not node.json("verify", "--deep")["bad"], node.site


def disk_full(w):
    """The lab has no space; it says so, and goes on when it has some."""
    w.cables_are()
    ballast = w.top / "lab" / "ballast"
    with open(ballast, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(1 << 16))
        except OSError:
            pass
    asset = w.release(images=4 * IMAGES, size=512)
    until("the lab says why", PATIENCE, lambda: "no space" in (
        w.lab.json("sync", "status")["peers"][0]["why"] or ""))
    ballast.unlink()
    w.level(asset, 4 * IMAGES)


def wrong_clock(w):
    """The centre lives years ago, the lab years ahead."""
    if not os.path.exists(FAKETIME):
        print("  no faketime: left out")
        return
    for node, years in ((w.centre, "-9y"), (w.lab, "+20y")):
        node.stop()
        node.start(env={
            "LD_PRELOAD": FAKETIME, "FAKETIME": years,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
                            ":verify_asan_link_order=0"})
    w.level(w.release())
    for node in (w.centre, w.lab):
        node.stop()
        node.start()
    w.level(w.release())


def rolled_back(w):
    """The centre is put back from a copy that is older than what it said."""
    copy = w.top / "copy"
    w.centre.stop()
    shutil.copytree(w.centre.home, copy)
    w.centre.start()
    asset = w.release()
    w.level(asset)
    w.centre.kill()
    shutil.rmtree(w.centre.home)
    copy.rename(w.centre.home)
    w.centre.start()
    later = w.release()
    w.level(later)
    # what it had said and forgotten came back from the others
    assert w.centre.cli("show", asset, "--json", check=False).returncode == 0
    w.level(asset)


STEPS = {"50 ms": lambda w: long_cable(w, 50),
         "300 ms": lambda w: long_cable(w, 300),
         "1 % loss": lossy, "10 Mbit/s": narrow, "flapping": flapping,
         "one way": one_way, "kill -9": killed, "disk full": disk_full,
         "clock": wrong_clock, "rolled back": rolled_back}


def main():
    """All steps, or those whose names hold argv[1]."""
    netns.enter(e2e.BIN)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory(prefix="psc-nets-") as top:
        w = World(pathlib.Path(top))
        try:
            w.build()
            for name, step in STEPS.items():
                if only in name:
                    t = time.monotonic()
                    step(w)
                    print(f"{name}: level after "
                          f"{time.monotonic() - t:.1f} s", flush=True)
        except BaseException:
            for node in w.nodes:
                print(f"--- {node.site}\n{node.log_tail()}")
            raise
        finally:
            w.stop()


if __name__ == "__main__":
    sys.exit(main())
