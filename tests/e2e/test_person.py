#!/usr/bin/python3
"""What a person signs needs the owner's passphrase each time when the node was
opened by one: release, reject, grant, invite, lookup, checkin; the socket's
uid alone is not enough.  What is not signed needs none."""
import pathlib
import subprocess
import sys
import tempfile

import e2e
from nodes import Node, storescu

PASS = "correct horse battery staple"


class Owned(Node):
    """A node whose keystore is under a passphrase."""

    def __init__(self, bin_dir, home, site, secret):
        super().__init__(bin_dir, home, site)
        self.secret = secret

    def start_owned(self):
        """As start(), with the passphrase from a file."""
        with open(f"{self.home}.log", "ab") as log:
            self.proc = subprocess.Popen(
                [str(self.bin / "pesscarad"), "--home", str(self.home),
                 "--passphrase-file", str(self.secret)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        self.wait_up()

    def signed(self, *args):
        """A command with the right passphrase."""
        return self.json(*args, "--passphrase-file", self.secret)


def secret_file(path, text, mode=0o600):
    """A passphrase file."""
    path.write_text(text + "\n", encoding="ascii")
    path.chmod(mode)
    return path


def refused(node, *args):
    """Without, with a wrong and with an exposed passphrase."""
    top = node.secret.parent
    err = e2e.error_of(node.cli(*args, "--json", check=False))
    assert "passphrase" in err["cause"], err
    wrong = secret_file(top / "wrong", "battery horse")
    err = e2e.error_of(node.cli(*args, "--json", "--passphrase-file", wrong,
                                check=False))
    assert "not the owner's" in err["cause"], err
    exposed = secret_file(top / "exposed", PASS, 0o644)
    err = e2e.error_of(node.cli(*args, "--json", "--passphrase-file", exposed,
                                check=False))
    assert "by others" in err["cause"], err


def main():
    """One node, every signed act."""
    with tempfile.TemporaryDirectory(prefix="psc-person-") as tmp:
        top = pathlib.Path(tmp)
        node = Owned(e2e.BIN, top / "site", "site",
                     secret_file(top / "secret", PASS))
        node.json("init", "--site", "site", "--passphrase-file", node.secret,
                  "--recovery-file", top / "recovery", "--set",
                  "dicom.listen=127.0.0.1:0", "--set", "peers.listen=off",
                  "--set", "rest.listen=off", "--set",
                  "store.segment_bytes=32m", "--set",
                  'dicom.inboxes=[{"calling_ae": "SCANNER1", "share": "t", '
                  '"compartment": "images", "profile": "basic"}]')
        done = subprocess.run(
            [str(node.bin / "pesscarad"), "--home", str(node.home),
             "--passphrase-file", str(secret_file(top / "bad", "nonsense!"))],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and "passphrase" in done.stderr, done
        node.start_owned()
        try:
            assert node.json("status")["unlock"] == "passphrase"
            node.cli("share", "create", "t", "--compartment", "images")
            grant = ["share", "grant", "t", node.json("id")["key"], "--role",
                     "writer", "--compartment", "images"]
            refused(node, *grant)
            node.signed(*grant)
            files = e2e.make_series(top / "in", 2)
            assert storescu(node.port("dicom"), "SCANNER1",
                            files).returncode == 0
            release = ["quarantine", "release", "q000001", "--reason", "ok"]
            refused(node, *release)
            assert node.rows("quarantine", "list")[0]["state"] == "held"
            assert node.signed(*release)["state"] == "released"
            asset = node.rows("find", "level=series")[0]["id"]
            node.cli("checkout", asset, top / "work")
            next((top / "work").glob("*/*.dcm")).unlink()
            refused(node, "checkin", top / "work")
            lookup = top / "list.csv"
            lookup.write_text("MRN1,003-0001\n", encoding="ascii")
            refused(node, "deid", "lookup", "import", lookup)
            assert "horse" not in node.log_tail(100)
        finally:
            node.stop()
    print("signed acts need the passphrase each time")


if __name__ == "__main__":
    sys.exit(main())
