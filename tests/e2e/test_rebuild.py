#!/usr/bin/python3
"""`pesscara rebuild`: the index of a node with vault, quarantine, releases,
two versions, tags, workflow runs and peers comes out of its log alone as it
was; a damaged log gives all but what is damaged, by name; an index that is
lost or scribbled over is refused and never written over."""
import json
import os
import pathlib
import shutil
import sys
import tempfile

import e2e
from nodes import Node, storescu, until

SHARE = e2e.SHARE
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


def send(node, folder, n, seed):
    """A series into the vault; its quarantine item."""
    files = e2e.make_series(folder, n, seed=seed)
    done = storescu(node.port("dicom"), "SCANNER1", files)
    assert done.returncode == 0, done.stderr
    return node.rows("quarantine", "list")[-1]["id"]


def build(top):
    """A centre with a bit of everything, and a lab that holds its share."""
    node = e2e.single(top, "centre", peers__listen="127.0.0.1:0",
                      store__segment_bytes="1m")
    node.cli("config", "set",  # it keeps this port
             f"peers.listen=127.0.0.1:{node.port('peers')}")
    flow = top / "flow.yaml"
    flow.write_text(WORKFLOW, encoding="utf-8")
    first = send(node, top / "a", 6, 1)
    node.cli("quarantine", "release", first, "--reason", "synthetic")
    node.cli("workflow", "add", flow, "--share", SHARE)
    # late images of the same series: a second version
    more = e2e.make_series(top / "b", 9, seed=1)[6:]
    storescu(node.port("dicom"), "SCANNER1", more)
    late = node.rows("quarantine", "list")[-1]["id"]
    asset = node.json("quarantine", "release", late, "--reason", "late")
    send(node, top / "c", 3, 2)  # stays held
    rejected = send(node, top / "d", 2, 3)
    node.cli("quarantine", "reject", rejected, "--reason", "no consent")
    until("a run is done", 60, lambda: any(
        r["state"] == "done" for r in node.rows("workflow", "runs")))
    until("no run is open", 60, lambda: all(
        r["state"] == "done" for r in node.rows("workflow", "runs")))
    lab = Node(e2e.BIN, top / "lab", "lab")
    lab.init(dicom__listen="off", peers__listen="off", rest__listen="off")
    lab.start()
    lab.cli("share", "join", node.json(
        "share", "invite", SHARE, "--role", "reader", "--compartment",
        "images")["invite"])
    until("the lab has it all", 60, lambda: lab.rows(
        "find", "level=nifti") and lab.cli(
            "sync", "wait", "--timeout", "5s", check=False).returncode == 0)
    return node, lab, asset["asset"]


def view(node, asset, out):
    """What a user sees of a node, without what changes by itself."""
    status = node.json("status")
    got = node.rows("get", asset, "-o", out, "--as", "original")
    images = sorted(r["id"] for r in node.rows("find", "level=image"))
    return {
        "shares": status["shares"],
        "assets": status["store"]["assets"],
        "logical": status["store"]["logical_bytes"],
        "chunks": status["store"]["chunks"],
        "held": status["quarantine"],
        "vault": node.rows("quarantine", "list", "--all"),
        "find": sorted(node.cli("find", "level=series or level=nifti or "
                                "level=image", "--json").stdout.splitlines()),
        "show": node.json("show", asset),
        "images": [node.json("show", i) for i in images[:4]],
        "image fields": sorted(node.cli(
            "find", "image.InstanceNumber>=4 and image.ImageType=ORIGINAL",
            "--json").stdout.splitlines()),
        "runs": node.rows("workflow", "runs"),
        "events": node.rows("events"),
        "files": sorted((pathlib.Path(g["path"]).name, g["sha256"])
                        for g in got),
    }


def rebuild(node, check=True):
    """Run it; its report."""
    return node.json("rebuild", check=check)


