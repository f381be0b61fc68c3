#!/usr/bin/python3
"""A site whose only way out is a proxy, HTTP CONNECT or SOCKS5, replicates
through it; one that refuses, is another kind or is not there is told as such.
"""
import json
import pathlib
import socket
import sys
import tempfile

import e2e
from nodes import Node, until
from proxy import Proxy

OFF = {"dicom__listen": "off", "peers__listen": "off", "rest__listen": "off"}
SHARE = "proxy-trial"


def why(node):
    """Why its first peer is not connected."""
    return node.json("sync", "status")["peers"][0]["why"] or ""


def through(node, kind, port):
    """Restart it with another proxy."""
    node.stop()
    node.cli("config", "set", f"peers.proxy={kind}://127.0.0.1:{port}")
    node.start()


def ops(node):
    """Ops of the compartment and their root."""
    for share in node.json("status")["shares"]:
        for part in share["compartments"]:
            return part["ops"], part["root"]
    return None


def run(top, hub, lab, address):
    """The story: refused, wrong kind, not there; then both kinds carry."""
    no = Proxy("http", refuse=True)
    through(lab, "http", no.port)
    lab.cli("peer", "add", address, "--key", hub.json("id")["key"])
    until("a refusal is told", 20, lambda: "403" in why(lab))
    asked = len(no.asked)
    for _ in range(20):
        lab.cli("sync", "now")
    until("it is tried again", 20, lambda: len(no.asked) > asked + 1)
    log = pathlib.Path(f"{lab.home}.log").read_text(encoding="utf-8")
    assert log.count("no way through the proxy") == 1, log
    no = Proxy("socks5", refuse=True)
    through(lab, "socks5", no.port)
    until("a refusal is told", 20, lambda: "refuses (2)" in why(lab))
    through(lab, "http", no.port)
    until("another kind", 20, lambda: "peers.proxy" in why(lab))
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        through(lab, "socks5", gone.getsockname()[1])
        until("not there", 20, lambda: "peers.proxy: " in why(lab))
    bad = lab.cli("config", "set", "peers.proxy=http://u:p@x:1", check=False)
    assert bad.returncode == 1 and "socks5://" in bad.stderr, bad.stderr

    for kind in ("http", "socks5"):
        ask = Proxy(kind, login="ward:s3cret")
        through(lab, kind, ask.port)
        until("a password is wanted", 20, lambda: "keys/proxy" in why(lab))
        login = lab.home / "keys" / "proxy"
        login.write_text("ward:wrong\n", encoding="ascii")
        login.chmod(0o600)
        through(lab, kind, ask.port)
        until("it is refused", 20, lambda: "refuses the pass" in why(lab))
        login.write_text("ward:s3cret\n", encoding="ascii")
        through(lab, kind, ask.port)
        until("it is let through", 20, lambda: lab.json(
            "sync", "status")["peers"][0]["connected"])
        log = pathlib.Path(f"{lab.home}.log").read_text(encoding="utf-8")
        assert "s3cret" not in log and "ward:" not in log
        login.unlink()

    http = Proxy("http")
    through(lab, "http", http.port)
    until("connected", 20, lambda: lab.json("sync", "status")["peers"][0]
          ["connected"])
    hub.cli("share", "join", lab.json(
        "share", "invite", SHARE, "--role", "hub")["invite"])
    e2e.release(lab, top / "one", seed=1)
    until("came through CONNECT", 30, lambda: ops(hub) == ops(lab))
    socks = Proxy("socks5")
    through(lab, "socks5", socks.port)
    e2e.release(lab, top / "two", seed=2)
    until("came through SOCKS5", 30, lambda: ops(hub) == ops(lab))
    assert ops(hub)[0] >= 2, ops(hub)
    host, port = address.rsplit(":", 1)
    for proxy in (http, socks):
        assert set(proxy.asked) == {(host, int(port))}, proxy.asked
        assert proxy.bytes > 0


def main():
    """Run."""
    with tempfile.TemporaryDirectory(prefix="psc-proxy-") as tmp:
        top = pathlib.Path(tmp)
        hub = Node(e2e.BIN, top / "hub", "hub")
        hub.init(**{**OFF, "peers__listen": "127.0.0.1:0"})
        lab = Node(e2e.BIN, top / "lab", "lab")
        lab.init(**{**OFF, "dicom__listen": "127.0.0.1:0",
                    "dicom__inboxes": json.dumps([{
                        "calling_ae": "SCANNER1", "share": SHARE,
                        "compartment": "images", "profile": "basic"}])})
        try:
            hub.start()
            lab.start()
            lab.cli("share", "create", SHARE, "--compartment", "images")
            lab.cli("share", "grant", SHARE, lab.json("id")["key"], "--role",
                    "writer", "--compartment", "images")
            run(top, hub, lab, f"127.0.0.1:{hub.port('peers')}")
        finally:
            for node in (hub, lab):
                node.stop()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
