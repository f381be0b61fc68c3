#!/usr/bin/python3
"""DICOM by TLS: senders with a certificate of ours are served, others are
not, whether they have none, a stranger's, an old protocol or none at all; an
inbox may insist on TLS; a key that others may read stops the start."""
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import e2e
from nodes import storescu


def openssl(top, *args):
    """Run it, quietly."""
    subprocess.run(["openssl", *map(str, args)], cwd=top, check=True,
                   capture_output=True)


def certificates(top):
    """A CA, a node and a client that it signed, and a stranger."""
    top.mkdir()
    openssl(top, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2,
            "-subj", "/CN=Hospital CA", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("node", "ct1"):
        openssl(top, "req", "-newkey", "rsa:2048", "-nodes", "-subj",
                f"/CN={name}", "-keyout", f"{name}.key", "-out",
                f"{name}.csr")
        openssl(top, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem",
                "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-out",
                f"{name}.pem")
    openssl(top, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2,
            "-subj", "/CN=stranger", "-keyout", "stranger.key", "-out",
            "stranger.pem")


def send(port, files, *how):
    """storescu by TLS as CT1."""
    return subprocess.run(
        ["storescu", *map(str, how), "-xs", "-aet", "CT1", "-aec", "PESSCARA",
         "127.0.0.1", str(port)] + [str(f) for f in files],
        text=True, capture_output=True, timeout=60, check=False)


def held(node):
    """Instances in quarantine."""
    return sum(i["instances"] for i in node.rows("quarantine", "list"))


def check_required(node, pki, files):
    """Certificates are required."""
    port = node.port("dicom_tls")
    mine = ("+tls", pki / "ct1.key", pki / "ct1.pem", "+cf", pki / "ca.pem")
    other = ("+tls", pki / "stranger.key", pki / "stranger.pem", "+cf",
             pki / "ca.pem")
    done = send(port, files[:40], *mine)
    assert done.returncode == 0, done.stderr
    assert held(node) == 40
    assert "tls=1" in node.log_tail(10)
    assert send(port, files[40:], *other).returncode != 0
    assert "not signed by one we trust" in node.log_tail(5), node.log_tail(5)
    assert send(port, files[40:], "+tla", "-ic").returncode != 0
    assert "dicom.tls_clients says required" in node.log_tail(5)
    assert storescu(port, "CT1", files[40:]).returncode != 0
    old = subprocess.run(
        ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
         "-connect", f"127.0.0.1:{port}"], capture_output=True,
        stdin=subprocess.DEVNULL, check=False)
    assert b"Cipher is (NONE)" in old.stdout or old.returncode != 0
    # the inbox insists on it
    assert storescu(node.port("dicom"), "CT1", files[40:]).returncode != 0
    assert "this AE title must call by TLS" in node.log_tail(5)
    assert held(node) == 40
    # callers that say nothing, or half of it, cost nobody else
    mute = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    mute[0].sendall(b"\x16\x03\x01\x02")
    assert send(port, files, *mine).returncode == 0
    for s in mute:
        s.close()
    assert held(node) == len(files)


def restart(node, **settings):
    """With other settings."""
    node.stop()
    for key, value in settings.items():
        node.cli("config", "set", f"dicom.{key}={value}")
    node.start()


def main():
    """A node with both doors."""
    with tempfile.TemporaryDirectory(prefix="psc-tls-") as tmp:
        top = pathlib.Path(tmp)
        pki = top / "pki"
        certificates(pki)
        files = e2e.make_series(top / "in", 60, 1, size=128)
        node = e2e.single(
            top, "node", start=False, dicom__tls_listen="127.0.0.1:0",
            dicom__inboxes=json.dumps(
                [{"calling_ae": "CT1", "share": e2e.SHARE, "tls": True,
                  "compartment": "images", "profile": "basic"}]))
        keys = node.home / "keys" / "dicom"
        keys.mkdir()
        for was, name in (("node.pem", "cert.pem"), ("node.key", "key.pem"),
                          ("ca.pem", "clients.pem")):
            shutil.copy(pki / was, keys / name)
        (keys / "key.pem").chmod(0o644)
        done = subprocess.run(
            [str(node.bin / "pesscarad"), "--home", str(node.home)],
            capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0
        assert "the TLS key may be read by others" in done.stderr
        (keys / "key.pem").chmod(0o600)
        node.start()
        try:
            node.cli("share", "create", e2e.SHARE, "--compartment", "images")
            node.cli("share", "grant", e2e.SHARE, node.json("id")["key"],
                     "--role", "writer", "--compartment", "images")
            check_required(node, pki, files)
            restart(node, tls_clients="none")
            more = e2e.make_series(top / "more", 3, 2)
            done = send(node.port("dicom_tls"), more, "+tla", "-ic")
            assert done.returncode == 0, done.stderr
            assert held(node) == len(files) + 3
            restart(node, listen="off")
            done = send(node.port("dicom_tls"), more, "+tla", "+cf",
                        pki / "ca.pem")
            assert done.returncode == 0, done.stderr
        finally:
            node.stop()
    print("TLS for those who can, and for nobody who may not")


if __name__ == "__main__":
    sys.exit(main())
