#!/usr/bin/python3
"""Check-in between sites: an analyst at the lab segments what a centre sent;
the result is a derived version with provenance at every peer; locks are seen
there; two sites at once make two heads; nothing is half said, whatever dies.
"""
import gzip
import io
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

import pydicom

import e2e
from nodes import Node, until
from test_workdir import folder_of, manifest, states

SETTINGS = {"dicom__listen": "off", "peers__listen": "off",
            "rest__listen": "off", "store__segment_bytes": "32m"}
REASON = ["--reason", "looked at: no names"]


def nifti(descrip=b"", value=1):
    """A small NIfTI-1 file."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, 2, 8)
    struct.pack_into("<f", head, 108, 352.0)
    head[148:148 + len(descrip)] = descrip
    head[344:348] = b"n+1\0"
    return bytes(head) + bytes([value]) * 64


def make_sites(top):
    """The lab (registrar, runner), a centre (writer), a viewer (reader)."""
    nodes = {s: Node(e2e.BIN, top / s, s) for s in ("lab", "centre", "viewer")}
    for site, node in nodes.items():
        more = {"peers__listen": "127.0.0.1:0"} if site == "lab" else {}
        node.init(**{**SETTINGS, **more})
        node.start()
    lab = nodes["lab"]
    lab.cli("share", "create", e2e.SHARE, "--compartment", "images")
    lab.cli("share", "grant", e2e.SHARE, lab.json("id")["key"], "--role",
            "runner", "--compartment", "images")
    for site, role in (("centre", "writer"), ("viewer", "reader")):
        invite = lab.json(
            "share", "invite", e2e.SHARE, "--role", role, "--compartment",
            "images", "--address",
            f"127.0.0.1:{lab.port('peers')}")["invite"]
        nodes[site].cli("share", "join", invite)
        until(f"{site} is granted", 20, lambda n=nodes[site]: any(
            s["role"] == role for s in n.json("status")["shares"]))
        nodes[site].cli("subscribe", e2e.SHARE, "--content", "all")
    lab.cli("subscribe", e2e.SHARE, "--content", "all")
    lab.cli("workflow", "add", e2e.SRC / "tests/data/workflows/to-nifti.yaml",
            "--share", e2e.SHARE)
    return nodes


def sync(nodes):
    """Until all hold the same."""
    for node in nodes.values():
        node.cli("sync", "wait", "--timeout", "30s")


def series_of(nodes, top, seed=1, n=3):
    """A series the centre released, and what the lab converted it to."""
    centre = nodes["centre"]
    e2e.make_series(top / f"in{seed}", n, seed=seed, patient=f"PID-{seed}-77",
                    name=f"Name{seed}^Given")
    centre.cli("import", top / f"in{seed}", "--share", e2e.SHARE,
               "--compartment", "images")
    item = centre.rows("quarantine", "list")[-1]["id"]
    series = centre.json("quarantine", "release", item, "--reason",
                         "ok")["asset"]

    def converted():
        rows = [r for node in nodes.values() for r in
                node.rows("find", "level=nifti")
                if node.json("show", r["id"])["source"] == series]
        return rows[0]["id"] if len(rows) == len(nodes) else None

    return series, until("it is converted and everywhere", 40, converted)


def checkin(node, *args, **kw):
    """The rows of a check-in, without progress; the summary last."""
    return [r for r in node.rows("checkin", *args, **kw)
            if "progress" not in r]


def test_the_analysts_way(nodes, top, series, image):
    """Out with lock, seen by the peer; a segmentation and a table in; both
    are there with provenance; the lock is gone."""
    lab, centre, viewer = nodes.values()
    work = top / "analyst"
    rows = lab.rows("checkout", image, work)
    assert rows[0]["lock"] == "taken", rows
    sync(nodes)
    for node in nodes.values():
        assert [k["holder"].endswith("@lab") for k in
                node.json("show", image)["locks"]] == [True]
    out = centre.rows("checkout", image, top / "centre-look")[0]
    assert out["locked_by"] and out["locked_by"].endswith("@lab"), out
    assert out["lock"] == "taken", out
    seen = viewer.rows("checkout", image, top / "viewer-look")[0]
    assert seen["lock"] == "none" and seen["locked_by"], seen
    folder = folder_of(work, image)
    (folder / "seg.nii.gz").write_bytes(gzip.compress(nifti(), mtime=0))
    (folder / "seg.csv").write_text("label,ml\n1,3.5\n", encoding="ascii")
    changed, _ = states(lab, work)
    assert changed == {f"{folder.name}/seg.nii.gz": "added",
                       f"{folder.name}/seg.csv": "added"}, changed
    dry = checkin(lab, work, "--dry-run", *REASON)
    assert dry[0]["state"] == "derived" and dry[0]["asset"] is None, dry
    assert lab.rows("find", "level=segmentation") == []
    rows = checkin(lab, work, "--note", "tumour, by hand", "--tool",
                   "itk-snap 4.2", *REASON)
    assert [r["state"] for r in rows[:-1]] == ["derived"], rows
    made, summary = rows[0], rows[-1]["summary"]
    assert made["level"] == "segmentation" and made["source"] == image
    assert made["files"] == 2 and summary["unlocked"] == 1, rows
    assert states(lab, work)[0] == {}
    sync(nodes)
    shown = centre.json("show", made["asset"])
    version = shown["versions"][0]
    prov = version["provenance"]
    base = centre.json("show", image)["versions"][-1]
    assert prov["act"] == "checkin" and prov["note"] == "tumour, by hand"
    assert prov["tool"] == "itk-snap 4.2" and prov["reason"] == REASON[1]
    assert prov["inputs"][0]["asset"] == image
    assert prov["inputs"][0]["version"] == base["version"]
    assert prov["inputs"][0]["hash"] == base["hash"]
    assert version["site"] == "lab" and version["derived"]
    assert shown["source"] == image and shown["parent"] == series, shown
    got = {pathlib.Path(r["path"]).name: pathlib.Path(r["path"]).read_bytes()
           for r in centre.rows("get", made["asset"], "-o", top / "got")}
    assert got["seg.csv"] == b"label,ml\n1,3.5\n"
    assert gzip.decompress(got["seg.nii.gz"]) == nifti()
    row = viewer.rows("checkout", image, top / "viewer-look")[0]
    assert row["locked_by"] is None or \
        not row["locked_by"].endswith("@lab"), row
    assert not any(k["holder"].endswith("@lab") for k in
                   viewer.json("show", image)["locks"])
    return work, made["asset"]


def test_an_edit_is_a_new_version(nodes, top, work, seg):
    """The same file edited: a version with the one before as its parent, the
    other file by reference; nothing changed: nothing is made."""
    lab, centre, _ = nodes.values()
    rows = checkin(lab, work)
    assert rows[-1]["summary"]["versions"] == 0, rows
    folder = folder_of(work, seg)
    before = lab.json("show", seg)["versions"]
    (folder / "seg.nii.gz").write_bytes(gzip.compress(nifti(value=2)))
    (folder / "seg.json").write_text("{}", encoding="ascii")
    assert lab.cli("checkin", work, "--json", check=False).returncode == 1
    rows = checkin(lab, work, *REASON)
    assert [(r["state"], r["asset"], r["files"], r["heads"])
            for r in rows[:-1]] == [("version", seg, 3, 1)], rows
    versions = lab.json("show", seg)["versions"]
    assert len(versions) == 2
    assert versions[-1]["parents"] == [before[-1]["version"]]
    (folder / "seg.csv").unlink()
    rows = checkin(lab, work, *REASON)
    assert rows[0]["files"] == 2, rows
    sync(nodes)
    names = {f["name"] for f in files_of(centre, seg, top)}
    assert names == {"seg.nii.gz", "seg.json"}, names
    for name in names:
        (folder / name).unlink()
    err = e2e.error_of(lab.cli("checkin", work, "--json", *REASON,
                               check=False))
    assert "every file was removed" in err["cause"], err
    lab.rows("checkout", seg, work)
    assert states(lab, work)[0] == {}


def files_of(node, asset, top):
    """The files of an asset as a fresh check-out lists them."""
    out = pathlib.Path(tempfile.mkdtemp(dir=top)) / "x"
    node.rows("checkout", asset, out, "--no-lock")
    return manifest(out)["assets"][0]["files"]


def test_originals_stay_as_they_came(nodes, top, series):
    """A changed image becomes a derived asset; a removed one is still there;
    a reader gets a clear no."""
    lab, centre, viewer = nodes.values()
    for node, site in ((centre, "c"), (viewer, "v")):
        work = top / f"orig-{site}"
        node.rows("checkout", series, work)
        folder = folder_of(work, series)
        names = sorted(p.name for p in folder.iterdir())
        data = bytearray((folder / names[0]).read_bytes())
        data[-1] ^= 1
        (folder / names[0]).write_bytes(data)
        (folder / names[1]).unlink()
        if site == "v":
            err = e2e.error_of(node.cli("checkin", work, "--json", *REASON,
                                        check=False))
            assert "not write" in err["cause"], err
            continue
        before = node.json("show", series)["versions"]
        rows = checkin(node, work, *REASON)
        assert [r["state"] for r in rows[:-1]] == ["derived"], rows
        assert rows[0]["level"] == "dicom" and rows[0]["files"] == 1
        assert rows[0]["source"] == series
        assert node.json("show", series)["versions"] == before
        assert states(node, work)[0] == {f"{folder.name}/{names[1]}":
                                         "removed"}
        assert checkin(node, work, *REASON)[-1]["summary"]["versions"] == 0
    assert lab


def test_files_of_no_asset(nodes, top, image):
    """At the top of DIR: refused with the way out, taken with --source."""
    lab = nodes["lab"]
    work = top / "loose"
    lab.rows("checkout", image, work, "--no-lock")
    (work / "report.txt").write_text("fine", encoding="ascii")
    (work / "link").symlink_to("/etc/passwd")
    err = e2e.error_of(lab.cli("checkin", work, "--json", *REASON,
                               check=False))
    assert "no asset" in err["cause"] and "--source" in err["next"], err
    rows = checkin(lab, work, "--source", image[:12], *REASON)
    assert [r["state"] for r in rows[:-1]] == ["refused", "derived"], rows
    assert rows[1]["level"] == "document" and rows[1]["source"] == image
    assert rows[-1]["summary"]["left_out"] == 1
    (work / "report.txt").write_text("better", encoding="ascii")
    (work / "other.bin").write_bytes(b"o")
    rows = checkin(lab, work, "--source", image, "--level", "model", *REASON)
    assert {(r["state"], r["level"]) for r in rows[1:-1]} == \
        {("version", "document"), ("derived", "model")}, rows
    (work / "bad").write_bytes(b"o")
    for level in ("series", "image", "No Level", ""):
        done = lab.cli("checkin", work, "--source", image, "--level", level,
                       "--json", *REASON, check=False)
        assert "level" in e2e.error_of(done)["cause"], done


def test_two_sites_at_once(nodes, top, seg):
    """Both from one version: two heads at every site, no byte lost."""
    lab, centre, viewer = nodes.values()
    works = {}
    for site in ("lab", "centre"):
        works[site] = top / f"both-{site}"
        nodes[site].rows("checkout", seg, works[site])
    centre_folder = folder_of(works["centre"], seg)
    lab_folder = folder_of(works["lab"], seg)
    (lab_folder / "seg.nii.gz").write_bytes(gzip.compress(nifti(value=7)))
    (centre_folder / "seg.nii.gz").write_bytes(gzip.compress(nifti(value=8)))
    one = checkin(lab, works["lab"], *REASON)[0]
    sync(nodes)
    changed, summary = states(centre, works["centre"])
    assert summary["behind"] == 1 and "behind" in changed.values(), changed
    two = checkin(centre, works["centre"], *REASON)[0]
    assert (one["heads"], two["heads"]) == (1, 2), (one, two)
    sync(nodes)
    for node in nodes.values():
        versions = node.json("show", seg)["versions"]
        parents = {p for v in versions for p in v["parents"]}
        heads = {v["version"] for v in versions} - parents
        assert heads == {one["version"], two["version"]}, heads
    assert states(lab, works["lab"])[1]["behind"] == 1
    assert viewer


def test_a_file_that_changes_meanwhile(nodes, top, image):
    """A file that grows while it is read: said, nothing checked in."""
    lab = nodes["lab"]
    work = top / "busy"
    lab.rows("checkout", image, work, "--no-lock")
    path = folder_of(work, image) / "grows.bin"
    path.write_bytes(os.urandom(48 << 20))
    before = lab.json("status")["store"]["assets"]
    cmd = [str(lab.bin / "pesscara"), "--home", str(lab.home), "checkin",
           str(work), "--json"] + REASON
    with subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as proc:
        with open(path, "ab") as f:
            while proc.poll() is None:
                f.write(b"x")
                f.flush()
                time.sleep(0.001)
        err = json.loads(proc.stderr.read().strip().splitlines()[-1])
    assert proc.returncode == 1 and "changed while" in err["cause"], err
    assert lab.json("status")["store"]["assets"] == before
    path.unlink()


def test_killed_in_the_middle(nodes, top, image):
    """kill -9 of the CLI and of the node at several moments: afterwards there
    is the version or there is not; the repeat ends with exactly one."""
    lab = nodes["lab"]
    for i, delay in enumerate((0.0, 0.05, 0.15, 0.3, 0.6)):
        work = top / f"kill{i}"
        lab.rows("checkout", image, work, "--no-lock")
        name = f"big{i}.bin"
        (folder_of(work, image) / name).write_bytes(os.urandom(12 << 20))
        cmd = [str(lab.bin / "pesscara"), "--home", str(lab.home), "checkin",
               str(work), "--level", f"kill{i}"] + REASON
        with subprocess.Popen(cmd, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as proc:
            time.sleep(delay)
            if i % 2:
                proc.send_signal(signal.SIGKILL)
            else:
                lab.kill()
            proc.wait(30)
        if not i % 2:
            lab.start()
        assert len(lab.rows("find", f"level=kill{i}")) <= 1
        until("the repeat", 20, lambda w=work, k=i: lab.cli(
            "checkin", w, "--level", f"kill{k}", *REASON,
            check=False).returncode == 0)
        rows = lab.rows("find", f"level=kill{i}")
        assert len(rows) == 1, rows
        assert len(lab.json("show", rows[0]["id"])["versions"]) == 1
        assert states(lab, work)[0] == {}
    assert lab.json("verify", "--deep")["bad"] == []


def test_committed_but_not_written_down(nodes, top, seg):
    """The manifest of before the check-in again (a crash right after the
    commit): the same check-in makes nothing twice."""
    lab = nodes["lab"]
    work = top / "twice"
    lab.rows("checkout", seg, work)
    folder = folder_of(work, seg)
    before = (work / ".pesscara").read_bytes()
    (folder / "seg.nii.gz").write_bytes(gzip.compress(nifti(value=9)))
    (folder / "new.bin").write_bytes(b"n")
    first = checkin(lab, work, *REASON)
    after = (work / ".pesscara").read_bytes()
    n = len(lab.json("show", seg)["versions"])
    (work / ".pesscara").write_bytes(before)
    again = checkin(lab, work, *REASON)
    assert [r["state"] for r in again[:-1]] == ["known", "known"], again
    assert [r["version"] for r in again[:-1]] == \
        [r["version"] for r in first[:-1]]
    assert len(lab.json("show", seg)["versions"]) == n
    assert json.loads(after)["assets"] == manifest(work)["assets"]


def test_manifests_that_lie_at_checkin(nodes, top, image, seg):
    """A version or asset that is not: refused; a hash that is wrong cannot
    change what is stored."""
    lab = nodes["lab"]
    work = top / "lie"
    lab.rows("checkout", image, work, "--no-lock")
    good = manifest(work)
    folder = folder_of(work, image)
    (folder / "x.csv").write_text("a\n", encoding="ascii")
    for change in ({"version": "00" * 32}, {"id": "a" * 32}, {"id": seg}):
        tree = json.loads(json.dumps(good))
        tree["assets"][0].update(change)
        (work / ".pesscara").write_text(json.dumps(tree), encoding="utf-8")
        err = e2e.error_of(lab.cli("checkin", work, "--json", *REASON,
                                   check=False))
        assert "does not have" in err["cause"], err
    tree = json.loads(json.dumps(good))
    name = tree["assets"][0]["files"][0]["name"]
    tree["assets"][0]["files"].pop(0)
    (work / ".pesscara").write_text(json.dumps(tree), encoding="utf-8")
    rows = checkin(lab, work, "--dry-run", *REASON)
    assert len(rows) >= 2, rows
    assert name in {f["name"] for f in files_of(lab, image, top)}


def refused(node, work, say, *args):
    """A check-in that the gate does not let through; no value is told."""
    assets = node.json("status")["store"]["assets"]
    done = node.cli("checkin", work, "--json", *args, check=False)
    err = e2e.error_of(done)
    assert say in err["cause"], err
    assert "Doe" not in done.stderr + node.log_tail(40), err
    assert node.json("status")["store"]["assets"] == assets


def test_the_gate_for_volumes(nodes, top, image):
    """NIfTI with empty texts passes; text in header, extension or gzip does
    not, whatever reason is given; a table needs a reason."""
    lab = nodes["lab"]
    work = top / "gate"
    lab.rows("checkout", image, work, "--no-lock")
    folder = folder_of(work, image)
    path = folder / "mask.nii.gz"
    path.write_bytes(gzip.compress(nifti(b"Doe^Jane 1961"), mtime=0))
    refused(lab, work, "header holds text", *REASON)
    extended = bytearray(nifti())
    struct.pack_into("<f", extended, 108, 384.0)
    extended[348:352] = b"\1\0\0\0"
    extended[352:352] = struct.pack("<ii", 32, 6) + b"Doe^Jane".ljust(24)
    path.write_bytes(gzip.compress(bytes(extended), mtime=0))
    refused(lab, work, "header holds text", *REASON)
    kept = io.BytesIO()
    with gzip.GzipFile("Doe_Jane.nii", "wb", fileobj=kept, mtime=0) as f:
        f.write(nifti())
    path.write_bytes(kept.getvalue())
    refused(lab, work, "gzip kept", *REASON)
    path.unlink()
    path = folder / "mask.csv"  # a volume, whatever it is called
    path.write_bytes(nifti(b"Doe^Jane"))
    refused(lab, work, "header holds text", *REASON)
    path.write_text("id,ml\n", encoding="ascii")
    refused(lab, work, "can check such a file")
    path.unlink()
    kept = io.BytesIO()
    with gzip.GzipFile("mask.nii", "wb", fileobj=kept, mtime=0) as f:
        f.write(nifti())
    (folder / "mask.nii.gz").write_bytes(kept.getvalue())
    rows = checkin(lab, work)
    assert rows[0]["level"] == "segmentation", rows


def changed_dicom(path, **values):
    """The object of a file with other values."""
    ds = pydicom.dcmread(path)
    for key, value in values.items():
        setattr(ds, key, value)
    return ds


def test_the_gate_for_dicom(nodes, top, series):
    """An original is refused under any name; so is one that names somebody
    else; burned-in text needs a person's reason."""
    centre = nodes["centre"]
    work = top / "gate-dicom"
    centre.rows("checkout", series, work)
    folder = folder_of(work, series)
    first = sorted(folder.glob("*.dcm"))[0]
    original = sorted((top / "in1").iterdir())[0].read_bytes()
    for name in ("scan.dcm", "scan.csv", "scan"):
        (folder / name).write_bytes(original)
        refused(centre, work, "PatientIdentityRemoved", *REASON)
        (folder / name).unlink()
    (folder / "text.dcm").write_text("Doe", encoding="ascii")
    refused(centre, work, "not a DICOM", *REASON)
    (folder / "text.dcm").unlink()
    made = folder / "made.dcm"
    changed_dicom(first, PatientName="Doe^Jane").save_as(made)
    refused(centre, work, "somebody else", *REASON)
    changed_dicom(first, PatientID="Doe-1").save_as(made)
    refused(centre, work, "somebody else", *REASON)
    changed_dicom(first, BurnedInAnnotation="YES").save_as(made)
    refused(centre, work, "burned-in")
    rows = checkin(centre, work, *REASON)
    assert rows[0]["level"] == "dicom" and rows[0]["source"] == series, rows


