"""Start, ask and stop real Pesscara nodes on loopback (demo and tests)."""
import json
import os
import pathlib
import signal
import subprocess
import time


class Failed(Exception):
    """A command did not do what it was asked to."""


class Node:
    """One node: a home folder and the pesscarad process that serves it."""

    def __init__(self, bin_dir, home, site):
        self.bin = pathlib.Path(bin_dir)
        self.home = pathlib.Path(home)
        self.site = site
        self.wrap = []  # runs the daemon elsewhere (netns.py)
        self.proc = None

    def cli(self, *args, check=True, timeout=120):
        """Run the CLI; returns the CompletedProcess."""
        cmd = [str(self.bin / "pesscara"), "--home", str(self.home)]
        done = subprocess.run(cmd + [str(a) for a in args], text=True,
                              capture_output=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, check=False)
        if check and done.returncode != 0:
            raise Failed(f"{self.site}: pesscara {' '.join(map(str, args))}: "
                         f"exit {done.returncode}\n{done.stderr}")
        return done

    def json(self, *args, **kw):
        """One JSON document."""
        return json.loads(self.cli(*args, "--json", **kw).stdout)

    def rows(self, *args, **kw):
        """One JSON object a line."""
        out = self.cli(*args, "--json", **kw).stdout
        return [json.loads(line) for line in out.splitlines() if line]

    def init(self, **settings):
        """Make the home. settings: dotted keys with __ for the dot."""
        args = ["init", "--site", self.site, "--unattended",
                "--recovery-file", f"{self.home}.recovery"]
        for key, value in settings.items():
            args += ["--set", f"{key.replace('__', '.')}={value}"]
        self.home.parent.mkdir(parents=True, exist_ok=True)
        return self.json(*args)

    def start(self, wait=True, env=None):
        """Start the daemon; the log goes beside the home."""
        with open(f"{self.home}.log", "ab") as log:
            self.proc = subprocess.Popen(
                self.wrap + [str(self.bin / "pesscarad"), "--home",
                             str(self.home)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**os.environ, **(env or {})})
        pathlib.Path(f"{self.home}.pid").write_text(f"{self.proc.pid}\n",
                                                    encoding="ascii")
        if wait:
            self.wait_up()

    def wait_up(self, seconds=20):
        """Until the node answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise Failed(f"{self.site}: pesscarad ended with "
                             f"{self.proc.returncode}: {self.log_tail()}")
            if self.cli("status", "--json", check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise Failed(f"{self.site}: not up after {seconds} s: "
                     f"{self.log_tail()}")

    def log_tail(self, lines=15):
        """The last lines of the daemon's log."""
        text = pathlib.Path(f"{self.home}.log").read_text(
            encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def port(self, which):
        """The port it listens on: dicom, peers or rest."""
        return int(self.json("status")["listen"][which].rsplit(":", 1)[1])

    def kill(self):
        """kill -9, as a power cut for the process."""
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait(10)

    def stop(self):
        """SIGTERM and wait."""
        if self.proc is None or self.proc.poll() is not None:
            return
        self.proc.terminate()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(5)


def until(what, seconds, fn, every=0.05):
    """Call fn until it returns something true; that is returned."""
    end = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(every)


def storescu(port, calling_ae, files, called_ae="PESSCARA", wrap=()):
    """Send files by C-STORE over loopback; the finished process."""
    return subprocess.run(
        [*wrap, "storescu", "-xs", "-aet", calling_ae, "-aec", called_ae,
         "127.0.0.1", str(port)] + [str(f) for f in files],
        text=True, capture_output=True, timeout=300, check=False,
        env={**os.environ, "TCP_NODELAY": "1"})
