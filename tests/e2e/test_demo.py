#!/usr/bin/python3
"""The demo itself: four nodes, storescu, release, replication, conversion,
and its three proofs (bit-identical, separate, blind hub with control)."""
import subprocess
import sys
import tempfile

import e2e


def main():
    """Run it as a newcomer would, and look at what it printed."""
    with tempfile.TemporaryDirectory(prefix="psc-demo-") as tmp:
        done = subprocess.run(
            ["/usr/bin/python3", str(e2e.SRC / "tests/e2e/demo.py"), "--exit",
             "--home", f"{tmp}/demo", "--bin", str(e2e.BIN)], text=True,
            capture_output=True, timeout=280, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    for proof in ("proof 1, bit-identical", "proof 2, separate",
                  "proof 3, blind hub"):
        assert proof in done.stdout, proof


if __name__ == "__main__":
    sys.exit(main())
