#!/usr/bin/python3
"""The main job, end to end: two centres, a blind hub and a central lab.

Run by `./run demo`.  Four real nodes on loopback; real DICOM sent by
storescu; three things proven by command at the end.
"""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SRC = HERE.parent.parent
sys.path.insert(0, str(SRC / "tests" / "lib"))
from nodes import Failed, Node, storescu, until  # noqa: E402

DATA = SRC / "tests" / "data" / "dicom"
HOME = str(SRC / "build" / "demo")
MARK = "made-by-demo"  # only a directory that holds it is emptied
SHARE = "glioma-trial-17"
SENT = {  # what each centre's scanner sends
    "centre1": ["mr_ge_t1_deidentified", "ct_philips_head_tilt"],
    "centre2": ["mr_t1_axial_7t_defaced"],
}
START = time.monotonic()


def say(text):
    """One line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def make_nodes(bin_dir, top):
    """Init and start the four nodes."""
    nodes = {}
    for site in ("hub", "lab", "centre1", "centre2"):
        node = Node(bin_dir, top / site, site)
        settings = {"dicom__listen": "off", "peers__listen": "off",
                    "rest__listen": "off", "store__segment_bytes": "64m"}
        if site == "hub":
            settings["peers__listen"] = "127.0.0.1:0"
        if site.startswith("centre"):
            settings["dicom__listen"] = "127.0.0.1:0"
            settings["dicom__inboxes"] = json.dumps(
                [{"calling_ae": f"SCANNER{site[-1]}", "share": SHARE,
                  "compartment": site, "profile": "trial-imaging"}])
        node.init(**settings)
        node.start()
        nodes[site] = node
    return nodes


def share_of(node):
    """The node's view of its share, or None."""
    for share in node.json("status")["shares"]:
        if share["role"] and share["role"] != "pending":
            return share
    return None


def make_share(nodes):
    """The lab creates the share, invites hub and centres, grants itself."""
    lab, hub = nodes["lab"], nodes["hub"]
    hub_key = hub.json("id")["key"]
    lab.cli("peer", "add", f"127.0.0.1:{hub.port('peers')}", "--key", hub_key)
    lab.cli("share", "create", SHARE, "--compartment", "centre1",
            "--compartment", "centre2")
    invite = lab.json("share", "invite", SHARE, "--role", "hub")["invite"]
    hub.cli("share", "join", invite)
    until("the hub is granted", 20, lambda: share_of(hub))
    lab_key = lab.json("id")["key"]
    for site in ("centre1", "centre2"):
        lab.cli("share", "grant", SHARE, lab_key, "--role", "runner",
                "--compartment", site)
        invite = lab.json("share", "invite", SHARE, "--role", "writer",
                          "--compartment", site)["invite"]
        nodes[site].cli("share", "join", invite)
        until(f"{site} is granted", 20, lambda s=site: share_of(nodes[s]))
        nodes[site].cli("subscribe", SHARE, "--compartment", site,
                        "--content", "all")
    lab.cli("subscribe", SHARE, "--content", "all")
    lab.cli("workflow", "add", SRC / "tests/data/workflows/to-nifti.yaml",
            "--share", SHARE)


