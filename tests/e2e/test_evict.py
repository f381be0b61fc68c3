#!/usr/bin/python3
"""Content that is not subscribed to goes with `gc` and comes again from a
peer when it is subscribed to again, byte for byte; pinned content stays; a
quota refuses a sender and an import, says so in status, and reading goes on.
"""
import json
import os
import pathlib
import struct
import sys
import tempfile
import threading

import e2e
import second_peer as second
from nodes import Node, storescu, until

SHARE = "evict-trial-3"


def build(top):
    """The centre (writer) and the lab (registrar, reader), who dials it."""
    off = {"dicom__listen": "off", "peers__listen": "off",
           "rest__listen": "off", "gc__grace_hours": "0",
           "gc__interval_minutes": "0"}
    lab, centre = (Node(e2e.BIN, top / s, s) for s in ("lab", "centre"))
    lab.init(**{**off, "peers__listen": "127.0.0.1:0"})
    centre.init(**{**off, "peers__listen": "127.0.0.1:0",
                   "dicom__listen": "127.0.0.1:0",
                   "dicom__inboxes": json.dumps(
                       [{"calling_ae": "SCANNER1", "share": SHARE,
                         "compartment": "images", "profile": "basic"}])})
    lab.start()
    centre.start()
    lab.cli("peer", "add", f"127.0.0.1:{centre.port('peers')}", "--key",
            centre.json("id")["key"])
    lab.cli("share", "create", SHARE, "--compartment", "images")
    centre.cli("share", "join", lab.json(
        "share", "invite", SHARE, "--role", "writer", "--compartment",
        "images", "--address", "127.0.0.1:1")["invite"])
    until("centre granted", 20, lambda: any(
        s["role"] and s["role"] != "pending"
        for s in centre.json("status")["shares"]))
    return lab, centre


def files_of(folder):
    """Name to bytes of everything below a folder."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def main():
    """The whole life of one series at the lab."""
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp)
        lab, centre = build(top)
        try:
            run(top, lab, centre)
        finally:
            lab.stop()
            centre.stop()
    return 0


def store_of(node):
    """The store block of status."""
    return node.json("status")["store"]


class Liar(second.Peer, threading.Thread):
    """A reader that says of each chunk that it holds it."""

    def __init__(self, lab):
        threading.Thread.__init__(self, daemon=True)
        me = second.Identity()
        invite = second.parse_invite(lab.json(
            "share", "invite", SHARE, "--role", "reader", "--compartment",
            "images")["invite"])
        session = second.Session(me, ("127.0.0.1", lab.port("peers")),
                                 lab.json("id")["key"])
        second.Peer.__init__(self, me, invite, session)
        self.asked = 0
        self.join_share(b"liar")
        second.Peer.run(self, self.level)

    join_share = second.Peer.join
    join = threading.Thread.join

    def run(self):
        """CHALLENGE in, PROOF of nothing out, until the lab hangs up."""
        try:
            while True:
                kind, body = self.session.receive()
                r = second.Reader(body)
                if kind != 0x37 or r.take(16) != self.theirs:
                    continue
                compartment, nonce = r.num(2), r.take(32)
                assert r.num(4) == 1
                cid = r.take(32)
                self.asked += 1
                self.session.send(0x38, self.ours + struct.pack(
                    "<H32sI", compartment, nonce, 1) + cid + os.urandom(32))
        except (OSError, second.Refused):
            pass


def nothing_goes_unproven(lab, centre):
    """With nobody there, or fewer than asked for, the copy stays."""
    held = store_of(lab)["chunks"]
    port = centre.port("peers")
    centre.stop()
    told = lab.json("gc")
    assert told["let_go_versions"] == 0 and told["kept_unproven"] == 1, told
    assert store_of(lab)["chunks"] == held
    assert "not enough other nodes prove" in lab.cli("gc").stdout
    liar = Liar(lab)
    liar.start()
    told = lab.json("gc")
    assert told["let_go_versions"] == 0 and told["kept_unproven"] == 1, told
    assert liar.asked > 0, "the liar was not asked"
    centre.cli("config", "set", f"peers.listen=127.0.0.1:{port}")
    centre.start()
    lab.stop()
    lab.cli("config", "set", "store.copies=2")
    lab.start()
    lab.cli("sync", "wait", "--timeout", "60s")
    told = lab.json("gc")
    assert told["let_go_versions"] == 0 and told["kept_unproven"] == 1, told
    lab.stop()
    lab.cli("config", "set", "store.copies=1")
    lab.start()
    lab.cli("sync", "wait", "--timeout", "60s")


def run(top, lab, centre):
    """Fetch, let go, fetch again, pin; then the quota."""
    files = e2e.make_series(top / "series", 12, seed=5, size=128)
    done = storescu(centre.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    item = centre.rows("quarantine", "list")[-1]
    asset = centre.json("quarantine", "release", item["id"], "--reason",
                        "synthetic")["asset"]
    lab.cli("sync", "wait", "--timeout", "60s")
    lab.cli("get", asset, "-o", str(top / "first"))
    first = files_of(top / "first")
    assert len(first) == 12, sorted(first)

    assert lab.json("gc")["chunks"] == 0
    lab.cli("subscribe", SHARE, "--content", "pin")
    refused = lab.cli("subscribe", SHARE, "--content", "none", check=False)
    assert refused.returncode != 0 and "pinned" in refused.stderr
    lab.cli("subscribe", SHARE, "--content", "all")
    lab.cli("subscribe", SHARE, "--content", "none")
    nothing_goes_unproven(lab, centre)
    told = lab.json("gc")
    assert told["let_go_versions"] == 1 and told["chunks"] > 0, told
    assert told["kept_unproven"] == 0, told
    assert store_of(lab)["chunks"] == 0, store_of(lab)
    gone = lab.cli("get", asset, "-o", str(top / "none"), check=False)
    assert gone.returncode != 0 and "subscribe" in gone.stderr, gone.stderr
    lab.cli("verify", "--deep")

    lab.cli("subscribe", SHARE, "--content", "all")
    lab.cli("sync", "wait", "--timeout", "60s")
    lab.cli("get", asset, "-o", str(top / "again"))
    assert files_of(top / "again") == first
    lab.cli("verify", "--deep")

    # The centre wrote it: nothing of it goes there.
    centre.cli("subscribe", SHARE, "--content", "none")
    told = centre.json("gc")
    assert told["let_go_versions"] == 0 and told["chunks"] == 0, told
    centre.cli("verify", "--deep")

    centre.stop()
    centre.cli("config", "set", "store.quota_bytes=200k")
    centre.start()
    assert store_of(centre)["quota_full"]
    more = e2e.make_series(top / "more", 1, seed=6, size=64,
                           patient="P-SYNTH-78")
    done = storescu(centre.port("dicom"), "SCANNER1", more)
    assert done.returncode != 0, "a full node took an image"
    took = centre.cli("import", str(top / "more"), "--share", SHARE,
                      "--compartment", "images", check=False)
    assert "quota" in took.stdout + took.stderr, took.stdout + took.stderr
    centre.cli("get", asset, "-o", str(top / "full"))
    assert files_of(top / "full") == first


if __name__ == "__main__":
    sys.exit(main())
