#!/usr/bin/python3
"""Senders are known by calling AE, address and called AE together: storescu
from 127.0.0.1 and 127.0.0.2 reach the inbox that is theirs or none, the
refusal stands in the log with cause and next act, and what came through
an inbox bears its tags and data type after release."""
import json
import pathlib
import socket
import sys
import tempfile
import threading

import e2e
from nodes import storescu

OTHER = "127.0.0.2"


class From:
    """A port of this machine whose callers reach the node from `source`:
    storescu cannot choose its own address."""

    def __init__(self, source, port):
        self.source, self.to = source, port
        self.listen = socket.create_server(("127.0.0.1", 0))
        self.port = self.listen.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Callers, one by one."""
        while True:
            try:
                here, _ = self.listen.accept()
            except OSError:
                return
            there = socket.create_connection(
                ("127.0.0.1", self.to), source_address=(self.source, 0))
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self.pump, args=(a, b),
                                 daemon=True).start()

    @staticmethod
    def pump(a, b):
        """Bytes from a to b until a ends."""
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


INBOXES = [
    {"calling_ae": "CT1", "share": e2e.SHARE, "compartment": "images",
     "profile": "basic", "from": ["127.0.0.1"], "data_type": "clinical",
     "tags": ["source=ct1"]},
    {"calling_ae": "CT1", "share": e2e.SHARE, "compartment": "images",
     "profile": "basic", "from": ["127.0.0.2/32"], "called_ae": "TRIAL",
     "data_type": "phantom"},
    {"calling_ae": "NET", "share": e2e.SHARE, "compartment": "images",
     "from": ["10.0.0.0/8", "fd00::/8"]},
    {"calling_ae": "*", "share": e2e.SHARE, "compartment": "images"},
]


def check(node, top):
    """Every way in and out."""
    files = [e2e.make_series(top / f"s{i}", 1, seed=i)[0] for i in range(3)]
    near, far = node.port("dicom"), From(OTHER, node.port("dicom")).port
    # its own address and called AE, each to its inbox
    assert storescu(near, "CT1", files[:1]).returncode == 0
    assert storescu(far, "CT1", files[1:2], "TRIAL").returncode == 0
    # the right name from elsewhere, and the right place under no such name
    done = storescu(far, "NET", files[2:])
    assert done.returncode != 0, "an address in no list was let in"
    assert "Calling AE Title Not Recognized" in done.stderr, done.stderr
    done = storescu(near, "CT1", files[2:], "TRIAL")
    assert "Called AE Title Not Recognized" in done.stderr, done.stderr
    # "*" is for who has no inbox
    assert storescu(far, "ANYONE", files[2:]).returncode == 0
    text = node.log_tail(60)
    assert "this AE title may not call from 127.0.0.2" in text, text
    assert "add its address to from of its inbox" in text, text
    assert 'ae="CT1" called="TRIAL" from=127.0.0.1' in text, text
    assert "called AE title is not PESSCARA" in text, text
    tags = []
    for item in node.rows("quarantine", "list"):
        asset = node.json("quarantine", "release", item["id"], "--reason",
                          "synthetic")["asset"]
        tags.append(sorted(node.json("show", asset)["tags"]))
    assert tags == [["data_type=clinical", "source=ct1"],
                    ["data_type=phantom"], []], tags
    assert node.rows("find", "tag:data_type=phantom")


def main():
    """One node with inboxes for two addresses."""
    with tempfile.TemporaryDirectory(prefix="psc-senders-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1",
                          dicom__inboxes=json.dumps(INBOXES))
        try:
            check(node, top)
        finally:
            node.stop()
    print("senders are known by AE title, address and called AE title")


if __name__ == "__main__":
    sys.exit(main())
