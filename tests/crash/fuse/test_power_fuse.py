#!/usr/bin/python3
"""Claim: a store on a real ext4 file system loses nothing it acknowledged
when the power goes.

blocklog is a disk that logs every write and flush; ext4 lies on it through a
loop device; crash_steps works there.  Then the disk is built again as it was
at random moments: all that was flushed, a random half of the blocks written
since; ext4 recovers it, and crash_steps looks whether the store is whole and
holds what was acknowledged by then.

Needs root, /dev/fuse, loop devices, ext4: exit code 77 says which is missing.
PSC_FUSE_STATES sets how many moments are tried."""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

STATES = int(os.environ.get("PSC_FUSE_STATES") or
             (500 if os.environ.get("PSC_LONG") else 50))
MEGABYTES = 32
BLOCK = 4096
FLUSH = 2**64 - 1
BIN = os.environ["PSC_BIN"]


def skip(why):
    print("SKIP:", why)
    sys.exit(77)


def call(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr.strip()}")
    return done.stdout.strip()


def needs():
    if os.geteuid() != 0:
        skip("not root, so no mounts")
    if not os.path.exists("/dev/fuse"):
        skip("no /dev/fuse")
    if not os.path.exists(BIN + "/blocklog"):
        skip("built without libfuse3-dev")
    for tool in ("losetup", "mkfs.ext4", "mount", "umount", "fusermount3"):
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            skip("no " + tool)


class Mounted:
    """An image file as an ext4 file system at a folder."""

    def __init__(self, image, folder):
        self.folder = folder
        self.image = image

    def __enter__(self):
        self.loop = call("losetup", "--find", "--show", self.image)
        try:
            call("mount", "-t", "ext4", self.loop, self.folder)
        except RuntimeError:
            call("losetup", "-d", self.loop)
            raise
        return self.folder

    def __exit__(self, *_):
        call("umount", self.folder)
        call("losetup", "-d", self.loop)


def record(work):
    """Runs the steps; gives the log of the disk and what was told."""
    fuse, mnt, log = work + "/fuse", work + "/mnt", work + "/log"
    os.mkdir(fuse)
    os.mkdir(mnt)
    disk = subprocess.Popen([BIN + "/blocklog", str(MEGABYTES), log, fuse])
    try:
        for _ in range(100):
            if os.path.exists(fuse + "/disk.img"):
                break
            if disk.poll() is not None:
                skip("a FUSE file system cannot be mounted here")
            time.sleep(0.05)
        try:
            loop = call("losetup", "--find", "--show", fuse + "/disk.img")
            call("losetup", "-d", loop)
        except RuntimeError as e:
            skip(f"no loop device: {e}")
        call("mkfs.ext4", "-q", "-b", str(BLOCK), "-J", "size=4",
             fuse + "/disk.img")
        with Mounted(fuse + "/disk.img", mnt):
            ran = subprocess.run(
                [BIN + "/crash_steps", "run", mnt + "/store", fuse + "/pos"],
                capture_output=True, text=True)
            if ran.returncode != 0:
                sys.exit(ran.stdout + ran.stderr)
    finally:
        subprocess.run(["fusermount3", "-u", fuse], check=False)
        disk.wait(10)
    told = [line.split() for line in ran.stdout.splitlines()]
    return log, [(w[0], int(w[1]), int(w[2])) for w in told
                 if len(w) == 3 and w[0] in ("begun", "done", "refused")]


def records(log):
    out = []
    with open(log, "rb") as f:
        while head := f.read(16):
            off, n = struct.unpack("<QQ", head)
            out.append(None if off == FLUSH else (off, f.read(n)))
    return out


def outcomes(told, cut):
    """What crash_steps check is to expect: one digit a step."""
    steps = int(call(BIN + "/crash_steps", "steps"))
    out = ["0"] * steps
    for what, step, pos in told:
        if pos > cut:
            continue
        out[step - 1] = {"begun": "1", "done": "2", "refused": "3"}[what]
    return "".join(out)


class Disk:
    """The disk as the log goes by; cuts must ascend."""

    def __init__(self, log):
        self.log = log
        self.base = bytearray(MEGABYTES << 20)
        self.at = 0

    def cut(self, cut, rng):
        flushed = max((i + 1 for i in range(self.at, cut)
                       if self.log[i] is None), default=self.at)
        for i in range(self.at, flushed):
            self.put(self.base, i)
        self.at = flushed
        image = bytearray(self.base)
        lost = 0
        for i in range(flushed, cut):
            lost += self.put(image, i, rng)
        return image, lost

    def put(self, image, i, rng=None):
        if self.log[i] is None:
            return 0
        off, data = self.log[i]
        lost = 0
        for at in range(0, len(data), BLOCK):
            if rng is not None and rng.random() < 0.5:
                lost += 1
                continue
            part = data[at:at + BLOCK]
            image[off + at:off + at + len(part)] = part
        return lost


def main():
    needs()
    rng = random.Random(31)
    work = tempfile.mkdtemp(prefix="psc_fuse_", dir="/dev/shm")
    lossy = 0
    try:
        log, told = record(work)
        disk = Disk(records(log))
        first = min(pos for _, _, pos in told)
        cuts = sorted(rng.randint(first, len(disk.log))
                      for _ in range(STATES))
        for cut in cuts:
            image, lost = disk.cut(cut, rng)
            lossy += lost > 0
            with open(work + "/image", "wb") as f:
                f.write(image)
            with Mounted(work + "/image", work + "/mnt") as mnt:
                got = subprocess.run(
                    [BIN + "/crash_steps", "check", mnt + "/store",
                     outcomes(told, cut)], capture_output=True, text=True)
            if got.returncode != 0:
                sys.exit(f"cut {cut}: {got.stdout}{got.stderr}")
        flushes = sum(r is None for r in disk.log)
        print(f"{len(disk.log)} records, {flushes} flushes, {STATES} cuts, "
              f"{lossy} of them lost blocks that were not flushed")
        if STATES >= 50 and lossy < STATES // 10:
            sys.exit("the cuts lost nothing: this proves little")
    finally:
        shutil.rmtree(work)


main()