def test_texts_that_were_there_stay(nodes, top):
    """Where identified data is allowed a reason lets all in; texts that the
    source has need none, others do."""
    lab = nodes["lab"]
    lab.cli("share", "create", "ident", "--compartment", "c",
            "--allow-identified")
    lab.cli("share", "grant", "ident", lab.json("id")["key"], "--role",
            "writer", "--compartment", "c")
    e2e.make_series(top / "ident", 2, seed=50, patient="P-50")
    lab.cli("import", top / "ident", "--share", "ident", "--compartment", "c")
    item = lab.rows("quarantine", "list")[-1]["id"]
    asset = lab.json("quarantine", "release", item, "--reason", "x")["asset"]
    work = top / "ident-work"
    lab.rows("checkout", asset, work)
    path = folder_of(work, asset) / "seg.nii"
    path.write_bytes(nifti(b"FSL6"))
    refused(lab, work, "header holds text")
    assert checkin(lab, work, *REASON)[0]["level"] == "segmentation"
    path.write_bytes(nifti(b"FSL6", value=3))
    assert checkin(lab, work)[0]["state"] == "version"
    path.write_bytes(nifti(b"FSL7", value=3))
    refused(lab, work, "header holds text")


def test_nothing_names_a_patient_of_the_site(nodes, top, image):
    """Notes, reasons, file names and texts are searched where the patient is
    known; a level whose context forbids check-in takes none."""
    centre, lab = nodes["centre"], nodes["lab"]
    work = top / "names"
    centre.rows("checkout", image, work, "--no-lock")
    folder = folder_of(work, image)
    path = folder / "roi.nii"
    path.write_bytes(nifti())
    say = "patient of this site"
    refused(centre, work, say, "--note", "seen PID-1-77 again")
    refused(centre, work, say, "--tool", "drawn by Given Name1", *REASON)
    refused(centre, work, say, "--reason", "pid-1-77")
    path.rename(folder / "Name1_Given-roi.nii")
    refused(centre, work, say)
    (folder / "Name1_Given-roi.nii").rename(path)
    table = folder / "table.csv"
    table.write_text("n,name\n" + "1,x\n" * 4000 + "2,Name1 Given\n",
                     encoding="ascii")
    refused(centre, work, say, *REASON)
    table.unlink()
    lab.cli("context", "set", e2e.SHARE, "segmentation", "--compartment",
            "images", "--methods", "set,tag")
    sync(nodes)
    refused(centre, work, "not permitted")
    lab.cli("context", "set", e2e.SHARE, "segmentation", "--compartment",
            "images", "--methods", "all", "--reasons", "checkin")
    sync(nodes)
    refused(centre, work, "must say why")
    lab.cli("context", "set", e2e.SHARE, "segmentation", "--compartment",
            "images", "--reasons", "none")
    sync(nodes)
    assert checkin(centre, work)[0]["level"] == "segmentation"