def send_all(nodes, top):
    """Plant synthetic identifiers, send by storescu over TCP."""
    phi = {}
    for site, sets in SENT.items():
        out = top / "scanner" / site
        for name in sets:
            out.mkdir(parents=True, exist_ok=True)
            subprocess.run(["/usr/bin/python3",
                            SRC / "tests/lib/plant_identifiers.py",
                            DATA / name / "in", out / name,
                            top / f"phi-{site}-{name}.txt"],
                           check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        phi[site] = sorted({line for name in sets for line in
                            (top / f"phi-{site}-{name}.txt").read_text(
                                encoding="utf-8").splitlines() if line})
        for name in sets:
            files = sorted((out / name).iterdir())
            done = storescu(nodes[site].port("dicom"),
                            f"SCANNER{site[-1]}", files)
            if done.returncode != 0:
                raise Failed(f"storescu to {site}: {done.stderr}")
    return phi


def release_all(nodes):
    """Everything held is released; returns rows by site."""
    held = {}
    for site in SENT:
        held[site] = nodes[site].rows("quarantine", "list")
        if len(held[site]) != len(SENT[site]):
            raise Failed(f"{site} holds {len(held[site])} series, "
                         f"{len(SENT[site])} were sent")
        for item in held[site]:
            nodes[site].cli("quarantine", "release", item["id"], "--reason",
                            "demo: synthetic identifiers, looked at")
    return held


def wait_results(nodes):
    """Until the lab converted everything and the results are back."""
    n_series = sum(len(s) for s in SENT.values())
    lab = nodes["lab"]

    def runs_done():
        runs = lab.rows("workflow", "runs")
        bad = [r for r in runs if r["state"] == "failed"]
        if bad:
            raise Failed(f"a run failed at the lab: {bad}")
        return len([r for r in runs if r["state"] == "done"]) == n_series

    until("the lab converted every series", 60, runs_done, every=0.1)

    def back():
        return all(nodes[s].json("find", "level=nifti", "--count")["count"] ==
                   len(SENT[s]) for s in SENT)

    until("the results are back at the centres", 30, back, every=0.1)
    for site in ("lab", "centre1", "centre2"):
        nodes[site].cli("sync", "wait", "--timeout", "30s")


def get_hashes(node, asset, out):
    """Fetch an asset's files; {name: sha256} recomputed here."""
    out.mkdir(parents=True, exist_ok=True)
    got = {}
    for row in node.rows("get", asset, "-o", out):
        path = pathlib.Path(row["path"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != row["sha256"]:
            raise Failed(f"{path}: bytes do not fit the hash in the answer")
        got[path.name] = digest
    return got


def prove_identical(nodes, top):
    """Proof 1: what the lab holds is what the centre released."""
    files = 0
    for site in SENT:
        for level in ("series", "nifti"):
            for row in nodes[site].rows("find", f"level={level}"):
                one = get_hashes(nodes[site], row["id"],
                                 top / "proof" / site / row["id"])
                two = get_hashes(nodes["lab"], row["id"],
                                 top / "proof" / "lab" / row["id"])
                if not one or one != two:
                    raise Failed(f"{row['id']} differs between {site} "
                                 "and the lab")
                files += len(one)
    return f"{files} files fetched at the centres and at the lab: equal"


def prove_separate(nodes, top):
    """Proof 2: centre 1 cannot read centre 2's data, and the reverse."""
    tried = 0
    out = top / "proof" / "refused"
    for mine, other in (("centre1", "centre2"), ("centre2", "centre1")):
        if any(r["compartment"] != mine for r in
               nodes[mine].rows("find", "level=series or level=nifti")):
            raise Failed(f"{mine} lists assets of another compartment")
        for row in nodes[other].rows("find", "level=series or level=nifti"):
            for act in (["show", row["id"]],
                        ["get", row["id"], "-o", out]):
                if nodes[mine].cli(*act, check=False).returncode != 1 or \
                        out.exists():
                    raise Failed(f"{mine} could {act[0]} {row['id']}")
                tried += 1
    return f"{tried} attempts with the other centre's asset ids: refused"


def pixel_runs(folder, n=48):
    """Runs of pixel bytes from the middle of files that are not constant."""
    runs = []
    for path in sorted(folder.rglob("*.dcm"))[::5]:
        data = path.read_bytes()
        for at in range(len(data) // 2, len(data) - n, 997):
            run = data[at:at + n]
            if len(set(run)) > 12:
                runs.append(run)
                break
    return runs


def tag_values(nodes):
    """Values that released data hold: UIDs, pseudonyms, texts."""
    values = set()
    for site in SENT:
        for row in nodes[site].rows("find", "level=series"):
            shown = nodes[site].json("show", row["id"])
            for value in shown["fields"].values():
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, str) and len(one) >= 6:
                        values.add(one)
    return sorted(values)


def count_hits(folder, needles):
    """How many of the needles occur in any file below folder."""
    blobs = [plain_bytes(p) for p in folder.rglob("*") if p.is_file()]
    return sum(1 for n in needles if any(n in b for b in blobs))


def plain_bytes(path):
    """A file's bytes up to its last one that is not zero: segments are
    reserved ahead of use."""
    return path.read_bytes().rstrip(b"\0")


def prove_blind(nodes, top, phi):
    """Proof 3: no plaintext on the hub's disk; the search itself works."""
    texts = [SHARE, "centre1", "centre2"] + tag_values(nodes)
    names = [t.encode() for t in texts]
    people = [p.encode() for site in phi.values() for p in site]
    pixels = pixel_runs(top / "proof" / "centre1") + \
        pixel_runs(top / "proof" / "centre2")
    control = count_hits(top / "proof", pixels)
    if not pixels or control != len(pixels):
        raise Failed("the control search found no pixels where they are")
    if count_hits(top / "scanner", people) != len(people):
        raise Failed("the control search found no identifiers in the input")
    if count_hits(top / "proof", people):
        raise Failed("an original identifier survived in released data")
    hits = count_hits(nodes["hub"].home, names + people + pixels)
    if hits:
        raise Failed(f"{hits} plaintext values are on the hub's disk")
    size = sum(len(plain_bytes(p)) for p in nodes["hub"].home.rglob("*")
               if p.is_file())
    return (f"{len(pixels)} pixel runs, {len(texts)} names and tag values, "
            f"{len(people)} identifiers: 0 found in the hub's "
            f"{size / 1e6:.1f} MB (control: all found in the plain files)")


def table(nodes, held):
    """Who received, released and holds what."""
    print(f"\n{'node':9}{'received':>10}{'released':>10}{'series':>8}"
          f"{'nifti':>7}{'logical MB':>12}{'stored MB':>11}{'wire MB':>9}")
    for site, node in nodes.items():
        status = node.json("status")
        images = sum(i["instances"] for i in held.get(site, []))
        wire = sum(p.get("bytes_rx", 0) + p.get("bytes_tx", 0)
                   for p in status["peers"])

        def count(level, n=node):
            return n.json("find", f"level={level}", "--count")["count"]

        print(f"{site:9}{images or '-':>10}"
              f"{len(held.get(site, [])) or '-':>10}{count('series'):>8}"
              f"{count('nifti'):>7}"
              f"{status['store']['logical_bytes'] / 1e6:>12.1f}"
              f"{status['store']['stored_bytes'] / 1e6:>11.1f}"
              f"{wire / 1e6:>9.1f}")
    print()


def make_top(top):
    """A fresh directory; only what an earlier demo made is removed."""
    mark = top / MARK
    if top.exists() and not mark.exists() and str(top) != HOME and \
            not (top.is_dir() and not any(top.iterdir())):
        raise Failed(f"{top} is there already, and no demo made it: "
                     "choose another --home")
    if stop(top):
        say("stopped the nodes of the demo before")
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    mark.write_text("made by ./run demo; the next demo empties it\n",
                    encoding="ascii")


def run(args):
    """The whole demo; the nodes, whatever happens, for the caller to stop."""
    top = pathlib.Path(args.home)
    make_top(top)
    nodes = make_nodes(args.bin, top)
    say("four nodes are up; only the hub listens for peers")
    make_share(nodes)
    say(f"share {SHARE}: hub and centres joined by invite, lab is runner")
    phi = send_all(nodes, top)
    say("real CT and MR sent by storescu into both centres")
    held = release_all(nodes)
    for site, items in held.items():
        for item in items:
            say(f"{site} released {item['id']}: {item['modality']}, "
                f"{item['instances']} images")
    wait_results(nodes)
    say("lab received, converted to NIfTI, results are back")
    table(nodes, held)
    say("proof 1, bit-identical: " + prove_identical(nodes, top))
    say("proof 2, separate:      " + prove_separate(nodes, top))
    say("proof 3, blind hub:     " + prove_blind(nodes, top, phi))
    return nodes


def node_pid(pid_file):
    """The process of a pid file if it is a node that lives, else None."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        cmd = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    args = cmd.split(b"\0")
    mine = args[0].endswith(b"pesscarad") and \
        str(pid_file.with_suffix("")).encode() in args
    return pid if mine else None


def stop(top):
    """End the nodes a demo left running (by their pid files)."""
    files = list(pathlib.Path(top).glob("*.pid"))
    pids = [pid for pid in map(node_pid, files) if pid]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while any(map(node_pid, files)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid_file in files:
        if not node_pid(pid_file):
            pid_file.unlink()
    return len(pids)


def main():
    """Arguments and exit status."""
    p = argparse.ArgumentParser(
        prog="./run demo", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=str(SRC / "build" / "bin"))
    p.add_argument("--home", default=HOME)
    p.add_argument("--exit", action="store_true",
                   help="stop the nodes at the end (for scripts)")
    p.add_argument("--stop", action="store_true",
                   help="stop the nodes an earlier demo left running")
    args = p.parse_args()
    args.home = os.path.abspath(os.path.join(
        os.environ.get("PSC_FROM", ""), args.home))
    if args.stop:
        print(f"{stop(args.home)} nodes stopped")
        return 0
    try:
        run(args)
    except (Failed, subprocess.SubprocessError) as why:
        print(f"demo failed: {why}", file=sys.stderr)
        if os.path.exists(f"{args.home}/{MARK}"):
            print(f"next: see {args.home}/*.log", file=sys.stderr)
            stop(args.home)
        return 1
    except KeyboardInterrupt:
        stop(args.home)
        return 130
    if args.exit:
        stop(args.home)
        return 0
    print(f"\nThe nodes run on. Try:\n"
          f"  {args.bin}/pesscara --home {args.home}/lab status\n"
          f"  {args.bin}/pesscara --home {args.home}/lab find level=series\n"
          f"  ./run demo --stop" +
          (f" --home {args.home}" if args.home != HOME else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