def same(node, top, asset, want, tag):
    """Start it again: everything equal; stop it again."""
    node.start()
    got = view(node, asset, top / f"out-{tag}")
    for key, value in want.items():
        if key == "shares":  # roots and ops, whatever the order of shares
            continue
        assert got[key] == value, \
            f"{tag}: {key}: {json.dumps(got[key])[:3000]} is not " \
            f"{json.dumps(value)[:3000]}"
    assert got["shares"][0]["compartments"] == \
        want["shares"][0]["compartments"], tag
    clean = node.json("verify", "--deep")
    assert clean["bad_count"] == 0, clean


def index_is_lost(node, top, asset, want, root):
    """kill -9, no index at all."""
    node.kill()
    shutil.rmtree(node.home / "store" / "db")
    node.start(wait=False)
    assert node.proc.wait(20) == 1, "started over a lost index"
    assert "rebuild" in node.log_tail(), node.log_tail()
    report = rebuild(node)
    assert report["bad_count"] == 0, report
    assert report["root"] == root, f"{report} is not {root}"
    same(node, top, asset, want, "lost")


def index_is_scribbled(node, top, asset, want, root):
    """Random bytes in its place; the rebuild is itself cut off once."""
    node.kill()
    data = node.home / "store" / "db" / "data.mdb"
    data.write_bytes(os.urandom(data.stat().st_size))
    (node.home / "store" / "db.new").mkdir()
    (node.home / "store" / "db.new" / "data.mdb").write_bytes(
        os.urandom(40000))  # what a rebuild that was cut off left behind
    report = rebuild(node)
    assert report["bad_count"] == 0 and report["root"] == root, report
    same(node, top, asset, want, "scribbled")


def new_work_goes_on(node, lab, top):
    """After a rebuild: a new series is released, converted once, synced."""
    runs = len(node.rows("workflow", "runs"))
    item = send(node, top / "e", 4, 9)
    node.cli("quarantine", "release", item, "--reason", "synthetic")
    until("its run is done", 60, lambda: [
        r["state"] for r in node.rows("workflow", "runs")].count("done")
          == runs + 1)
    assert len(node.rows("workflow", "runs")) == runs + 1
    series = len(node.rows("find", "level=series"))
    until("the lab has the new one", 60, lambda: len(
        lab.rows("find", "level=series")) == series)


def log_is_damaged(node, top, asset):
    """Three chunk records altered: named, all the rest is there."""
    before = node.json("status")["store"]["chunks"]
    node.kill()
    seg = node.home / "store" / "segments" / "00000001.seg"
    raw = bytearray(seg.read_bytes())
    at, hurt = 4096, 0
    while at < len(raw) and hurt < 3:
        if raw[at:at + 4] == b"PSCR" and raw[at + 6] == 1:
            raw[at + 64 + 7] ^= 0x40
            hurt += 1
            at += 64 * 20
        at += 64
    assert hurt == 3
    seg.write_bytes(raw)
    shutil.rmtree(node.home / "store" / "db")
    report = rebuild(node)
    bad = [b["what"] for b in report["bad"]]
    assert bad == ["chunk"] * 3, report
    node.start()
    assert node.json("status")["store"]["chunks"] == before - 3
    assert node.json("show", asset)["versions"], "the catalog is there"
    assert len(node.rows("quarantine", "list", "--all")) == 5
    assert node.json("verify", "--deep", check=False)["bad_count"] > 0, \
        "the damage is still in the log and still named"
    _ = top


def main():
    """One node, broken in every way in turn."""
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        node, lab, asset = build(top)
        try:
            refused = node.cli("rebuild", "--json", check=False)
            assert "use by another" in e2e.error_of(refused)["cause"]
            want = view(node, asset, top / "out")
            assert len(want["image fields"]) == 6, want["image fields"]
            assert '"ImageType"' in json.dumps(want["images"]), "alike"
            root = node.json("verify", "--root")["root"]
            index_is_lost(node, top, asset, want, root)
            root = node.json("verify", "--root")["root"]
            index_is_scribbled(node, top, asset, want, root)
            new_work_goes_on(node, lab, top)
            log_is_damaged(node, top, asset)
        except BaseException:
            print(node.log_tail(40), file=sys.stderr)
            raise
        finally:
            node.stop()
            lab.stop()


main()