def test_an_edited_volume_costs_what_changed(nodes, top, image):
    """16 MiB of voxels, then one of them is another: its piece is stored."""
    lab = nodes["lab"]
    work = top / "volume"
    lab.rows("checkout", image, work, "--no-lock")
    path = folder_of(work, image) / "map.nii"
    head = bytearray(nifti()[:352])
    struct.pack_into("<8h", head, 40, 3, 256, 256, 128, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, 4, 16)
    data = bytearray(bytes(head) + os.urandom(256 * 256 * 128 * 2))
    path.write_bytes(data)
    checkin(lab, work)
    before = lab.json("status")["store"]["stored_bytes"]
    data[9 << 20] ^= 1
    path.write_bytes(data)
    assert checkin(lab, work)[0]["state"] == "version"
    grew = lab.json("status")["store"]["stored_bytes"] - before
    assert grew < 2 << 20, grew


def test_many_small_files(nodes, top, image):
    """2,000 files of one thing: one version, one job."""
    lab = nodes["lab"]
    work = top / "many"
    lab.rows("checkout", image, work, "--no-lock")
    folder = folder_of(work, image)
    for i in range(2000):
        (folder / f"tile.{i:04}").write_bytes(b"%d" % i)
    start = time.monotonic()
    rows = checkin(lab, work, *REASON)
    assert len(rows) == 2 and rows[0]["files"] == 2000, rows
    assert states(lab, work)[0] == {}
    print(f"2,000 files in and compared in {time.monotonic() - start:.1f} s")


