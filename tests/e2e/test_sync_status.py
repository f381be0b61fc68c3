#!/usr/bin/python3
"""`sync status` says per peer and compartment how far apart two nodes are and
why: level, not reachable, wrong key, no share in common, not joined.
"""
import pathlib
import sys
import tempfile

import e2e
from nodes import Node, until

OFF = {"dicom__listen": "off", "peers__listen": "off", "rest__listen": "off"}
SHARE = "status-trial-4"


def peer(node, *args):
    """The first peer of sync status."""
    return node.json("sync", "status", *args)["peers"][0]


def row(node, name="images"):
    """The row of one compartment."""
    for r in peer(node)["shares"]:
        if r["compartment"] == name:
            return r
    return None


def open_hub(top):
    """A node that listens, and keeps its port."""
    hub = Node(e2e.BIN, top / "hub", "hub")
    hub.init(**{**OFF, "peers__listen": "127.0.0.1:0"})
    hub.start()
    port = hub.port("peers")
    hub.stop()
    hub.cli("config", "set", f"peers.listen=127.0.0.1:{port}")
    hub.start()
    return hub, port


def main():
    """Each step makes one reason true and sees it said."""
    with tempfile.TemporaryDirectory(prefix="psc-status-") as top:
        top = pathlib.Path(top)
        hub, port = open_hub(top)
        lab = Node(e2e.BIN, top / "lab", "lab")
        lab.init(**OFF)
        lab.start()
        try:
            run(hub, lab, port, stranger_key(top))
        finally:
            for node in (hub, lab):
                node.stop()
    print("ok")


def stranger_key(top):
    """The key of a node that is somewhere else."""
    node = Node(e2e.BIN, top / "else", "else")
    node.init(**OFF)
    node.start()
    key = node.json("id")["key"]
    node.stop()
    return key


def run(hub, lab, port, wrong):
    """The steps."""
    address = f"127.0.0.1:{port}"
    # the wrong key, then the right one
    lab.cli("peer", "add", address, "--key", wrong)
    until("wrong key is said", 20, lambda: "key" in (peer(lab)["why"] or ""))
    lab.cli("peer", "remove", address)
    lab.cli("peer", "add", address, "--key", hub.json("id")["key"])
    until("connected", 20, lambda: peer(lab)["connected"])
    until("no share in common", 20,
          lambda: "no share" in (peer(lab)["why"] or ""))
    assert "no share" in peer(hub)["why"]

    # a member that has not joined
    lab.cli("share", "create", SHARE, "--compartment", "images")
    lab.cli("share", "grant", SHARE, hub.json("id")["key"], "--role", "hub")
    until("the hub has not opened it", 20,
          lambda: "not opened" in (peer(lab)["why"] or ""))
    rows = peer(lab)["shares"]
    assert rows[0]["share"] == SHARE and not rows[0]["in_sync"], rows

    # it joins: level
    hub.cli("share", "join",
            lab.json("share", "invite", SHARE, "--role", "hub")["invite"])
    until("level", 30, lambda: (row(lab) or {}).get("in_sync"))
    got = peer(lab)
    assert got["why"] is None and got["last_contact"], got
    assert peer(lab, "--peer", address)["key"] == hub.json("id")["key"]
    none = lab.cli("sync", "status", "--peer", "", check=False)
    assert none.returncode == 2 and "HOST:PORT" in none.stderr, none
    assert lab.cli("sync", "status", "--peer", "nobody:1",
                   check=False).returncode == 1
    text = lab.cli("sync", "status").stdout
    assert f"{SHARE}/images: in sync" in text, text
    assert "last contact" in text, text

    # not reachable
    hub.stop()
    until("not reachable", 20, lambda: not peer(lab)["connected"])
    assert not lab.json("sync", "status")["in_sync"], "nobody to be level with"
    assert lab.cli("sync", "wait", "--timeout", "1s", check=False).returncode
    until("and why", 20, lambda: peer(lab)["why"])
    assert "being dialled" not in peer(lab)["why"] or peer(lab)["error"] == ""
    text = lab.cli("sync", "status").stdout
    assert "not connected" in text, text

    # level again
    hub.start()
    lab.cli("sync", "now")
    until("level again", 30, lambda: (row(lab) or {}).get("in_sync"))


if __name__ == "__main__":
    sys.exit(main())
