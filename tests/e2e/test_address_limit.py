#!/usr/bin/python3
"""One address cannot take every association slot: above its part it is
rejected for the time being with "local limit exceeded", the log says so, and
who comes from elsewhere is served."""
import pathlib
import subprocess
import sys
import tempfile
import time

import e2e
import window_scu
from nodes import until

OTHER = "127.0.0.2"
TRANSIENT_LOCAL_LIMIT = (2, 3, 2)  # PS3.8 9.3.4


def call(node, kinds, **more):
    """An association that stays open."""
    return window_scu.WindowScu(node.port("dicom"), "SCANNER1", kinds, **more)


def rejection(node, kinds):
    """How the next one is turned away; None: it is not."""
    try:
        call(node, kinds).finish()
    except window_scu.Rejected as e:
        return e.args
    return None


def check(node, files):
    """Three of four slots are for one address."""
    kinds = window_scu.kinds_of(files)
    mine = [call(node, kinds) for _ in range(3)]
    assert rejection(node, kinds) == TRANSIENT_LOCAL_LIMIT
    done = subprocess.run(
        ["echoscu", "-v", "-aet", "SCANNER1", "-aec", "PESSCARA", "127.0.0.1",
         str(node.port("dicom"))], text=True, capture_output=True, check=False)
    assert done.returncode != 0
    assert "Local Limit Exceeded" in done.stdout + done.stderr, done.stderr
    text = node.log_tail(60)
    assert "this address has its 3 associations open" in text, text[-500:]
    assert "limits.associations_address" in text
    other = call(node, kinds, source=OTHER)
    other.send(files[0])
    other.finish()
    for scu in mine:
        scu.send(files[1])
        scu.finish()
    until("a slot is free again", 10, lambda: rejection(node, kinds) is None)
    held = sum(i["instances"] for i in node.rows("quarantine", "list"))
    assert held == 2, held


def silent(node):
    """Who is turned away and says nothing keeps nobody from it."""
    kinds = {("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1")}
    mine = [call(node, kinds) for _ in range(3)]
    port = node.port("dicom")
    mute = [window_scu.socket.create_connection(("127.0.0.1", port))
            for _ in range(40)]  # more than are kept
    time.sleep(0.3)
    assert rejection(node, kinds) == TRANSIENT_LOCAL_LIMIT
    call(node, kinds, source=OTHER).finish()
    for s in mute:
        s.close()
    for scu in mine:
        scu.finish()


def main():
    """A node of four slots."""
    with tempfile.TemporaryDirectory(prefix="psc-address-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1", limits__associations=4)
        try:
            check(node, e2e.make_series(top / "in", 2))
            silent(node)
        finally:
            node.stop()
    print("three of four slots for one address, the fourth for another")


if __name__ == "__main__":
    sys.exit(main())
