#!/usr/bin/python3
"""A second implementation, in Python, reads a share of a real node.

It comes in by an invite, checks the membership chain, fetches every op,
checks hashes, chains and signatures, opens the payloads, old epochs too, and
comes to the root that the node prints. It notices a flipped signature, and
a dialler with a wrong static key gets no byte.
"""
import pathlib
import socket
import sys
import tempfile

import e2e
import msgpack
import second_peer as second
from nodes import until

OLD, NEW = "written in the first epoch", "written after a rotation"


def root(node):
    """(root, ops) of the compartment, as the node says."""
    share = node.json("status")["shares"][0]
    at = share["compartments"][0]
    return at["root"], at["ops"]


def refused(fn, *args):
    """The reason with which the second implementation refuses."""
    try:
        fn(*args)
    except second.Refused as e:
        return str(e)
    raise AssertionError("nothing was noticed")


def join(node, address):
    """A reader by invite, and all that the node holds."""
    me = second.Identity()
    invite = second.parse_invite(node.json(
        "share", "invite", e2e.SHARE, "--role", "reader", "--compartment",
        "images")["invite"])
    session = second.Session(me, address, node.json("id")["key"])
    peer = second.Peer(me, invite, session)
    peer.join(b"second")
    peer.run(peer.level)
    return peer


def agree(node, peer):
    """Root, count and text."""
    assert (peer.root(1).hex(), len(peer.ops(1))) == root(node)
    assert peer.session.owed[second.OPS] == 0
    return [second.open_payload(peer.chain, 1, op) for op in peer.ops(1)]


def flips(peer):
    """One bit of a signature, of a payload, of a record."""
    ops, signature, runs = peer.last_run
    bad = bytes([signature[0] ^ 1]) + signature[1:]
    fresh = second.Feed(runs.device, runs.incarnation, runs.name)
    fresh.ops = runs.ops[:ops[0].seq - 1]
    assert "head" in refused(fresh.add_run, peer.chain, 1, ops, bad)
    assert len(fresh.ops) == ops[0].seq - 1
    fresh.add_run(peer.chain, 1, ops, signature)
    op = next(o for o in peer.ops(1) if o.header[112:144] == second.ZERO)
    raw = op.header + op.payload[:-1] + bytes([op.payload[-1] ^ 1])
    assert "payload" in refused(second.read_op, second.Reader(raw))
    records = peer.chain.records
    chain = second.Chain(peer.me, peer.invite)
    for record in records[:-1]:
        chain.add(record)
    bad = records[-1][:-1] + bytes([records[-1][-1] ^ 1])
    assert "record" in refused(chain.add, bad)
    chain.add(records[-1])
    assert chain.head == peer.chain.head


def wrong_key(node, address):
    """Silence: the node closes without a byte."""
    site, device, box = second.parse_key(node.json("id")["key"])
    other = second.Identity()
    assert box != other.box and site != device
    with socket.create_connection(address, 10) as sock:
        hello = second.Handshake(other.box_secret, other.box).first()
        sock.sendall(len(hello).to_bytes(2, "little") + hello)
        try:
            assert sock.recv(1) == b"", "a byte for a stranger"
        except ConnectionResetError:
            pass


def versions(node, address, peer):
    """One that speaks newer ones too is spoken to in ours; one that speaks
    only newer ones is refused, and the node's people are told why."""
    key = node.json("id")["key"]
    new = second.Session(peer.me, address, key, versions=(9, 1))
    assert new.version == 1
    new.send(0x05, b"12345678")  # PING; anything else of the node may come
    until("a PONG", 10, lambda: new.receive()[0] == 0x06)
    said = refused(second.Session, peer.me, address, key, 10, (9, 2))
    assert "no version" in said, said
    hs = second.Handshake(peer.me.box_secret, second.parse_key(key)[2])
    with socket.create_connection(address, 10) as sock:
        def put(data):
            sock.sendall(len(data).to_bytes(2, "little") + data)
        put(hs.first())
        size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "little")
        hs.second(sock.recv(size, socket.MSG_WAITALL))
        put(hs.third(peer.me.cert + bytes((9, 2))))  # goes on all the same
        assert sock.recv(1) == b"", "spoken to in no version"
    until("the log names the cause", 10, lambda: "no version of the "
          "protocol in common" in node.log_tail(40))


def run(top, node):
    """The story."""
    address = ("127.0.0.1", node.port("peers"))
    asset = e2e.release(node, top / "one", seed=1)
    node.cli("note", asset, OLD)
    node.cli("share", "rotate", e2e.SHARE, "--compartment", "images")
    node.cli("note", asset, NEW)
    wrong_key(node, address)
    peer = join(node, address)
    texts = agree(node, peer)
    for text in texts:
        assert isinstance(msgpack.unpackb(text, strict_map_key=False),
                          (dict, list))
    for note in (OLD, NEW):
        assert any(note.encode() in text for text in texts), note
    assert {op.epoch for op in peer.ops(1)} == {1, 2}
    flips(peer)
    versions(node, address, peer)
    peer = join(node, address)  # the node keeps the newer connection
    agree(node, peer)
    before = len(peer.ops(1))
    node.cli("note", asset, "while both look on")
    until("written", 20, lambda: root(node)[1] > before)
    peer.run(lambda: len(peer.ops(1)) == root(node)[1])
    assert any(b"while both look on" in text for text in agree(node, peer))


def main():
    """One node, one stranger."""
    with tempfile.TemporaryDirectory(prefix="psc-second-") as top:
        top = pathlib.Path(top)
        node = e2e.single(top, "lab", peers__listen="127.0.0.1:0")
        try:
            run(top, node)
        finally:
            node.stop()
    print("ok")


sys.exit(main())
