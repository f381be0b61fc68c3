"""Real archives on loopback: Orthanc, and dcmtk's dcmqrscp."""
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import urllib.request

from nodes import Failed, storescu, until


def free_port():
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Archive:
    """A process that takes images in and gives them back."""

    ae = ""

    def __init__(self, top, to_ae, to_port):
        """to_ae at 127.0.0.1:to_port is where it may move images to."""
        self.port = free_port()
        self.dir = top / self.ae.lower()
        (self.dir / "db").mkdir(parents=True)
        self.run(to_ae, to_port)

    def run(self, to_ae, to_port):
        """Start it, and wait until it answers."""
        self.to = to_ae, to_port
        self.log = open(self.dir / "log", "ab")
        self.proc = subprocess.Popen(
            self.command(to_ae, to_port), stdout=self.log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "TCP_NODELAY": "1"})
        until(f"{self.ae} answers", 30, self.up)

    def command(self, to_ae, to_port):
        """What to run, after the config was written."""
        raise NotImplementedError

    def up(self):
        """Does it answer C-ECHO?"""
        if self.proc.poll() is not None:
            raise Failed((self.dir / "log").read_text(errors="replace"))
        return subprocess.run(
            ["echoscu", "-to", "2", "-aec", self.ae, "127.0.0.1",
             str(self.port)],
            capture_output=True, check=False).returncode == 0

    def take(self, files):
        """Images into it."""
        done = storescu(self.port, "TEST", files, self.ae)
        assert done.returncode == 0, done.stderr

    def stop(self):
        """End it."""
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(5)
        self.log.close()


class Orthanc(Archive):
    """Debian's Orthanc."""

    ae = "ORTHANC"
    http = 0  # a port, if its REST interface is wanted

    def rest(self, path, body=None):
        """GET, or POST of body."""
        url = f"http://127.0.0.1:{self.http}{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(url, data, timeout=20) as answer:
            return json.loads(answer.read())

    def command(self, to_ae, to_port):
        exe = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        conf = {"Name": "test", "StorageDirectory": str(self.dir / "db"),
                "IndexDirectory": str(self.dir / "db"),
                "HttpServerEnabled": self.http != 0, "HttpPort": self.http,
                "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
                "DicomServerEnabled": True,
                "DicomAet": self.ae, "DicomPort": self.port,
                "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
                "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowFind": True,
                "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True,
                "DicomModalities": {"us": {
                    "AET": to_ae, "Host": "127.0.0.1", "Port": to_port,
                    "AllowGet": True, "AllowMove": True, "AllowFind": True,
                    "AllowStorageCommitment": True}},
                "Plugins": []}
        path = self.dir / "orthanc.json"
        path.write_text(json.dumps(conf))
        return [exe, str(path)]


class Dcmqrscp(Archive):
    """dcmtk's image archive."""

    ae = "QRSCP"

    def command(self, to_ae, to_port):
        path = self.dir / "dcmqrscp.cfg"
        path.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\n"
            "MaxAssociations = 16\nHostTable BEGIN\n"
            f"us = ({to_ae}, 127.0.0.1, {to_port})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
            f"{self.ae} {self.dir / 'db'} RW (200, 1024mb) ANY\n"
            "AETable END\n")
        return ["dcmqrscp", "-c", str(path), str(self.port)]


class Liar:
    """An archive that answers every C-FIND with the rows it was given (bytes
    of datasets, implicit little endian), or, without any, with noise."""

    def __init__(self, rows):
        self.rows = rows
        self.listen = socket.create_server(("127.0.0.1", 0))
        self.port = self.listen.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Callers, one by one."""
        while True:
            s, _ = self.listen.accept()
            try:
                self.talk(s)
            except (OSError, struct.error):
                pass
            s.close()

    @staticmethod
    def pdu(s):
        """Its type and body."""
        head = s.recv(6, socket.MSG_WAITALL)
        n, = struct.unpack(">I", head[2:])
        return head[0], s.recv(n, socket.MSG_WAITALL)

    @staticmethod
    def data(s, flags, body):
        """A P-DATA-TF PDU in context 1."""
        s.sendall(struct.pack(">BBIIBB", 4, 0, len(body) + 6, len(body) + 2,
                              1, flags) + body)

    def respond(self, s, status, has_data):
        """A C-FIND-RSP to message 1."""
        cmd = b"".join(
            struct.pack("<HHIH", 0, tag, 2, v) for tag, v in (
                (0x0100, 0x8020), (0x0120, self.message),
                (0x0800, 1 if has_data else 0x0101), (0x0900, status)))
        self.data(s, 3, struct.pack("<HHII", 0, 0, 4, len(cmd)) + cmd)

    def talk(self, s):
        """One association."""
        kind, body = self.pdu(s)
        assert kind == 1
        syntax = b"1.2.840.10008.1.2"
        accept = bytes(68) + struct.pack(
            ">BBHBBBBBBH", 0x21, 0, 4 + 4 + len(syntax), 1, 0, 0, 0, 0x40, 0,
            len(syntax)) + syntax
        s.sendall(struct.pack(">BBI", 2, 0, len(accept)) + accept)
        self.message = 0
        while True:
            kind, body = self.pdu(s)
            if kind != 4:
                return
            self.message += 1
            self.pdu(s)  # the identifier
            if not self.rows:
                s.sendall(os.urandom(4096))
                return
            for row in self.rows:
                self.respond(s, 0xFF00, True)
                self.data(s, 2, row)
            self.respond(s, 0, False)


def element(group, tag, text):
    """An element of a row."""
    text = text.encode() + b"\0" * (len(text) % 2)
    return struct.pack("<HHI", group, tag, len(text)) + text
