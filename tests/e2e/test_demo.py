#!/usr/bin/python3
"""The demo itself: four nodes, storescu, release, replication, conversion,
and its three proofs (bit-identical, separate, blind hub with control)."""
import pathlib
import subprocess
import sys
import tempfile

import e2e


def demo(home):
    """The demo, its nodes stopped at the end."""
    return subprocess.run(
        ["/usr/bin/python3", str(e2e.SRC / "tests/e2e/demo.py"), "--exit",
         "--home", home, "--bin", str(e2e.BIN)], text=True,
        capture_output=True, timeout=280, check=False)


def main():
    """Run it as a newcomer would, and look at what it printed."""
    with tempfile.TemporaryDirectory(prefix="psc-demo-") as tmp:
        mine = pathlib.Path(tmp) / "thesis.txt"
        mine.write_text("years of work", encoding="ascii")
        assert demo(tmp).returncode == 1, "it takes a directory of mine"
        assert mine.exists(), "it emptied a directory that it did not make"
        done = demo(f"{tmp}/demo")
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    for proof in ("proof 1, bit-identical", "proof 2, separate",
                  "proof 3, blind hub"):
        assert proof in done.stdout, proof


if __name__ == "__main__":
    sys.exit(main())
