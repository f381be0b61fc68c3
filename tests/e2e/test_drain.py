#!/usr/bin/python3
"""A hub says that it may go only when others prove that they hold all of it:
not while it is alone, nor while only who lacks the images is there; after a
second hub filled itself it is switched off with its disk, and nothing is
lost. A site that is no hub is told that it cannot be emptied that way.
"""
import pathlib
import shutil
import sys
import tempfile

import e2e
from nodes import Node, until

SHARE = "drain-trial"


def held(hub, *more):
    """It may not go: the cause."""
    return e2e.error_of(hub.cli("peer", "drain", "--timeout", "1s", "--json",
                                *more, check=False))["cause"]


def second_hub(top, lab):
    """Another hub, filled by the first."""
    two = Node(e2e.BIN, top / "two", "two")
    two.init(**{**e2e.OFF, "peers__listen": "127.0.0.1:0"})
    two.start()
    two.address = f"127.0.0.1:{two.port('peers')}"
    two.stop()
    two.cli("config", "set", f"peers.listen={two.address}")
    two.start()
    e2e.join(lab, two, SHARE, "--role", "hub")
    return two


def run(top, hub, lab, centre):
    """The story; the nodes to stop."""
    asset = e2e.release(centre, top / "a", seed=1, size=128)
    until("lab is level", 30, lambda: lab.cli(
        "sync", "wait", "--timeout", "1s", check=False).returncode == 0 and
        len(lab.rows("find", "level=series")) == 1)
    assert "no hub" in held(centre)
    # Its writer is there, and proves it.
    hub.cli("peer", "drain", "--timeout", "20s")
    # Only one without images is there.
    lab.cli("subscribe", SHARE, "--content", "none")
    lab.cli("gc")
    centre.stop()
    until("it is gone", 20, lambda: hub.json("sync", "status")["connected"]
          == 1)
    cause = held(hub)
    assert not cause.startswith("0 of") and "and 0 comp" in cause, cause
    # Nobody is.
    lab.stop()
    until("they are gone", 20, lambda: hub.json("sync", "status")["connected"]
          == 0)
    cause = held(hub)
    assert "chunks" in cause and "compartment" in cause, cause
    lab.start()
    two = second_hub(top, lab)
    yield two
    lab.stop()
    done = hub.json("peer", "drain", "--timeout", "30s")
    assert done["safe"] and done["chunks"] > 0 and done["alone"] == 0, done
    hub.kill()
    shutil.rmtree(hub.home)
    lab.start()
    lab.cli("peer", "add", two.address, "--key", two.json("id")["key"])
    lab.cli("subscribe", SHARE, "--content", "all")
    lab.cli("sync", "wait", "--timeout", "30s")
    lab.cli("get", asset, "-o", top / "got")
    assert len([p for p in (top / "got").rglob("*") if p.is_file()]) == 3


def main():
    """Run."""
    with tempfile.TemporaryDirectory(prefix="psc-drain-") as tmp:
        top = pathlib.Path(tmp)
        nodes = list(e2e.hub_lab_centre(
            top, SHARE, gc__grace_hours="0", gc__interval_minutes="0"))
        try:
            for more in run(top, *nodes):
                nodes.append(more)
        finally:
            for node in nodes:
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
