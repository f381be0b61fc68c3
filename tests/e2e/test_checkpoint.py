#!/usr/bin/python3
"""A registrar's node was put back from an old copy and signed anew.

Hub, lab and centre as real daemons. The share stands still at all of them,
with an alarm; the lab names the branch that holds, all come to one chain, and
the share goes on: rights change again, and what is written is read.
"""
import pathlib
import shutil
import sys
import tempfile

import e2e
from nodes import Node, until

SHARE = "branch-trial"


def alarm(node):
    """Does its share stand still?"""
    name = node.rows("share", "list")[0]["name"]  # a hub's is another
    return "alarm" in node.json("share", "show", name)


def fork(top, hub, lab, centre, other):
    """The lab's home goes back to before its last records."""
    lab.stop()
    shutil.copytree(lab.home, top / "old")
    lab.start()
    lab.cli("share", "rotate", SHARE)
    lab.cli("share", "grant", SHARE, other, "--role", "reader",
            "--compartment", "images")
    until("the centre has both", 30, lambda: any(
        m["key"] == other for m in centre.rows("share", "members", SHARE)))
    fresh = e2e.release(centre, top / "c1", seed=1)
    until("the lab reads it", 30, lambda: fresh in series(lab))
    lab.stop()
    hub.stop()
    shutil.rmtree(lab.home)
    shutil.copytree(top / "old", lab.home)
    lab.start()
    # Nobody is there to tell it what it has signed before.
    lab.cli("share", "grant", SHARE, other, "--role", "auditor",
            "--compartment", "images")
    hub.start()
    for node in (lab, hub, centre):
        until(f"{node.site} sounds the alarm", 30, lambda n=node: alarm(n))
    return fresh


def series(node):
    """Ids of the series a node shows."""
    return {a["id"] for a in node.rows("find", "level=series")}


def check(top, hub, lab, centre):
    """The story."""
    third = Node(e2e.BIN, top / "third", "third")
    third.init(**e2e.OFF)
    third.start()
    other = third.json("id")["key"]
    third.stop()
    fresh = fork(top, hub, lab, centre, other)
    refused = lab.cli("share", "rotate", SHARE, check=False)
    assert refused.returncode == 1, refused
    found = until("the lab is told the other branch", 30, lambda: [
        b for b in lab.rows("share", "checkpoint", SHARE)
        if not b["here"] and b["last"] > b["first"]])
    denied = centre.cli("share", "checkpoint", SHARE, "--keep",
                        found[0]["id"], check=False)
    assert denied.returncode == 1 and "registrar" in denied.stderr, denied
    lab.cli("share", "checkpoint", SHARE, "--keep", found[0]["id"])
    for node in (lab, hub, centre):
        until(f"{node.site} goes on", 30, lambda n=node: not alarm(n))
    rights = {m["role"] for m in lab.rows("share", "members", SHARE)
              if m["key"] == other}
    assert rights == {"reader"}, rights
    until("the lab reads what it had lost", 30, lambda: fresh in series(lab))
    lab.cli("share", "rotate", SHARE)
    again = e2e.release(centre, top / "c2", seed=2)
    until("it is read under new keys", 30, lambda: again in series(lab))
    centre.stop()
    centre.cli("rebuild")  # the log has records of both branches
    centre.start()
    assert not alarm(centre) and {fresh, again} <= series(centre)
    verify = lab.cli("verify", "--deep")
    assert verify.returncode == 0, verify


def main():
    """Run."""
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp)
        nodes = e2e.hub_lab_centre(top, SHARE)
        try:
            check(top, *nodes)
        finally:
            for node in nodes:
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
