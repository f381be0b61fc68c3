"""./run bench store [--peers] [--corpus DIR] [--rounds N]: content in, again,
edited, and out again, beside restic, borg, casync and git-annex.

Each tool works on the same folder: as it is, a second time, then with every
header rewritten to another length (pixels equal).  Rounds are interleaved;
medians are printed.  "MB/s.cpu" is MB a CPU second, user and system, of every
process that took part: daemon, helpers and command line.  A tool's first run
is durable when it ends: the node answers a file after its commit was synced.
Anonymous memory is looked at every 20 ms, summed over daemon and helpers.
"""
import contextlib
import multiprocessing
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import warnings

import e2e
import pydicom
from nodes import Node

TICK = os.sysconf("SC_CLK_TCK")
SHARE = "bench"
LONGER = {"PatientName": "^Edited^Longer", "PatientID": "-EDIT",
          "InstitutionName": " (renamed)"}


def retag_one(job):
    """One file with longer values in its header; pixels as they were."""
    src, dst = job
    warnings.simplefilter("ignore")  # real images break rules
    ds = pydicom.dcmread(str(src))
    for name, more in LONGER.items():
        old = getattr(ds, name, None)
        setattr(ds, name, f"{old or ''}"[:64 - len(more)] + more)
    dst.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(str(dst))


def retag(src, dst):
    """A copy of a folder with every header rewritten."""
    jobs = [(f, dst / f.relative_to(src)) for f in files_of(src)]
    with multiprocessing.Pool(2) as pool:
        pool.map(retag_one, jobs, chunksize=32)


def files_of(folder):
    """Every file below, in order."""
    return sorted(f for f in folder.rglob("*") if f.is_file())


def size_of(folder):
    """Bytes on disk below a folder."""
    return sum(f.lstat().st_blocks * 512 for f in folder.rglob("*")
               if f.is_file() and not f.is_symlink())


def replace(work, src):
    """Make the working folder hold src's files."""
    for f in files_of(src):
        to = work / f.relative_to(src)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f, to)
    os.sync()


# --- what a step cost ---

