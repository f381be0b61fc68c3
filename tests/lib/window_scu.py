"""A C-STORE sender that asks for an asynchronous operations window (PS3.7
D.3.3.3) and uses it, which no tool of dcmtk does."""
import pathlib
import select
import socket
import struct

import pydicom

PDV_MAX = 131066  # the node takes PDUs of 128 KiB


def item(kind, body):
    """An item of an association PDU."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def element(tag, body):
    """An element of a command set: group 0, implicit little endian."""
    return struct.pack("<HHI", 0, tag, len(body)) + body


def uid(text):
    """A UID of even length."""
    return text.encode() + b"\0" * (len(text) % 2)


class Rejected(Exception):
    """A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)."""


class WindowScu:
    """One association; send() as often as you like, then finish()."""

    def __init__(self, port, calling, kinds, window=0, source="127.0.0.1"):
        """kinds: (SOP class, transfer syntax) pairs; window: to be asked for,
        0: as many as the node likes; source: the address we come from.
        Rejected is raised with result, source and reason."""
        self.contexts = {k: 2 * i + 1 for i, k in enumerate(sorted(kinds))}
        body = struct.pack(">HH", 1, 0)
        body += b"PESSCARA        " + calling.ljust(16).encode()
        body += bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
        for (sop, syntax), no in self.contexts.items():
            body += item(0x20, bytes([no, 0, 0, 0]) + item(
                0x30, sop.encode()) + item(0x40, syntax.encode()))
        body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(
            0x53, struct.pack(">HH", window, 1)))
        self.sock = socket.create_connection(
            ("127.0.0.1", port), timeout=30, source_address=(source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
        kind, accept = self.pdu()
        if kind == 3:
            self.sock.close()
            raise Rejected(*accept[1:4])
        assert kind == 2, f"no association: PDU {kind}"
        at = accept.rfind(b"\x53\0\0\4")
        self.window = struct.unpack_from(
            ">H", accept, at + 4)[0] if at >= 0 else 1
        self.sent = {}  # message id -> SOP instance UID, not answered
        self.answers = {}  # SOP instance UID -> status
        self.most = 0  # that were ever unanswered
        self.next_id = 1

    def pdu(self):
        """The next one: type, body."""
        head = self.exactly(6)
        return head[0], self.exactly(struct.unpack(">I", head[2:])[0])

    def exactly(self, n):
        """So many bytes."""
        got = b""
        while len(got) < n:
            more = self.sock.recv(n - len(got))
            if not more:
                raise ConnectionError("the node closed the association")
            got += more
        return got

    def take(self):
        """One answer."""
        kind, body = self.pdu()
        assert kind == 4, f"PDU {kind} instead of an answer"
        at, found = 6, {}
        while at < len(body):
            _, tag, n = struct.unpack_from("<HHI", body, at)
            found[tag] = body[at + 8:at + 8 + n]
            at += 8 + n
        no, = struct.unpack("<H", found[0x0120])
        self.answers[self.sent.pop(no)] = struct.unpack(
            "<H", found[0x0900])[0]

    def send(self, path):
        """A Part 10 file, once the window has room for it."""
        while self.sent and (len(self.sent) >= self.window or select.select(
                [self.sock], [], [], 0)[0]):
            self.take()
        meta = pydicom.filereader.read_file_meta_info(str(path))
        raw = pathlib.Path(path).read_bytes()
        data = raw[144 + struct.unpack_from("<I", raw, 140)[0]:]
        no, self.next_id = self.next_id, self.next_id % 65535 + 1
        cmd = element(0x0002, uid(meta.MediaStorageSOPClassUID))
        for tag, value in ((0x0100, 1), (0x0110, no), (0x0700, 0),
                           (0x0800, 1)):
            cmd += element(tag, struct.pack("<H", value))
        cmd += element(0x1000, uid(meta.MediaStorageSOPInstanceUID))
        cmd = element(0x0000, struct.pack("<I", len(cmd))) + cmd
        ctx = self.contexts[
            meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID]
        self.sent[no] = str(meta.MediaStorageSOPInstanceUID)
        self.most = max(self.most, len(self.sent))
        out = self.data(ctx, cmd, 3)
        for at in range(0, len(data), PDV_MAX):
            last = at + PDV_MAX >= len(data)
            out += self.data(ctx, data[at:at + PDV_MAX], 2 if last else 0)
        self.sock.sendall(out)

    @staticmethod
    def data(ctx, body, flags):
        """A P-DATA-TF PDU of one PDV."""
        return struct.pack(
            ">BBIIBB", 4, 0, len(body) + 6, len(body) + 2, ctx, flags) + body

    def finish(self):
        """Every answer, then release."""
        while self.sent:
            self.take()
        self.sock.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        kind, _ = self.pdu()
        assert kind == 6, f"PDU {kind} instead of a release"
        self.sock.close()


def kinds_of(paths):
    """What WindowScu needs to know of files."""
    metas = [pydicom.filereader.read_file_meta_info(str(p)) for p in paths]
    return {(str(m.MediaStorageSOPClassUID), str(m.TransferSyntaxUID))
            for m in metas}
