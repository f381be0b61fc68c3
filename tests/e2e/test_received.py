#!/usr/bin/python3
"""`sync received`: is what came what was sent? A sender signs how much it
wrote; the receiver says equal, or what is missing, and without the sender's
word it says that nothing is proven.
"""
import pathlib
import sys
import tempfile

import e2e
from nodes import until

SHARE = "received-trial-2"


def row(node):
    """The row of the centre, at a node."""
    rows = [r for r in node.rows("sync", "received") if r["site"] == "centre"]
    return rows[0] if rows else None


def run(top, hub, lab, centre):
    """Equal, content by choice, content missing, equal again."""
    lab.cli("subscribe", SHARE, "--content", "lazy")
    asset = e2e.release(centre, top / "one", 4, seed=1, size=64)
    until("the ops are here", 30, lambda: row(lab))
    until("the centre's word is here", 30, lambda: row(lab)["sent_ops"])
    got = row(lab)
    assert got["ops"] == got["sent_ops"] and got["versions"] == 1, got
    # not fetched by choice is told as such
    assert got["verdict"].startswith("equal; content as the sub"), got
    text = lab.cli("sync", "received").stdout
    assert text.startswith("centre, ") and ": equal; " in text, text

    # wanted, and nobody there who has it: named
    hub.stop()
    centre.stop()
    lab.cli("subscribe", SHARE, "--content", "all")
    got = row(lab)
    assert got["verdict"] == "content is missing", got
    assert got["missing"] == asset, got
    hub.start()
    centre.start()
    until("equal", 60, lambda: row(lab)["verdict"] == "equal")
    got = row(lab)
    assert got["whole"] == got["versions"] and got["missing"] is None, got
    # a hub that can read nothing counts what it carries
    until("equal at the hub", 60, lambda: any(
        r["verdict"] == "equal" and r["ops"] == got["ops"]
        for r in hub.rows("sync", "received")))


def main():
    """Two sites and a hub between them."""
    with tempfile.TemporaryDirectory(prefix="psc-received-") as tmp:
        top = pathlib.Path(tmp)
        nodes = e2e.hub_lab_centre(top, SHARE)
        try:
            lab = nodes[1]
            lab.cli("share", "grant", SHARE, lab.json("id")["key"], "--role",
                    "reader", "--compartment", "images")
            run(top, *nodes)
        finally:
            for node in nodes:
                node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