def children_cpu():
    """CPU seconds of every process this one has waited for."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def proc_cpu(pid):
    """CPU seconds of a live process and its ended children."""
    f = pathlib.Path(f"/proc/{pid}/stat").read_text(
        encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, f[11:15])) / TICK


def anon_kib(pid):
    """Anonymous memory of a process and its children now."""
    total = 0
    todo = [pid]
    for p in todo:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{p}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
            for line in pathlib.Path(f"/proc/{p}/status").read_text(
                    encoding="ascii").splitlines():
                if line.startswith("RssAnon:"):
                    kib = int(line.split()[1])
                    total += kib
    return total


class Watch:
    """The high water of anonymous memory of a daemon and its helpers."""

    def __init__(self, pid):
        self.pid, self.node, self.all, self.end = pid, 0, 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        """Until told to end."""
        while not self.end:
            with contextlib.suppress(OSError):
                for line in pathlib.Path(
                        f"/proc/{self.pid}/status").read_text(
                            encoding="ascii").splitlines():
                    if line.startswith("RssAnon:"):
                        self.node = max(self.node, int(line.split()[1]))
            self.all = max(self.all, anon_kib(self.pid))
            time.sleep(0.02)

    def stop(self):
        """(daemon alone, with its helpers), MiB."""
        self.end = True
        self.thread.join()
        return self.node / 1024, self.all / 1024


class Tool:
    """One store.  Steps are timed by bench(), in this order."""
    name = ""

    def __init__(self, top):
        self.top = top
        self.repo = top / "repo"
        self.env = {**os.environ, "HOME": str(top)}
        self.rss = 0

    def run(self, *cmd, **kw):
        """Run to its end; keeps the largest resident size (MiB)."""
        with tempfile.TemporaryFile() as err:
            p = subprocess.Popen([str(c) for c in cmd], env=self.env,
                                 stdout=subprocess.DEVNULL, stderr=err, **kw)
            _, status, used = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
            err.seek(0)
            assert p.returncode == 0, f"{cmd}: {err.read()[-2000:]}"
        self.rss = max(self.rss, used.ru_maxrss / 1024)

    def cpu(self):
        """CPU seconds so far of all that belongs to it."""
        return children_cpu()

    def size(self):
        """Bytes it keeps."""
        return size_of(self.repo)

    def between(self):
        """What comes between the second run and the restore; not timed."""

    def close(self):
        """End it."""


class Restic(Tool):
    """restic with its default settings: encrypted, zstd."""
    name = "restic"

    def open(self):
        """An empty repository."""
        self.env |= {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY":
                     str(self.repo), "RESTIC_CACHE_DIR":
                     str(self.top / "cache"), "RESTIC_PROGRESS_FPS": "0.1"}
        self.run("restic", "-q", "init", "--repository-version", "2")

    def add(self, work):
        """Back a folder up."""
        self.run("restic", "-q", "backup", "--compression", "auto", work)

    def restore(self, out):
        """Everything onto the disk."""
        self.run("restic", "-q", "restore", "latest", "--target", out)


class Borg(Tool):
    """borg, zstd level 3, repokey-blake2."""
    name = "borg"
    n = 0

    def open(self):
        """An empty repository."""
        self.env |= {"BORG_PASSPHRASE": "bench",
                     "BORG_BASE_DIR": str(self.top / "base"),
                     "BORG_REPO": str(self.repo)}
        self.run("borg", "init", "-e", "repokey-blake2")

    def add(self, work):
        """Back a folder up."""
        self.n += 1
        self.run("borg", "create", "-C", "zstd,3", f"::a{self.n}", work)

    def restore(self, out):
        """Everything onto the disk."""
        out.mkdir()
        self.run("borg", "extract", f"::a{self.n}", cwd=out)


class Casync(Tool):
    """casync: chunks, no encryption."""
    name = "casync"

    def open(self):
        """An empty store."""
        self.repo.mkdir()

    def add(self, work):
        """An archive of a folder."""
        self.run("casync", "make", "--without=all", "--store",
                 self.repo / "s.castr", self.repo / "a.caidx", work)

    def restore(self, out):
        """Everything onto the disk."""
        self.run("casync", "extract", "--without=all", "--store",
                 self.repo / "s.castr", self.repo / "a.caidx", out)


class Annex(Tool):
    """git-annex: whole files by hash, no compression, no encryption."""
    name = "git-annex"

    def open(self):
        """An empty repository."""
        self.repo.mkdir()
        for cmd in (("init", "-q"), ("config", "user.email", "b@bench"),
                    ("config", "user.name", "b"), ("annex", "init", "-q")):
            self.run("git", *cmd, cwd=self.repo)

    def add(self, work):
        """Files must lie in it: they are linked there first."""
        shutil.rmtree(self.repo / "w", ignore_errors=True)
        subprocess.run(["cp", "-rl", work, self.repo / "w"], check=True)
        self.run("git", "annex", "add", "-q", "w", cwd=self.repo)
        self.run("git", "commit", "-q", "--allow-empty", "-m", "w",
                 cwd=self.repo)

    def restore(self, out):
        """Its files lie there already."""
        out.mkdir()


class Pesscara(Tool):
    """Our node: identified data kept as they are, so that it does the work
    of the others; the de-identifying run is reported beside it."""
    name = "pesscara"
    deid = False

    def open(self):
        """A node with one share."""
        self.rss_all = 0
        self.node = Node(e2e.BIN, self.top / "home", "bench")
        self.node.init(dicom__listen="off", peers__listen="off",
                       rest__listen="off")
        self.node.start()
        self.node.cli("share", "create", SHARE, "--compartment", "images",
                      "--allow-identified")
        self.node.cli("share", "grant", SHARE, self.node.json("id")["key"],
                      "--role", "writer", "--compartment", "images")
        self.watch = Watch(self.node.proc.pid)

    def cpu(self):
        """Daemon, its ended helpers, and the command line."""
        return children_cpu() + proc_cpu(self.node.proc.pid)

    def import_(self, work):
        """The states of the files."""
        how = () if self.deid else ("--no-deid", "--reason", "bench")
        done = self.node.cli("import", work, "--share", SHARE,
                             "--compartment", "images", *how, timeout=3600)
        self.said = done.stdout.strip().splitlines()[-1]

    def add(self, work):
        """Import a folder."""
        self.import_(work)

    def between(self):
        """Only what was released can be had again."""
        ids = [i["id"] for i in self.node.rows("quarantine", "list")]
        before = self.cpu()
        wall = time.monotonic()
        for i in ids:
            self.node.cli("quarantine", "release", i, "--reason", "bench")
        self.release = (time.monotonic() - wall, self.cpu() - before)

    def restore(self, out):
        """Every series onto the disk."""
        rows = self.node.rows("find", "level=series", "--limit", "100000")
        self.node.cli("get", "-o", out, *[r["id"] for r in rows],
                      timeout=3600)

    def size(self):
        """Segments up to their end, and the index."""
        return self.node.json("status")["store"]["stored_bytes"]

    def close(self):
        """End the node."""
        self.rss, self.rss_all = self.watch.stop()
        self.node.stop()


class PesscaraDeid(Pesscara):
    """The same with the basic profile: two forms of each file are kept."""
    name = "pesscara (basic profile)"
    deid = True


PEERS = {"restic": Restic, "borg": Borg, "casync": Casync,
         "git-annex": Annex}


def cost(tool, fn):
    """(wall, CPU) seconds of a step."""
    cpu, wall = tool.cpu(), time.monotonic()
    fn()
    return time.monotonic() - wall, tool.cpu() - cpu


def bench(cls, top, plain, edited):
    """All steps of one tool in one round: step -> (wall, cpu) or bytes."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    work = top / "work"
    replace(work, plain)
    tool = cls(top)
    tool.open()
    time.sleep(4)  # files just written are not known by their inode yet
    empty = tool.size()
    got = {}
    try:
        got["first"] = cost(tool, lambda: tool.add(work))
        got["size"] = tool.size() - empty
        time.sleep(0.5)
        got["again"] = cost(tool, lambda: tool.add(work))
        tool.between()
        got["out"] = cost(tool, lambda: tool.restore(top / "out"))
        n = len(files_of(top / "out"))
        if n < len(files_of(plain)) and cls is not Annex:
            print(f"  {tool.name}: only {n} files came back")
        shutil.rmtree(top / "out", ignore_errors=True)
        size = tool.size()
        replace(work, edited)
        got["edit"] = cost(tool, lambda: tool.add(work))
        got["grew"] = tool.size() - size
        if isinstance(tool, Pesscara):
            got["release"] = tool.release
    finally:
        tool.close()
    got["rss"] = tool.rss
    got["rss_all"] = getattr(tool, "rss_all", tool.rss)
    shutil.rmtree(top, ignore_errors=True)
    return got


