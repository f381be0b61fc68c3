"""Real networks for real daemons: each site in a network namespace of its own,
joined to a hub by a cable that is long, lossy, narrow, cut, or open one way.

The test runs itself again inside namespaces (unshare), as root or, where the
kernel lets users make namespaces, as anybody: addresses, rules and mounts are
seen only in there and end with it. Delay and loss are made by `wire`, a
program behind NFQUEUE; rate by tc tbf. What the machine lacks is said, with
exit code 77.
"""
import os
import pathlib
import shutil
import subprocess
import sys

MARK = "PSC_IN_NETNS"
TOOLS = ("unshare", "nsenter", "ip", "tc", "iptables", "mount", "umount")


def skip(why):
    """Not a failure: this machine cannot run the test."""
    print("SKIP:", why)
    sys.exit(77)


def call(*args, check=True):
    """A system tool; what it prints."""
    done = subprocess.run([str(a) for a in args], capture_output=True,
                          text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}: "
                           f"{done.stderr.strip()}")
    return done.stdout


def enter(bin_dir):
    """Returns inside the sandbox; outside, runs the test there and ends."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.environ.get(MARK):
        os.environ["XTABLES_LOCKFILE"] = "/run/xtables.lock"
        call("mount", "-t", "tmpfs", "none", "/run")
        call("ip", "link", "set", "lo", "up")
        return
    for tool in TOOLS:
        if not shutil.which(tool):
            skip(f"no {tool}")
    if not os.path.exists(f"{bin_dir}/wire"):
        skip("built without libnetfilter-queue-dev")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    # a process namespace too: what the test started ends with it, however
    cmd = ["unshare", *user, "--mount", "--net", "--propagation", "private",
           "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = ("ip link add va type veth peer name vb && ip link set lo up && "
             "mount -t tmpfs none /run && "
             "XTABLES_LOCKFILE=/run/xtables.lock "
             "iptables -A OUTPUT -j NFQUEUE --queue-num 1 && "
             "tc qdisc add dev va root tbf rate 1mbit burst 32kb latency 1s")
    done = subprocess.run(cmd + ["sh", "-c", probe], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        skip("no network namespaces, NFQUEUE or tbf here: "
             + (done.stderr.strip().splitlines() or ["?"])[-1])
    os.environ[MARK] = "1"
    os.execvp("unshare", cmd + [sys.executable] + sys.argv)


class Cable:
    """Between a site's namespace and the hub's, which is the sandbox's own.

    The site is 10.77.no.2, the hub 10.77.no.1 on it."""

    def __init__(self, bin_dir, site, no):
        self.bin = pathlib.Path(bin_dir)
        self.ns, self.here, self.there = site, f"h{no}", f"s{no}"
        self.hub = f"10.77.{no}.1"
        self.wrap = ["nsenter", f"--net=/run/netns/{site}"]
        self.wires = []
        call("ip", "netns", "add", site)
        call("ip", "link", "add", self.here, "type", "veth", "peer", "name",
             self.there)
        call("ip", "link", "set", self.there, "netns", site)
        call("ip", "addr", "add", f"{self.hub}/24", "dev", self.here)
        call("ip", "link", "set", self.here, "up")
        call("ip", "-n", site, "addr", "add", f"10.77.{no}.2/24", "dev",
             self.there)
        for dev in (self.there, "lo"):
            call("ip", "-n", site, "link", "set", dev, "up")

    def is_as(self, rtt_ms=0, loss=0, mbit=0):
        """From now on: round trip, packets lost of 1,000, rate each way."""
        self.clean()
        if mbit:
            tbf = ("root", "tbf", "rate", f"{mbit}mbit", "burst", "32kb",
                   "latency", "200ms")
            call("tc", "qdisc", "add", "dev", self.here, *tbf)
            call("tc", "-n", self.ns, "qdisc", "add", "dev", self.there, *tbf)
        if not rtt_ms and not loss:
            return
        for queue, chain, way in ((0, "INPUT", "-i"), (1, "OUTPUT", "-o")):
            wire = subprocess.Popen(
                self.wrap + [str(self.bin / "wire"), str(queue),
                             str(rtt_ms // 2), str(loss), str(queue + 7)],
                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            assert wire.stdout.readline() == b"ready\n", "wire ended"
            self.wires.append(wire)
            self.rule("-A", chain, way, self.there, "-j", "NFQUEUE",
                      "--queue-num", queue)

    def rule(self, *args):
        """A rule of the site's packet filter."""
        call(*self.wrap, "iptables", *args)

    def deaf(self):
        """One way only: the site's packets arrive, none comes to it."""
        self.rule("-I", "INPUT", "-i", self.there, "-j", "DROP")

    def carrier(self, on):
        """Plugged in or not."""
        call("ip", "link", "set", self.here, "up" if on else "down")

    def clean(self):
        """A short, fast, whole cable."""
        self.rule("-F")
        for wire in self.wires:
            wire.kill()
            wire.wait()
            wire.stdout.close()
        self.wires = []
        call("tc", "qdisc", "del", "dev", self.here, "root", check=False)
        call("tc", "-n", self.ns, "qdisc", "del", "dev", self.there, "root",
             check=False)

    def ping_ms(self):
        """The round trip, as ping sees it."""
        out = call(*self.wrap, sys.executable, "-c", PING, self.hub)
        return float(out)


# a refused connection takes exactly one round trip
PING = """
import socket, sys, time
s = socket.socket()
t = time.monotonic()
s.connect_ex((sys.argv[1], 9))
print((time.monotonic() - t) * 1000)
"""
