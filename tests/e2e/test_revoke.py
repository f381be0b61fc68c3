#!/usr/bin/python3
"""A revoked site is out: hub, centres and lab as real daemons.

Two centres write into one compartment through a blind hub. The lab revokes
one of them; what that one releases afterwards reaches nobody, what the others
release afterwards it never gets, and the rest go on under new keys.
"""
import pathlib
import sys
import tempfile
import time

import e2e
from nodes import Node, until

SHARE = "revoke-trial"


def build(top):
    """Hub, lab (registrar), centre and stolen (writers)."""
    hub, lab, centre = e2e.hub_lab_centre(top, SHARE)
    stolen = Node(e2e.BIN, top / "stolen", "stolen")
    stolen.init(**{**e2e.OFF, **e2e.inbox(SHARE)})
    stolen.start()
    join_approved(lab, stolen)
    lab.cli("share", "grant", SHARE, lab.json("id")["key"], "--role",
            "reader", "--compartment", "images")
    return hub, lab, centre, stolen


def join_approved(lab, node):
    """Waits until a person at the lab says yes."""
    node.cli("share", "join", lab.json(
        "share", "invite", SHARE, "--role", "writer", "--compartment",
        "images", "--approve")["invite"])
    ask = until("the claim is there", 20,
                lambda: lab.rows("share", "requests", SHARE))[0]
    assert ask["key"] == node.json("id")["key"] and ask["role"] == "writer"
    assert ask["site"] == node.site and not e2e.role(node)
    wrong = lab.cli("share", "approve", SHARE, "aaaaaaaaaa", check=False)
    assert wrong.returncode == 1, wrong
    lab.cli("share", "approve", SHARE, ask["id"][:10])
    assert not lab.rows("share", "requests", SHARE)
    until(f"{node.site} granted", 20, lambda: e2e.role(node))


def series(node):
    """Ids of the series a node shows."""
    return {a["id"] for a in node.rows("find", "level=series")}


def ops(node):
    """Ops of the compartment, as the node counts them."""
    share = node.json("status")["shares"][0]
    return share["compartments"][0]["ops"], share["compartments"][0]["root"]


def check(top, hub, lab, centre, stolen):
    """The story."""
    one = e2e.release(stolen, top / "s1", seed=1)
    until("the lab has the first", 30, lambda: one in series(lab))
    until("the centre has the first", 30, lambda: one in series(centre))
    # Frozen: it goes on alone, until it is thawed.
    lab.cli("share", "freeze", SHARE, stolen.json_key, "--reason", "odd")
    until("the centre knows of the freeze", 30, lambda: any(
        m["frozen"] for m in centre.rows("share", "members", SHARE)))
    alone = e2e.release(stolen, top / "s0", seed=9)
    other = e2e.release(centre, top / "c0", seed=8)
    until("the lab hears the centre", 30, lambda: other in series(lab))
    assert alone not in series(lab) | series(centre)
    assert other not in series(stolen)
    hub.stop()
    hub.start()  # it is known after a restart
    time.sleep(1.5)
    assert alone not in series(lab)
    lab.cli("share", "thaw", SHARE, stolen.json_key)
    until("the lab has what it wrote", 30, lambda: alone in series(lab))
    until("it has what it missed", 30, lambda: other in series(stolen))
    # Written while nobody hears it: it will be back-dated.
    hub.stop()
    hidden = e2e.release(stolen, top / "s2", seed=2)
    stolen.stop()
    hub.start()
    lab.cli("share", "revoke", SHARE, stolen.json_key, "--reason",
            "stolen from a car")
    until("the centre knows", 30, lambda: all(
        m["key"] != stolen.json_key
        for m in centre.rows("share", "members", SHARE)))
    two = e2e.release(centre, top / "c1", seed=3)
    until("the lab has the new one", 30, lambda: two in series(lab))
    stolen.start()
    until("it hears that it was revoked", 30, lambda: stolen.json(
        "share", "show", SHARE)["state"] == "revoked")
    three = e2e.release(centre, top / "c2", seed=4)
    until("the lab has the next", 30, lambda: three in series(lab))
    stolen.cli("sync", "now")
    until("all agree", 30, lambda: ops(lab) == ops(centre) == ops(hub))
    for node in (lab, centre):
        assert series(node) == {one, two, three, alone, other}, \
            (node.site, series(node))
    assert stolen.json("share", "show", SHARE)["state"] == "revoked"
    until("it sets aside what does not count, as all do", 30,
          lambda: hidden not in series(stolen))
    assert not series(stolen) & {two, three}
    again = lab.cli("share", "grant", SHARE, stolen.json_key, "--role",
                    "reader", "--compartment", "images", check=False)
    assert again.returncode == 1 and "for good" in again.stderr, again.stderr
    lab.cli("share", "rotate", SHARE)
    four = e2e.release(centre, top / "c3", seed=5)
    until("after a rotation", 30, lambda: four in series(lab))
    two_sign(lab, centre)


def two_sign(lab, centre):
    """From here on lab and centre sign together, through the blind hub."""
    keys = [n.json("id")["key"] for n in (lab, centre)]
    lab.cli("share", "registrars", SHARE, *keys, "--sign", "2")
    until("the centre may sign", 30, lambda:
          centre.json("share", "show", SHARE)["signatures"] == 2)
    said = centre.cli("share", "rotate", SHARE)
    assert "drafted" in said.stdout, said.stdout
    ask = until("the lab has the draft", 30, lambda: lab.rows(
        "share", "requests", SHARE))[0]
    assert (ask["what"], ask["signed"]) == ("rotate", "1 of 2"), ask
    lab.cli("share", "approve", SHARE, ask["id"])
    assert not lab.rows("share", "requests", SHARE)
    until("the centre has the record", 30, lambda: not centre.rows(
        "share", "requests", SHARE))


def main():
    """Run."""
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp)
        nodes = build(top)
        hub, lab, centre, stolen = nodes
        stolen.json_key = stolen.json("id")["key"]
        try:
            check(top, hub, lab, centre, stolen)
        finally:
            for node in nodes:
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
