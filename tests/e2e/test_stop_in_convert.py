#!/usr/bin/python3
"""A node that is told to stop does so while a long conversion runs, and the
run is carried out after the next start, as its first attempt.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

import e2e
from nodes import until

WORKFLOW = """name: to-nifti
version: 1
trigger:
  arrival:
    where: level=series
steps:
  - id: nifti
    builtin: convert
    with:
      to: nifti
"""


def helpers(node):
    """Process ids of the node's children."""
    done = subprocess.run(["pgrep", "-P", str(node.proc.pid)], text=True,
                          capture_output=True, check=False)
    return done.stdout.split()


def main():
    """Stop in the middle, start again."""
    with tempfile.TemporaryDirectory(prefix="psc-stop-") as name:
        top = pathlib.Path(name)
        node = e2e.single(top, "north")
        node.cli("share", "grant", e2e.SHARE, node.json("id")["key"],
                 "--role", "runner", "--compartment", "images")
        (top / "w.yaml").write_text(WORKFLOW, encoding="ascii")
        node.cli("workflow", "add", top / "w.yaml", "--share", e2e.SHARE)
        try:
            e2e.make_series(top / "s", 120, size=512)
            node.cli("import", top / "s", "--share", e2e.SHARE)
            node.cli("quarantine", "release", "q000001")
            until("a helper at work", 20, lambda: helpers(node), every=0.01)
            began = time.monotonic()
            node.proc.terminate()
            assert node.proc.wait(30) == 0, node.log_tail()
            assert time.monotonic() - began < 8, time.monotonic() - began
            node.start()
            runs = until("the run is done", 60, lambda: [
                r for r in node.rows("workflow", "runs")
                if r["state"] in ("done", "failed")])
            assert [(r["state"], r["attempt"]) for r in runs] == [
                ("done", 1)], runs
            assert node.json("find", "level=nifti", "--count")["count"] == 1
        finally:
            node.stop()
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
