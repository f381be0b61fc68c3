#!/usr/bin/python3
"""A node put back from an old copy of its home is found, and named by all.

Hub, lab and centre as real daemons. The centre signs what it holds; then its
home is replaced by an older copy. It hears its own word, which it does not
remember, and says so; the finding stays through kill -9 and a rebuild.
"""
import pathlib
import shutil
import sys
import tempfile

import e2e
from nodes import until

SHARE = "witness-trial"


def put_back(node, site="centre"):
    """Is it named as the one that was put back?  A hub reads no names."""
    found = node.json("sync", "status")["findings"]
    return [f["site"].startswith("site-") if node.site == "hub"
            else f["site"] == site for f in found
            if "took back" in f["finding"]] == [True]


def story(top, hub, lab, centre):
    """The steps."""
    centre.stop()
    old = top / "old"
    shutil.copytree(centre.home, old)
    centre.start()
    one = e2e.release(centre, top / "s1", seed=1)
    until("the lab has it", 30, lambda: one in {
        a["id"] for a in lab.rows("find", "level=series")})
    until("all three signed what they hold", 30, lambda: hub.json(
        "sync", "status")["statements"] == 3)
    assert not hub.json("sync", "status")["findings"]

    centre.kill()
    shutil.rmtree(centre.home)
    shutil.copytree(old, centre.home)
    centre.start()
    for node in (centre, hub, lab):
        until(f"{node.site} says so", 30, lambda n=node: put_back(n))
    until("it has its own series again", 30, lambda: one in {
        a["id"] for a in centre.rows("find", "level=series")})
    text = lab.cli("sync", "status").stdout
    assert "centre" in text and "put back" in text, text

    hub.kill()
    hub.start()
    assert put_back(hub), "forgotten by kill -9"
    hub.stop()
    for name in ("data.mdb", "lock.mdb"):
        for path in hub.home.rglob(name):
            path.unlink()
    hub.cli("rebuild")
    hub.start()
    assert put_back(hub), "forgotten by a rebuild"


def main():
    """Runs it."""
    with tempfile.TemporaryDirectory(prefix="psc-witness-") as top:
        top = pathlib.Path(top)
        nodes = e2e.hub_lab_centre(top, SHARE)
        try:
            story(top, *nodes)
        finally:
            for node in nodes:
                node.stop()
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