# --- the report ---

def median(rounds, step, part=None):
    """Of one figure over the rounds; None if it was not taken."""
    have = [r[step] if part is None else r[step][part] for r in rounds
            if step in r]
    return statistics.median(have) if have else None


def best(peers, what, fn, high=True):
    """(value, name) of the peer that does it best."""
    all_ = [(fn(r), name) for name, r in peers.items()
            if name not in what and fn(r) is not None]
    return (max if high else min)(all_) if all_ else (None, "")


def line(goal, what, ours, unit, peer, target, high=True):
    """One row: ours, the best peer, the ratio, the goal."""
    value, name = peer
    ratio = "" if value is None else (
        f"{ours / value:8.2f}x" if high else
        f"1/{value / ours:<6.1f}" if ours > 0 else "")
    beside = "" if value is None else f"{value:10.3f} {name}"
    print(f"{goal:>4} {what:34}{ours:10.3f} {unit:9}{beside:24}{ratio:10} "
          f"{target}", flush=True)


def report(got, size, n):
    """The goals of the store, ours beside the best peer."""
    ours = got["pesscara"]
    peers = {k: v for k, v in got.items() if not k.startswith("pesscara")}
    mb = size / 1e6

    def rate(step, part):
        return lambda r: mb / max(median(r, step, part), 1e-3)

    print(f"\n{'goal':>4} {'':34}{'ours':>10} {'':9}{'best peer':24}"
          f"{'ratio':10} target")
    line("3", "store size", median(ours, "size") / size, "of input",
         best(peers, (), lambda r: median(r, "size") / size, False),
         "0.24 of input, 0.56 of borg", False)
    line("4", "header edit: growth per instance",
         median(ours, "grew") / n, "bytes",
         best(peers, (), lambda r: median(r, "grew") / n, False),
         "<= 380 bytes", False)
    line("5", "header edit", rate("edit", 1)(ours), "MB/s.cpu",
         best(peers, (), rate("edit", 1)), ">= 1,000")
    line("", "  wall", rate("edit", 0)(ours), "MB/s",
         best(peers, (), rate("edit", 0)), "")
    line("6", "first run", rate("first", 1)(ours), "MB/s.cpu",
         best(peers, ("git-annex",), rate("first", 1)), ">= 270")
    line("", "  wall", rate("first", 0)(ours), "MB/s",
         best(peers, ("git-annex",), rate("first", 0)), ">= 420")
    line("7", "second run, per 1,000 files",
         median(ours, "again", 1) * 1e6 / n, "ms CPU",
         best(peers, (), lambda r: median(r, "again", 1) * 1e6 / n, False),
         "<= 5.5 ms", False)
    line("", "  wall", median(ours, "again", 0) * 1e6 / n, "ms",
         best(peers, (), lambda r: median(r, "again", 0) * 1e6 / n, False),
         "", False)
    line("8", "restore", rate("out", 1)(ours), "MB/s.cpu",
         best(peers, ("git-annex",), rate("out", 1)), ">= 320")
    line("", "  wall", rate("out", 0)(ours), "MB/s",
         best(peers, ("git-annex",), rate("out", 0)), ">= 550")
    line("25", "memory of the node", median(ours, "rss"), "MiB anon",
         best(peers, (), lambda r: median(r, "rss"), False), "<= 48", False)
    line("", "  with its helpers", median(ours, "rss_all"), "MiB anon",
         (None, ""), "")
    print("\n" + f"{'':26}{'first':>16}{'again':>16}{'edit':>16}{'out':>16}"
          f"{'size MB':>9}{'grew MB':>9}{'MiB':>6}  (wall s / CPU s)")
    for name, r in got.items():
        cells = "".join(
            f"{median(r, s, 0):9.2f} /{median(r, s, 1):5.2f}"
            for s in ("first", "again", "edit", "out"))
        print(f"{name:26}{cells}{median(r, 'size') / 1e6:9.1f}"
              f"{median(r, 'grew') / 1e6:9.2f}{median(r, 'rss'):6.0f}")
    print(f"release of everything: {median(ours, 'release', 0):.2f} s, "
          f"{median(ours, 'release', 1):.2f} s CPU")


def run(corpus, top, rounds, with_peers):
    """The theme."""
    edited = top / "edited"
    retag(corpus, edited)
    n = len(files_of(corpus))
    size = sum(f.stat().st_size for f in files_of(corpus))
    print(f"store: {n} files, {size / 1e6:.1f} MB, {os.cpu_count()} cores, "
          f"{rounds} rounds", flush=True)
    tools = [Pesscara, PesscaraDeid]
    for name, cls in PEERS.items() if with_peers else ():
        if shutil.which(name):
            tools.append(cls)
        else:
            print(f"  {name} is not installed")
    got = {cls.name: [] for cls in tools}
    for _ in range(rounds):
        for cls in tools:
            got[cls.name].append(bench(cls, top / "run", corpus, edited))
    report(got, size, n)
