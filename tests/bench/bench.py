#!/usr/bin/python3
"""./run bench [store | codec | gc | scale | sync]: figures of the main paths, beside
peers on the same input.  Without a theme: receive, import, release, replicate;
"store": see theme_store.py; "codec": theme_codec.py; "gc", "scale" and
"sync": theme_tool.py.

Prints, asserts nothing about time.  The corpus is made from the shipped CT
and MR series: new UIDs and shifted pixel values in each copy, so that copies
compress like the originals but share nothing with them.
"""
import argparse
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
os.environ.setdefault("PSC_BIN", str(HERE.parent.parent / "build" / "bin"))
import e2e  # noqa: E402
import theme_codec  # noqa: E402
import theme_tool  # noqa: E402
import theme_store  # noqa: E402
from nodes import Node, storescu, until  # noqa: E402
import numpy  # noqa: E402
import pydicom  # noqa: E402


def make_corpus(out, copies):
    """copies of every shipped image; returns files and bytes."""
    warnings.simplefilter("ignore")  # real images break rules
    n = size = 0
    for k in range(copies):
        for src in sorted(e2e.DATA.glob("*/in/*")):
            try:
                ds = pydicom.dcmread(str(src))
            except pydicom.errors.InvalidDicomError:
                continue
            if "PixelData" not in ds:
                continue
            for name in ("SOPInstanceUID", "SeriesInstanceUID",
                         "StudyInstanceUID"):
                ds[name].value = f"{ds[name].value[:50]}.{k + 1}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            if not ds.file_meta.TransferSyntaxUID.is_compressed:
                pixels = numpy.frombuffer(ds.PixelData, dtype="uint16")
                ds.PixelData = (pixels + k).astype("uint16").tobytes()
            ds.PatientID = f"BENCH-{k}"
            path = out / f"c{k:02}" / f"{src.parent.parent.name}_{src.stem}"
            path.parent.mkdir(parents=True, exist_ok=True)
            ds.save_as(str(path), write_like_original=False)
            n += 1
            size += path.stat().st_size
    return n, size


def timed(fn):
    """Wall seconds and the result."""
    t = time.monotonic()
    got = fn()
    return time.monotonic() - t, got


def cpu_of(node):
    """CPU seconds of a daemon and its ended helpers."""
    f = pathlib.Path(f"/proc/{node.proc.pid}/stat").read_text(
        encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, f[11:15])) / os.sysconf("SC_CLK_TCK")


