#!/usr/bin/python3
"""`pesscara repair` with nobody but the blind hub connected: bytes altered in
the lab's chunk records are found by verify --deep, get fails in clear words
and gives nothing out, repair fetches the chunks again, get is byte-exact and
verify is clean. A row whose record is damaged is written again from its
copy; what nobody else has stays listed."""
import pathlib
import sys
import tempfile

import e2e
from nodes import until

SHARE = "repair-trial-9"


def records(node):
    """(path, offset, kind, length) of each record of a stopped node."""
    for path in sorted((node.home / "store" / "segments").glob("*.seg")):
        raw = path.read_bytes()
        at = 4096
        while at + 64 <= len(raw):
            if raw[at:at + 4] == b"PSCR":
                length = int.from_bytes(raw[at + 8:at + 12], "little")
                yield path, at, raw[at + 6], length
                at += 64 + (length + 63) // 64 * 64
            else:
                at += 64


def flip(path, off):
    """One bit of a file."""
    with open(path, "r+b") as f:
        f.seek(off)
        byte = f.read(1)[0]
        f.seek(off)
        f.write(bytes([byte ^ 4]))


def hurt(node, kind, every):
    """Alter every n-th record of a kind; how many."""
    some = [r for r in records(node) if r[2] == kind][::every]
    for path, at, _, length in some:
        flip(path, at + 64 + length // 2)
    return len(some)


def get(node, asset, out):
    """Digests of an asset's files."""
    return sorted((pathlib.Path(g["path"]).name, g["sha256"]) for g in
                  node.rows("get", asset, "-o", out, "--as", "original"))


def chunks_heal(hub, lab, centre, top):
    """From the hub alone."""
    asset = e2e.release(centre, top / "series", 12, 1, 256)
    until("the lab has it", 60, lambda: lab.rows("find", "level=series") and
          lab.cli("sync", "wait", "--timeout", "5s",
                  check=False).returncode == 0)
    want = get(lab, asset, top / "before")
    centre.stop()
    lab.kill()
    n = hurt(lab, 1, 3)
    assert n >= 3, n
    lab.cli("config", "set", "store.scrub_bytes_per_s=64m")
    lab.start()
    until("the scrub found it", 20, lambda: lab.json(
        "status")["scrub"]["bad"] >= n)
    assert "store.damaged" in [e["type"] for e in lab.rows("events")]
    found = lab.json("verify", "--deep", check=False)
    bad = [b for b in found["bad"] if b["what"] == "chunk"]
    assert len(bad) == n and all(b["repairable"] for b in bad), found
    failed = lab.cli("get", asset, "-o", top / "never", "--json",
                     "--as", "original", check=False)
    assert failed.returncode == 1 and failed.stderr.strip(), failed
    until("only the hub is connected", 30, lambda: [
        p for p in lab.json("status")["peers"] if p["connected"]])
    done = lab.json("repair")
    assert done["repaired"]["chunks"] == n, done
    assert done["bad_count"] == 0 and done["wanted"] == 0, done
    assert get(lab, asset, top / "after") == want
    assert lab.json("verify", "--deep")["bad_count"] == 0
    assert hub.json("status")["store"]["chunks"] > 0


def rows_heal(lab):
    """A local row's record, from its copy in the index."""
    lab.kill()
    n = hurt(lab, 5, 4)
    assert n > 0
    lab.start()
    assert lab.json("verify", "--deep", check=False)["bad_count"] > 0
    done = lab.json("repair", check=False)
    assert done["repaired"]["rows"] > 0, done
    left = [b["what"] for b in done["bad"]]
    assert "chunk" not in left, done


def vault_is_listed(centre):
    """Nobody else has the centre's vault: it stays on the list."""
    centre.start()
    centre.kill()
    n = hurt(centre, 1, 1)
    centre.start()
    done = centre.json("repair", "--timeout", "5s", check=False)
    left = [b for b in done["bad"] if b["what"] == "chunk"]
    assert done["repaired"]["chunks"] > 0 and left, (n, done)


def main():
    """A hub, a lab, a centre."""
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        hub, lab, centre = e2e.hub_lab_centre(top, SHARE)
        try:
            lab.cli("subscribe", SHARE, "--content", "all")
            chunks_heal(hub, lab, centre, top)
            rows_heal(lab)
            vault_is_listed(centre)
        except BaseException:
            for node in (hub, lab, centre):
                print(node.log_tail(15), file=sys.stderr)
            raise
        finally:
            for node in (hub, lab, centre):
                node.stop()


assert e2e
if __name__ == "__main__":
    main()
