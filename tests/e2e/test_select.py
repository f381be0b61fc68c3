#!/usr/bin/python3
"""A query decides what a subscriber holds: only content of assets that match
arrives; a tag said elsewhere makes one match; a changed query fetches what now
matches, and gc lets go of the rest; the query outlives a kill and a rebuild;
one that does not parse is refused with its column, and changes nothing.
"""
import pathlib
import sys
import tempfile

import e2e
from nodes import storescu, until
from test_evict import SHARE, build, files_of

N = 4


def whole(lab):
    """Assets whose content is here."""
    return {r["id"] for r in lab.rows("find", "level=series")
            if r["complete"]}


def told(lab):
    """The lab's subscription as share show prints it."""
    share = next(s for s in lab.json("status")["shares"]
                 if s["name"] == SHARE)
    return [(c["content"], c.get("where")) for c in share["compartments"]]


def wait_for(lab, *assets):
    """Exactly these are whole, and nothing else is on its way."""
    until(f"{len(assets)} whole", 20, lambda: whole(lab) == set(assets)
          and lab.json("sync", "status")["wanted_chunks"] == 0)


def send(top, centre):
    """N released series; their assets."""
    out = []
    for i in range(N):
        done = storescu(centre.port("dicom"), "SCANNER1", e2e.make_series(
            top / f"s{i}", 3, seed=40 + i, patient=f"P-SYNTH-{i}"))
        assert done.returncode == 0, done.stderr
        item = centre.rows("quarantine", "list")[-1]
        out.append(centre.json("quarantine", "release", item["id"],
                               "--reason", "synthetic")["asset"])
    return out


def run(top, lab, centre):
    """Choose, tag, choose again, gc, kill, rebuild."""
    bad = lab.cli("subscribe", SHARE, "--where", "tag:qc=passed and (",
                  check=False)
    assert bad.returncode != 0 and "column 20" in bad.stderr, bad.stderr
    assert told(lab) == [("all", None)], told(lab)
    none = lab.cli("subscribe", SHARE, "--where", "tag:qc", "--content",
                   "none", check=False)
    assert none.returncode != 0, none.stdout
    lab.cli("subscribe", SHARE, "--where", "tag:qc=passed")
    assert told(lab) == [("all", "tag:qc=passed")], told(lab)

    a = send(top, centre)
    until("the lab knows all", 20, lambda: len(
        lab.rows("find", "level=series")) == N)
    wait_for(lab)
    centre.cli("tag", a[0], "qc=passed")
    wait_for(lab, a[0])
    centre.cli("tag", a[1], "qc=passed")
    wait_for(lab, a[0], a[1])
    lab.cli("get", a[1], "-o", str(top / "one"))
    assert len(files_of(top / "one")) == 3

    lab.kill()
    lab.start()
    assert told(lab) == [("all", "tag:qc=passed")], told(lab)
    centre.cli("tag", a[2], "keep")
    lab.cli("subscribe", SHARE, "--where", f"tag:keep or id={a[1][:12]}")
    wait_for(lab, a[0], a[1], a[2])
    gone = lab.json("gc")
    assert gone["let_go_versions"] == 1, gone
    wait_for(lab, a[1], a[2])

    # What is opened comes all the same; the next pass lets it go.
    lab.cli("get", a[3], "-o", str(top / "open"))
    assert len(files_of(top / "open")) == 3
    assert lab.json("gc")["let_go_versions"] == 1
    wait_for(lab, a[1], a[2])

    # What is not said any more does not match any more.
    centre.cli("untag", a[2], "keep")
    until("untagged", 20, lambda: not lab.rows("find", "tag:keep"))
    assert lab.json("gc")["let_go_versions"] == 1
    wait_for(lab, a[1])

    lab.stop()
    (lab.home / "store" / "db").rename(top / "db.was")
    lab.json("rebuild")
    lab.start()
    assert told(lab) == [("all", f"tag:keep or id={a[1][:12]}")], told(lab)
    lab.cli("subscribe", SHARE, "--content", "all")
    wait_for(lab, *a)
    lab.cli("verify", "--deep")


def main():
    """The centre writes, the lab chooses."""
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp)
        lab, centre = build(top)
        try:
            run(top, lab, centre)
        finally:
            lab.stop()
            centre.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