def free_port():
    """A port nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def bench_storescp(files, top):
    """dcmtk's storescp on the same input: a bare file dump."""
    out = top / "scp"
    out.mkdir()
    port = free_port()
    scp = subprocess.Popen(["storescp", "-od", str(out), str(port)],
                           env=e2e.env(TCP_NODELAY="1"),
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    try:
        until("storescp listens", 5, lambda: subprocess.run(
            ["echoscu", "127.0.0.1", str(port)], check=False,
            capture_output=True).returncode == 0)
        wall, done = timed(lambda: storescu(port, "SCANNER1", files))
    finally:
        scp.terminate()
        scp.wait(5)
    assert done.returncode == 0 and len(list(out.iterdir())) == len(files)
    return wall


def row(what, value, note=""):
    """One line of the report."""
    print(f"{what:34}{value:>22}  {note}", flush=True)


def bench_receive(top, files, size):
    """C-STORE into a node, beside storescp."""
    peer = bench_storescp(files, top)
    node = e2e.single(top, "receiver")
    port = node.port("dicom")
    cpu = cpu_of(node)
    wall, done = timed(lambda: storescu(port, "SCANNER1", files))
    assert done.returncode == 0, done.stderr
    cpu = cpu_of(node) - cpu
    held = sum(i["instances"] for i in node.rows("quarantine", "list"))
    assert held == len(files), f"{held} of {len(files)} held"
    n = len(files)
    row("C-STORE, node", f"{n / wall:.0f} img/s",
        f"{size / wall / 1e6:.1f} MB/s, {size / max(cpu, .01) / 1e6:.0f} "
        "MB/s of server CPU; durable, de-identified, encrypted")
    row("C-STORE, dcmtk storescp", f"{n / peer:.0f} img/s",
        f"{size / peer / 1e6:.1f} MB/s; plain files, no sync")
    row("  node : storescp", f"{peer / wall:.2f}", "1.00 = as fast")
    return node


def bench_import(top, corpus, n, size):
    """Import from disk into a fresh node; store size."""
    node = e2e.single(top, "importer")
    cpu = cpu_of(node)
    wall, _ = timed(lambda: node.cli(
        "import", corpus, "--share", e2e.SHARE, "--compartment", "images",
        "--json", timeout=600))
    cpu = cpu_of(node) - cpu
    stored = node.json("status")["store"]["stored_bytes"]
    row("import from disk", f"{size / wall / 1e6:.1f} MB/s",
        f"{n / wall:.0f} files/s, {size / max(cpu, .01) / 1e6:.0f} MB/s of "
        "CPU")
    row("store size : input", f"{stored / size:.3f}",
        f"{stored / 1e6:.1f} of {size / 1e6:.1f} MB; originals and "
        "de-identified, index in")
    wall, _ = timed(lambda: node.cli(
        "import", corpus, "--share", e2e.SHARE, "--compartment", "images",
        "--json", timeout=600))
    row("import again (no new bytes)", f"{size / wall / 1e6:.1f} MB/s",
        f"store grew by {(node.json('status')['store']['stored_bytes'] - stored) / 1e3:.0f} kB")
    node.stop()


def join_subscriber(top, node):
    """A second node, reader of the share, in sync with it."""
    other = Node(e2e.BIN, top / "subscriber", "subscriber")
    other.init(dicom__listen="off", peers__listen="off", rest__listen="off")
    other.start()
    other.cli("share", "join", node.json(
        "share", "invite", e2e.SHARE, "--role", "reader", "--compartment",
        "images")["invite"])
    until("granted", 20, lambda: [
        s for s in other.json("status")["shares"] if s["role"] == "reader"])
    other.cli("subscribe", e2e.SHARE, "--content", "all")
    return other


def bench_replicate(top, node):
    """Release, then a second node fetches everything; no-op reconnect."""
    node.stop()
    subprocess.run([str(e2e.BIN / "pesscara"), "--home", str(node.home),
                    "config", "set",
                    f"peers.listen=127.0.0.1:{free_port()}"], check=True,
                   stdout=subprocess.DEVNULL)
    node.start()
    other = join_subscriber(top, node)
    other.stop()
    items = node.rows("quarantine", "list")
    wall, _ = timed(lambda: [node.cli(
        "quarantine", "release", i["id"], "--reason", "bench")
        for i in items])
    logical = node.json("status")["store"]["logical_bytes"]
    row("release", f"{logical / wall / 1e6:.1f} MB/s",
        f"{len(items)} series, {logical / 1e6:.0f} MB")
    cpu = cpu_of(node)
    other.start(wait=False)
    wall, _ = timed(lambda: (other.wait_up(), other.cli(
        "sync", "wait", "--timeout", "300s", timeout=320)))
    cpu = cpu_of(node) + cpu_of(other) - cpu
    assert other.json("status")["store"]["logical_bytes"] == logical
    wire = sum(p.get("bytes_rx", 0) for p in other.json("status")["peers"])
    row("replicate, raw", f"{logical / wall / 1e6:.1f} MB/s",
        f"{logical / max(cpu, .01) / 1e6:.0f} MB/s of CPU (both), "
        f"{wire / 1e6:.1f} MB on the wire; start-up and dial in")
    address = f"127.0.0.1:{node.port('peers')}"
    other.cli("peer", "remove", address)
    time.sleep(0.3)
    wall, _ = timed(lambda: (
        other.cli("peer", "add", address, "--key", node.json("id")["key"]),
        other.cli("sync", "wait", "--timeout", "30s")))
    row("no-op reconnect", f"{wall * 1e3:.0f} ms",
        "three CLI processes, dial, handshake, roots compared")
    other.stop()
    node.stop()


def bench_all(top, corpus, files, size):
    """Receive, import, release, replicate."""
    print(f"{len(files)} images, {size / 1e6:.1f} MB, "
          f"{os.cpu_count()} cores, all on loopback\n")
    node = bench_receive(top, files, size)
    bench_import(top, corpus, len(files), size)
    bench_replicate(top, node)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    row("largest child process", f"{peak / 1024:.0f} MiB",
        "of CLI, daemons, senders")


def main():
    """One theme, or the whole list."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("theme", nargs="?", default="all",
                   choices=["all", "store", "codec", "gc", "scale", "sync"])
    p.add_argument("--copies", type=int, default=5)
    p.add_argument("--corpus", help="a folder of DICOM files to use instead")
    p.add_argument("--peers", action="store_true",
                   help="store: beside restic, borg, casync, git-annex")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--seconds", type=int, default=2,
                   help="codec: CPU seconds each codec gets")
    p.add_argument("--images", type=int, default=1000000,
                   help="scale: so many, with ten chunks each")
    args = p.parse_args()
    top = pathlib.Path(tempfile.mkdtemp(prefix="psc-bench-"))
    try:
        if args.theme == "gc":
            theme_tool.run("gc", top)
            return 0
        if args.theme == "sync":
            theme_tool.run("sync", top)
            return 0
        if args.theme == "scale":
            theme_tool.run("scale", top, str(args.images))
            return 0
        if args.theme == "codec":  # each frame once: no copies
            theme_codec.run(args.corpus or e2e.DATA, top, args.seconds)
            return 0
        corpus = pathlib.Path(args.corpus) if args.corpus else top / "corpus"
        if not args.corpus:
            make_corpus(corpus, args.copies)
        files = sorted(f for f in corpus.rglob("*") if f.is_file())
        size = sum(f.stat().st_size for f in files)
        if args.theme == "store":
            theme_store.run(corpus, top, args.rounds, args.peers)
        else:
            bench_all(top, corpus, files, size)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