def main():
    """All of it on three nodes."""
    with tempfile.TemporaryDirectory(prefix="psc-checkin-") as tmp:
        top = pathlib.Path(tmp)
        nodes = make_sites(top)
        try:
            series, image = series_of(nodes, top)
            work, seg = test_the_analysts_way(nodes, top, series, image)
            test_an_edit_is_a_new_version(nodes, top, work, seg)
            test_originals_stay_as_they_came(nodes, top, series)
            test_files_of_no_asset(nodes, top, image)
            test_two_sites_at_once(nodes, top, seg)
            test_a_file_that_changes_meanwhile(nodes, top, image)
            test_committed_but_not_written_down(nodes, top, seg)
            test_manifests_that_lie_at_checkin(nodes, top, image, seg)
            test_the_gate_for_volumes(nodes, top, image)
            test_the_gate_for_dicom(nodes, top, series)
            test_texts_that_were_there_stay(nodes, top)
            test_nothing_names_a_patient_of_the_site(nodes, top, image)
            test_an_edited_volume_costs_what_changed(nodes, top, image)
            test_many_small_files(nodes, top, image)
            test_killed_in_the_middle(nodes, top, image)
        finally:
            for node in nodes.values():
                node.stop()
        for node in nodes.values():
            assert node.proc.returncode == 0, node.log_tail()
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
