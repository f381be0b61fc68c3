#!/usr/bin/python3
"""Two centres that are never online together share through a hub: they join,
write and read in turns. A second hub is added and filled by the first; the
first is lost with its disk; the centres go on, also with what only it had.
"""
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile

import e2e
from nodes import Failed, Node, until

OFF = {"dicom__listen": "off", "peers__listen": "off", "rest__listen": "off"}
SHARE = "turns-trial"


def open_hub(top, site):
    """A node that listens and keeps its port."""
    hub = Node(e2e.BIN, top / site, site)
    hub.init(**{**OFF, "peers__listen": "127.0.0.1:0"})
    hub.start()
    hub.address = f"127.0.0.1:{hub.port('peers')}"
    hub.key = hub.json("id")["key"]
    hub.stop()
    hub.cli("config", "set", f"peers.listen={hub.address}")
    hub.start()
    return hub


def ops(node):
    """Ops of the compartment and their root."""
    for share in node.json("status")["shares"]:
        for part in share["compartments"]:
            return part["ops"], part["root"]
    return None


def level(a, b):
    """Same ops, and each has all content it may want."""
    return ops(a) and ops(a) == ops(b) and all(
        n.cli("sync", "wait", "--timeout", "2s", check=False).returncode == 0
        for n in (a, b))


class Turns:
    """Lets one of the centres be up at a time."""

    def __init__(self, *nodes):
        self.nodes = nodes

    def of(self, node):
        """It is up, and nobody else."""
        for other in self.nodes:
            if other is not node:
                other.stop()
        assert all(n.proc is None or n.proc.poll() is not None
                   for n in self.nodes if n is not node)
        if node.proc is None or node.proc.poll() is not None:
            node.start()

    def connected(self, node):
        """Its turn, until it speaks with a hub."""
        self.of(node)
        until(f"{node.site} is connected", 20, lambda: any(
            p["connected"] for p in node.json("sync", "status")["peers"]))


def content(node, asset, out):
    """Hashes of the files of an asset."""
    shutil.rmtree(out, ignore_errors=True)
    node.cli("get", asset, "-o", out)
    return sorted(hashlib.sha256(p.read_bytes()).hexdigest()
                  for p in pathlib.Path(out).rglob("*") if p.is_file())


def join(turns, east, west):
    """West joins though the registrar is never there when it is."""
    invite = east.json("share", "invite", SHARE, "--role", "writer",
                       "--compartment", "images")["invite"]
    turns.of(west)
    west.cli("share", "join", invite)
    for _ in range(6):
        turns.connected(west)
        turns.connected(east)
        if len(east.rows("share", "members", SHARE)) >= 4:
            return
    raise Failed("west was never granted")


def pass_on(turns, hub, giver, taker, asset, top):
    """What giver holds reaches taker, one after the other at the hub."""
    turns.of(giver)
    until("the hub has it", 30, lambda: level(hub, giver))
    want = content(giver, asset, top / "want")
    assert want
    turns.of(taker)
    until("the other has it", 30, lambda: level(hub, taker))
    assert content(taker, asset, top / "got") == want


def run(top, one, two, east, west):
    """The story."""
    turns = Turns(east, west)
    turns.of(east)
    east.cli("peer", "add", one.address, "--key", one.key)
    east.cli("share", "create", SHARE, "--compartment", "images")
    east.cli("share", "grant", SHARE, east.json("id")["key"], "--role",
             "writer", "--compartment", "images")
    one.cli("share", "join",
            east.json("share", "invite", SHARE, "--role", "hub")["invite"])
    until("the hub joined", 30, lambda: ops(one))
    join(turns, east, west)
    first = e2e.release(east, top / "e1", seed=1)
    pass_on(turns, one, east, west, first, top)
    second = e2e.release(west, top / "w1", seed=2)
    pass_on(turns, one, west, east, second, top)

    # A second hub: granted while one centre is up, filled by the first hub.
    east.cli("peer", "add", two.address, "--key", two.key)
    two.cli("share", "join",
            east.json("share", "invite", SHARE, "--role", "hub")["invite"])
    until("the second hub joined", 30, lambda: ops(two))
    third = e2e.release(east, top / "e2", seed=3)
    until("the first hub has it", 30, lambda: level(one, east))
    east.stop()
    until("the hubs are level with no centre up", 30, lambda: level(one, two))

    # The first is lost with its disk.
    one.kill()
    shutil.rmtree(one.home)
    turns.of(west)
    west.cli("peer", "add", two.address, "--key", two.key)
    until("west has it from the second", 30, lambda: level(two, west))
    got = content(west, third, top / "got")
    fourth = e2e.release(west, top / "w2", seed=4)
    pass_on(turns, two, west, east, fourth, top)
    assert got == content(east, third, top / "want")
    assert {a["id"] for a in east.rows("find", "level=series")} == \
        {first, second, third, fourth}

    # It is put out: who finds its disk gets nothing, the others go on.
    turns.of(east)
    east.cli("share", "revoke", SHARE, one.key, "--reason", "disk lost")
    east.cli("peer", "remove", one.address)
    fifth = e2e.release(east, top / "e3", seed=5)
    pass_on(turns, two, east, west, fifth, top)
    assert all(m["key"] != one.key
               for m in west.rows("share", "members", SHARE))


def main():
    """Run."""
    with tempfile.TemporaryDirectory(prefix="psc-hubs-") as tmp:
        top = pathlib.Path(tmp)
        inbox = json.dumps([{"calling_ae": "SCANNER1", "share": SHARE,
                             "compartment": "images", "profile": "basic"}])
        centres = [Node(e2e.BIN, top / s, s) for s in ("east", "west")]
        for node in centres:
            node.init(**{**OFF, "dicom__listen": "127.0.0.1:0",
                         "dicom__inboxes": inbox})
        hubs = [open_hub(top, s) for s in ("one", "two")]
        try:
            run(top, *hubs, *centres)
        finally:
            for node in hubs + centres:
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
