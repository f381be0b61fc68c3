#!/usr/bin/python3
"""kill -9 of the receiving node during a 200-image C-STORE loses no image
that the sender saw as stored, and the next start needs no repair by hand.

After the restart the acknowledged images are sent again: each must be a
duplicate, so the held count must not move.  Then all are sent: the count must
become exactly 200.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import e2e
from nodes import storescu

IMAGES = 200
KILL_AFTER = (3, 77, 190)


def send_and_kill(node, files, after):
    """The files whose answer said success before the daemon died."""
    sender = subprocess.Popen(
        ["storescu", "-v", "-xs", "-aet", "SCANNER1", "-aec", "PESSCARA",
         "127.0.0.1", str(node.port("dicom"))] + [str(f) for f in files],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=e2e.env(TCP_NODELAY="1"))
    now, stored = None, []
    for line in sender.stdout:
        sending = re.search(r"Sending file: (\S+)", line)
        if sending:
            now = sending.group(1)
        if "Received Store Response (Success)" in line:
            stored.append(now)
            if len(stored) == after:
                node.kill()
    assert sender.wait(60) != 0, "the sender did not notice the kill"
    return stored


def held(node):
    """Instances of the newest item."""
    items = node.rows("quarantine", "list")
    return items[-1]["instances"] if items else 0


def one_round(node, folder, n, after):
    """Send, kill, restart, count."""
    files = e2e.make_series(folder, IMAGES, seed=n)
    stored = send_and_kill(node, files, after)
    assert after <= len(stored) < IMAGES, f"{len(stored)} were acknowledged"
    node.start()
    assert not node.json("verify", "--deep")["bad"]
    before = held(node)
    assert before >= len(stored), \
        f"{len(stored)} acknowledged, {before} held after the restart"
    done = storescu(node.port("dicom"), "SCANNER1", stored)
    assert done.returncode == 0, done.stderr
    assert held(node) == before, "an acknowledged image was not there"
    done = storescu(node.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    assert held(node) == IMAGES, f"{held(node)} held in the end"


def main():
    """Early, middle and late kills."""
    with tempfile.TemporaryDirectory(prefix="psc-kill9-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1")
        try:
            for n, after in enumerate(KILL_AFTER):
                one_round(node, top / f"in{n}", n, after)
        finally:
            node.stop()
    print(f"kill -9 after {KILL_AFTER} answers: nothing acknowledged was lost")


if __name__ == "__main__":
    sys.exit(main())
