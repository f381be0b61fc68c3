"""A second, small implementation of the peer protocol (docs/protocol.md).

Written from that document alone. It joins a share by an invite, checks the
membership chain, fetches every op, checks it and opens it with the keys that
it was granted. It serves nothing, asks for no chunks, heeds no freeze and
joins no drafts. Numbers in comments are sections of that document.
"""
import base64
import collections
import hashlib
import hmac
import os
import socket
import struct
import time

import nacl.bindings as sodium

HUB, WRITES, READS = 7, (3, 4), (1, 2, 3, 4, 5, 6)
ALL = 0xFFFF
ZERO = bytes(32)


class Refused(Exception):
    """The other side broke the protocol."""


def need(ok, why):
    """What is not as the document says is refused."""
    if not ok:
        raise Refused(why)


# 1 primitives

def h256(data):
    """H."""
    return hashlib.blake2b(data, digest_size=32).digest()


def hp(key, domain, *parts, n=32):
    """HP."""
    state = hashlib.blake2b(bytes([len(domain)]) + domain, key=key or b"",
                            digest_size=n)
    for part in parts:
        state.update(struct.pack("<Q", len(part)) + part)
    return state.digest()


def signed(domain, data):
    """What a signature is over."""
    return b"psc.sig." + domain + b"\0" + hashlib.blake2b(data).digest()


def sign(secret, domain, data):
    """64 bytes."""
    return sodium.crypto_sign(signed(domain, data), secret)[:64]


def check(public, domain, data, signature, what):
    """Refused unless the key signed it."""
    try:
        sodium.crypto_sign_open(signature + signed(domain, data), public)
    except Exception as e:
        raise Refused(f"signature of {what}") from e


def subkey(key, context, number):
    """crypto_kdf."""
    return hashlib.blake2b(b"", key=key, digest_size=32, person=context,
                           salt=struct.pack("<QQ", number, 0)).digest()


def open_aead(key, nonce, sealed, aad):
    """XChaCha20-Poly1305."""
    try:
        return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed, aad, nonce, key)
    except Exception as e:
        raise Refused("sealed bytes do not open") from e


def from_text(prefix, text):
    """The bytes of a psk1 or psi1 text, without its check bytes."""
    need(text.startswith(prefix), "prefix")
    body = text[len(prefix):].upper()
    return base64.b32decode(body + "=" * (-len(body) % 8))


class Reader:
    """Fields in order; nothing may be left over."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        """n bytes."""
        need(self.at + n <= len(self.data), "short")
        self.at += n
        return self.data[self.at - n:self.at]

    def num(self, n):
        """An integer of n bytes."""
        return int.from_bytes(self.take(n), "little")

    def count(self, most, n=4):
        """A count and its limit."""
        got = self.num(n)
        need(got <= most, "count")
        return got

    def end(self):
        """All was read."""
        need(self.at == len(self.data), "bytes left over")


# 2 identity, 5 invites and claims

class Identity:
    """A site's root and one device of it, made anew."""

    def __init__(self):
        self.site, root = sodium.crypto_sign_keypair()
        self.device, self.secret = sodium.crypto_sign_keypair()
        self.box_secret = os.urandom(32)
        self.box = sodium.crypto_scalarmult_base(self.box_secret)
        body = bytes([1, 1]) + self.site + self.device + self.box + \
            struct.pack("<QI", 1, 0)
        self.cert = body + sign(root, b"cert", body)

    def key_text(self):
        """psk1..."""
        keys = self.site + self.device + self.box
        raw = base64.b32encode(keys + h256(keys)[:4]).decode()
        return "psk1" + raw.lower().rstrip("=")


def parse_key(text):
    """(site, D, X) of a key text."""
    raw = from_text("psk1", text)
    need(len(raw) == 100 and h256(raw[:96])[:4] == raw[96:], "key text")
    return raw[:32], raw[32:64], raw[64:96]


def check_hello(payload, static, newest, oldest):
    """(site, D) of who proved the static key, and the version to speak."""
    need(len(payload) >= 176, "certificate and versions")
    theirs, least = payload[174], payload[175]
    version = min(theirs, newest)
    need(version >= max(least, oldest), "no version in common")
    return check_cert(payload[:174], static), version


def check_cert(cert, static):
    """(site, D) of the certificate of who proved the static key."""
    need(len(cert) == 174 and cert[:2] == b"\1\1", "certificate")
    check(cert[2:34], b"cert", cert[:110], cert[110:], "certificate")
    need(cert[66:98] == static, "certificate of another key")
    return cert[2:34], cert[34:66]


Invite = collections.namedtuple("Invite", "share registrar expiry secret")


def parse_invite(text):
    """An Invite; the addresses in it are not used here."""
    raw = from_text("psi1", text)
    need(hp(None, b"psc.invite.1", raw[:-4])[:4] == raw[-4:], "invite sum")
    r = Reader(raw)
    need(r.num(1) == 1, "invite version")
    return Invite(r.take(32), r.take(32), r.num(8), r.take(16))


def make_claim(me, invite, name):
    """360 bytes that only the registrar can read."""
    invite_id = hp(None, b"psc.invite.id.1", invite.share, invite.secret,
                   n=16)
    bound = hp(None, b"psc.claim.bound.1", invite_id, invite.share, me.cert)
    inside = me.cert + bytes([len(name)]) + name.ljust(64, b"\0") + \
        sign(me.secret, b"claim.1", bound)
    key = hp(None, b"psc.claim.key.1", invite.secret, invite.share,
             invite.registrar)
    nonce = os.urandom(24)
    return bytes([1]) + invite_id + nonce + \
        sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            inside, invite_id, nonce, key)


# 8 session: Noise_XK_25519_ChaChaPoly_BLAKE2b

class Cipher:
    """A key and the number of its next frame."""

    def __init__(self, key):
        self.key, self.n = key, 0

    def _nonce(self):
        self.n += 1
        return struct.pack("<IQ", 0, self.n - 1)

    def seal(self, text, aad=b""):
        """Encrypt."""
        return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
            text, aad, self._nonce(), self.key)

    def open(self, sealed, aad=b""):
        """Decrypt."""
        try:
            return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
                sealed, aad, self._nonce(), self.key)
        except Exception as e:
            raise Refused("a frame does not open") from e

    def rekey(self):
        """Noise 11.3; the count goes on."""
        self.key = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
            ZERO, b"", struct.pack("<IQ", 0, 2**64 - 1), self.key)[:32]


class Handshake:
    """The dialler's half."""

    def __init__(self, static, remote):
        self.static, self.remote = static, remote
        self.hash = b"Noise_XK_25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
        self.chain, self.cipher = self.hash, None
        self.mix_hash(b"pesscara/1")
        self.mix_hash(remote)
        self.ephemeral = os.urandom(32)

    def mix_hash(self, data):
        """h = HASH(h || data)."""
        self.hash = hashlib.blake2b(self.hash + data).digest()

    def hkdf(self, data):
        """Two outputs of 64 bytes."""
        temp = hmac.digest(self.chain, data, "blake2b")
        one = hmac.digest(temp, b"\1", "blake2b")
        return one, hmac.digest(temp, one + b"\2", "blake2b")

    def mix_key(self, secret, public):
        """One Diffie-Hellman."""
        shared = sodium.crypto_scalarmult(secret, public)
        self.chain, key = self.hkdf(shared)
        self.cipher = Cipher(key[:32])

    def seal(self, text):
        """EncryptAndHash."""
        out = self.cipher.seal(text, self.hash)
        self.mix_hash(out)
        return out

    def open(self, sealed):
        """DecryptAndHash."""
        text = self.cipher.open(sealed, self.hash)
        self.mix_hash(sealed)
        return text

    def first(self):
        """-> e, es"""
        public = sodium.crypto_scalarmult_base(self.ephemeral)
        self.mix_hash(public)
        self.mix_key(self.ephemeral, self.remote)
        return public + self.seal(b"")

    def second(self, message):
        """<- e, ee; the responder's certificate."""
        self.mix_hash(message[:32])
        self.mix_key(self.ephemeral, message[:32])
        self.remote_e = message[:32]
        return self.open(message[32:])

    def third(self, cert):
        """-> s, se; ours."""
        out = self.seal(sodium.crypto_scalarmult_base(self.static))
        self.mix_key(self.static, self.remote_e)
        return out + self.seal(cert)

    def split(self):
        """(what we send with, what we receive with)"""
        one, two = self.hkdf(b"")
        return Cipher(one[:32]), Cipher(two[:32])


CONTROL, OPS = 0, 1
WINDOW = (65536, 1 << 20, 8 << 20, 1 << 20)
LONGEST = (65536, 1 << 20, 1 << 20, 1 << 20)
FREE = (0x04, 0x05, 0x06)  # CREDIT, PING, PONG cost no credit
REKEY = 65536


class Session:
    """Messages over frames, with credit (8, 9)."""

    def __init__(self, me, address, key_text, timeout=10, versions=(1, 1)):
        site, device, box = parse_key(key_text)
        self.sock = socket.create_connection(address, timeout)
        self.owed, self.parts = [0] * 4, [b""] * 4
        hs = Handshake(me.box_secret, box)
        self.put(hs.first())
        hello = hs.second(self.get())
        who, self.version = check_hello(hello, box, *versions)
        need(who == (site, device), "another device answers")
        self.put(hs.third(me.cert + bytes(versions)))
        self.hash, (self.tx, self.rx) = hs.hash, hs.split()

    def put(self, data):
        """u16 length + bytes."""
        self.sock.sendall(struct.pack("<H", len(data)) + data)

    def _exact(self, n):
        out = b""
        while len(out) < n:
            got = self.sock.recv(n - len(out))
            if not got:
                raise EOFError("the peer closed")
            out += got
        return out

    def get(self):
        """One of those."""
        return self._exact(struct.unpack("<H", self._exact(2))[0])

    def send(self, kind, body, cls=CONTROL):
        """One message, in parts."""
        self.owed[cls] += 0 if kind in FREE else len(body)
        need(self.owed[cls] <= WINDOW[cls], "out of credit")
        while True:
            part, body = body[:16365], body[16365:]
            self.put(self.tx.seal(bytes([kind, cls, not body]) + part))
            if self.tx.n % REKEY == 0:
                self.tx.rekey()
            if not body:
                return

    def receive(self):
        """(type, body) of the next whole message; its credit is returned."""
        while True:
            frame = self.rx.open(self.get())
            if self.rx.n % REKEY == 0:
                self.rx.rekey()
            need(len(frame) >= 3 and frame[1] < 4 and frame[2] < 2, "frame")
            kind, cls = frame[0], frame[1]
            self.parts[cls] += frame[3:]
            need(len(self.parts[cls]) <= LONGEST[cls], "message too long")
            if not frame[2]:
                continue
            body, self.parts[cls] = self.parts[cls], b""
            if kind not in FREE and body:
                back = [0] * 4
                back[cls] = len(body)
                self.send(0x04, struct.pack("<4I", *back))
            if kind == 0x04:
                for i, n in enumerate(struct.unpack("<4I", body)):
                    need(n <= self.owed[i], "credit for what was not sent")
                    self.owed[i] -= n
            elif kind == 0x05:
                self.send(0x06, body)
            else:
                return kind, body

    def tag(self, share, dialler=True):
        """10: the name of a share in this session."""
        return hp(share, b"psc.tag.1", self.hash, bytes([not dialler]), n=16)


# 6 membership

GENESIS, COMPARTMENT, GRANT, REVOKE, ROTATE, REGISTRARS, THAW, ADOPT = \
    1, 3, 4, 5, 6, 7, 12, 13
Grant = collections.namedtuple("Grant", "site device box role where")


class Chain:
    """A share's records, as far as they were checked; our keys."""

    def __init__(self, me, invite):
        self.me, self.share = me, invite.share
        self.invited_by = invite.registrar
        self.seq, self.head = 0, ZERO
        self.registrars, self.k, self.grants = [], 0, []
        self.epochs, self.content, self.ladder = {}, {}, {}
        self.name_key, self.ladders, self.cuts = None, {}, {}
        self.revoked, self.records = set(), []

    def add(self, raw):
        """The next record."""
        r = Reader(raw)
        version, kind, flags = r.num(1), r.num(1), r.num(2)
        share, seq, prev = r.take(32), r.num(8), r.take(32)
        r.num(8)
        content = Reader(r.take(r.num(4)))
        above = raw[:r.at]
        this = hp(None, b"psc.record.1", above)
        need(version == 1 and flags == 0 and seq == self.seq and
             prev == self.head, "record does not continue the chain")
        if kind == GENESIS:
            need(this == self.share and share == ZERO and seq == 0, "genesis")
            self.genesis(content)
        else:
            need(share == self.share and seq > 0, "record of another share")
        self.signatures(r, above)
        if kind != GENESIS:
            {COMPARTMENT: self.compartment, GRANT: self.grant,
             REVOKE: self.revoke, ROTATE: self.rotate, ADOPT: self.adopt,
             REGISTRARS: self.new_registrars, THAW: self.thaw}[kind](content)
        content.end()
        self.seq, self.head = seq + 1, this
        self.records.append(raw)

    def signatures(self, r, above):
        """k registrars, all different, and no bad one."""
        signers = set()
        for _ in range(r.count(16, 1)):
            index = r.num(1)
            need(index < len(self.registrars), "unknown registrar")
            check(self.registrars[index], b"member.1", above, r.take(64),
                  "record")
            signers.add(index)
        need(len(signers) >= self.k, "too few signatures")
        r.end()

    def genesis(self, r):
        """The first registrar."""
        r.num(1)
        self.read_registrars(r)
        need(self.invited_by in self.registrars, "invited by another")
        self.sealed_text(r), self.sealed_text(r)
        self.seals(r, first=True)

    def read_registrars(self, r):
        """k, n and keys."""
        self.k, n = r.num(1), r.count(16, 1)
        need(0 < self.k <= n, "k of n")
        keys = [(r.take(32), r.take(32), r.take(32)) for _ in range(n)]
        self.registrars = [device for _, device, _ in keys]
        self.grants = [g for g in self.grants if g.role != 1] + \
            [Grant(*key, 1, ALL) for key in keys]

    def new_registrars(self, r):
        """Who signs from the next record on."""
        self.read_registrars(r)
        self.seals(r)

    def compartment(self, r):
        """Numbered 1, 2, ..."""
        number, epoch = r.num(2), r.num(4)
        need(number == len(self.epochs) + 1 and epoch == 1, "compartment")
        self.epochs[number] = 1
        self.sealed_text(r)
        self.seals(r)

    def grant(self, r):
        """A right."""
        g = Grant(r.take(32), r.take(32), r.take(32), r.num(1), r.num(2))
        need(g.device not in self.revoked and 1 <= g.role <= HUB and
             r.num(1) <= 1, "grant")
        self.grants.append(g)
        self.sealed_text(r)
        self.seals(r)

    def revoke(self, r):
        """All grants end; heads are the cuts."""
        device = self.read_cuts(r)
        need(device not in self.registrars, "a registrar is revoked")
        self.grants = [g for g in self.grants if g.device != device]
        self.revoked.add(device)

    def adopt(self, r):
        """Cuts go further."""
        need(self.read_cuts(r) in self.revoked, "adopts of a member")

    def read_cuts(self, r):
        """The device they are of."""
        r.take(32)
        device = r.take(32)
        r.take(32)
        for _ in range(r.count(1024, 2)):
            where, incarnation, head = r.num(2), r.num(8), r.take(128)
            name = feed_id(self.share, where, device, incarnation)
            check(device, b"head.1", head[:64], head[64:], "cut")
            need(head[:16] == name, "cut of another feed")
            seq = struct.unpack("<Q", head[16:24])[0]
            self.cuts[name] = max(seq, self.cuts.get(name, 0))
        self.sealed_text(r)
        return device

    def rotate(self, r):
        """New keys of a compartment."""
        number, epoch, ladder = r.num(2), r.num(4), r.take(104)
        need(self.epochs.get(number) == epoch - 1, "epoch")
        self.epochs[number] = epoch
        self.ladders[number, epoch] = ladder
        self.seals(r)

    def thaw(self, r):
        """Nobody is frozen here."""
        r.take(64)
        self.sealed_text(r)

    def sealed_text(self, r):
        """Passed over."""
        return r.take(r.count(512, 2))

    def seals(self, r, first=False):
        """Ours are opened, if there are any."""
        for _ in range(r.num(2)):
            box, sealed = r.take(32), r.take(r.num(2))
            if box == self.me.box:
                self.read_keys(Reader(sodium.crypto_box_seal_open(
                    sealed, self.me.box, self.me.box_secret)), first)
        for number, epoch in sorted(self.ladders, reverse=True):
            self.climb_down(number, epoch)

    def read_keys(self, r, first):
        """The inside of a seal."""
        need(r.num(1) == 1 and r.take(32) == (ZERO if first else self.share),
             "seal")
        self.name_key = r.take(32)
        for _ in range(r.num(4)):
            at = r.num(2), r.num(4)
            self.content[at], ladder = r.take(32), r.take(32)
            if ladder != ZERO:
                self.ladder[at] = ladder
        r.end()

    def climb_down(self, number, epoch):
        """From an epoch's ladder key to the keys of the epoch before."""
        if (number, epoch) not in self.ladder:
            return
        raw = self.ladders[number, epoch]
        keys = open_aead(self.ladder[number, epoch], raw[:24], raw[24:],
                         b"psc.ladder.1" + self.share +
                         struct.pack("<HI", number, epoch))
        self.content[number, epoch - 1] = keys[:32]
        self.ladder[number, epoch - 1] = keys[32:]

    def may(self, device, number, roles):
        """Whether a grant allows it."""
        return any(g.device == device and g.role in roles and
                   g.where in (number, ALL) for g in self.grants)


# 3 feeds, 4 ops

def feed_id(share, number, device, incarnation):
    """16 bytes."""
    return hp(None, b"psc.feed.1", share, struct.pack("<H", number), device,
              struct.pack("<Q", incarnation), n=16)


Op = collections.namedtuple(
    "Op", "kind epoch feed seq lamport prev header payload id")
HEADER = struct.Struct("<BBHI16sQQQ32s32s32sIIH")


def read_op(r):
    """One op; it tells its own length."""
    start = r.at
    (version, kind, flags, epoch, feed, seq, lamport, _, prev, payload_hash,
     list_hash, payload_len, list_len, deps) = HEADER.unpack(r.take(154))
    need(version == 1 and not flags & 0xFF00 and epoch > 0 and deps <= 16 and
         payload_len <= 262144 and list_len <= 589829, "op header")
    r.take(32 * deps)
    header = r.data[start:r.at]
    payload, packing = r.take(payload_len), r.take(list_len)
    need(h256(payload) == payload_hash, "hash of a payload")
    need((h256(packing) if packing else ZERO) == list_hash, "packing list")
    need((seq == 1) == (prev == ZERO), "first of a feed")
    return Op(kind, epoch, feed, seq, lamport, prev, header, payload,
              hp(None, b"psc.op.1", header))


def open_payload(chain, number, op):
    """The text (msgpack) of an op."""
    key = chain.content[number, op.epoch]
    blank = op.header[:80] + ZERO + op.header[112:]
    text = open_aead(subkey(key, b"psc.op.k", 1), op.payload[:24],
                     op.payload[24:], blank)
    need(hp(subkey(key, b"psc.op.k", 2), b"psc.op.nonce.1", blank, text,
            n=24) == op.payload[:24], "nonce of a payload")
    text = text.rstrip(b"\0")
    need(text[-1:] == b"\x80", "padding")
    return text[:-1]


class Feed:
    """A feed's ops, all checked."""

    def __init__(self, device, incarnation, name):
        self.device, self.incarnation = device, incarnation
        self.name, self.ops = name, []

    def add_run(self, chain, number, ops, signature):
        """11.4: a run that continues what is held and is signed."""
        need(chain.may(self.device, number, WRITES) or self.name in
             chain.cuts, "who wrote it may not")
        held = list(self.ops)
        for op in ops:
            last = held[-1] if held else None
            need(op.feed == self.name and op.seq == len(held) + 1 and
                 op.prev == (last.id if last else ZERO) and
                 op.lamport > (last.lamport if last else 0) and
                 op.epoch <= chain.epochs[number], "op out of its chain")
            held.append(op)
        last = held[-1]
        need(last.seq <= chain.cuts.get(self.name, last.seq), "beyond a cut")
        check(self.device, b"head.1", self.name + struct.pack(
            "<Q32sQ", last.seq, last.id, last.lamport), signature, "head")
        self.ops = held


# 11 the walk

def number7(n):
    """7 bits a byte."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


class Peer:
    """A member that reads one share from one node."""

    def __init__(self, me, invite, session):
        self.me, self.invite, self.session = me, invite, session
        self.chain = Chain(me, invite)
        self.feeds, self.told, self.last_run = {}, {}, None
        self.ours = session.tag(invite.share)
        self.theirs = session.tag(invite.share, dialler=False)

    def readable(self):
        """Numbers of the compartments we may receive."""
        return [n for n in self.chain.epochs
                if self.chain.may(self.me.device, n, READS)]

    def of(self, number):
        """Feeds of a compartment that have ops, by feed id."""
        return [f for (n, _), f in sorted(self.feeds.items())
                if n == number and f.ops]

    def root(self, number):
        """Root of a compartment."""
        state = hashlib.blake2b(b"psc.root.1", digest_size=32)
        for feed in self.of(number):
            state.update(feed.name + struct.pack("<Q", len(feed.ops)) +
                         feed.ops[-1].id)
        return state.digest()

    def ops(self, number):
        """All ops of a compartment."""
        return [op for feed in self.of(number) for op in feed.ops]

    def level(self):
        """Whether the roots last told are ours."""
        mine = self.readable()
        return bool(mine) and all(self.told.get(n) == self.root(n)
                                  for n in mine)

    def join(self, name):
        """Send the claim; the chain comes back when it is granted."""
        self.session.send(0x50, self.ours + make_claim(
            self.me, self.invite, name))

    def run(self, until, seconds=20):
        """Deal with messages until until() is true."""
        end = time.monotonic() + seconds
        while not until():
            need(time.monotonic() < end, "too slow")
            kind, body = self.session.receive()
            r = Reader(body)
            if r.take(16) != self.theirs:
                continue
            act = {0x03: self.on_open, 0x11: self.on_mlog,
                   0x20: self.on_root, 0x21: self.on_front, 0x23: self.on_ops,
                   0x24: self.on_push, 0x25: self.on_ihave}.get(kind)
            if act:
                act(r)
                r.end()

    def open(self):
        """OPEN with what we hold."""
        rows = [struct.pack("<H32sQ", n, self.root(n), len(self.ops(n)))
                for n in self.readable()]
        self.session.send(0x03, self.ours + struct.pack(
            "<Q32sI", self.chain.seq - 1, self.chain.head, len(rows)) +
            b"".join(rows))

    def on_open(self, r):
        """Behind with the chain: ask; with ops: say what we hold."""
        seq, _, count = r.num(8), r.take(32), r.count(256)
        for _ in range(count):
            self.on_root(r)
        if seq >= self.chain.seq:
            self.session.send(0x10, self.ours +
                              struct.pack("<Q", self.chain.seq))

    def on_mlog(self, r):
        """Records."""
        first, count, before = r.num(8), r.count(1024), self.chain.seq
        for seq in range(first, first + count):
            raw = r.take(r.count(262144))
            if seq >= self.chain.seq:
                self.chain.add(raw)
        if self.chain.seq > before and self.readable():
            self.open()

    def on_root(self, r):
        """What a compartment's root is there."""
        number, self.told[number], _ = r.num(2), r.take(32), r.num(8)
        if number in self.readable() and not self.level():
            self.front(number)

    def front(self, number):
        """All that we hold, in full."""
        feeds = self.of(number)
        rows = [struct.pack("<32sQQ", f.device, f.incarnation, len(f.ops))
                for f in feeds]
        self.session.send(0x21, self.ours + struct.pack(
            "<HBQII", number, 0, 0, 0, len(rows)) + b"".join(rows))

    def feed(self, number, device, incarnation):
        """The feed of that name."""
        name = feed_id(self.chain.share, number, device, incarnation)
        return self.feeds.setdefault((number, name),
                                     Feed(device, incarnation, name))

    def shorts(self, r):
        """(first 8 bytes of a feed id, number) each."""
        out = []
        for _ in range(r.count(1024)):
            short, n, shift = r.take(8), 0, 0
            while True:
                byte = r.num(1)
                n, shift = n | (byte & 127) << shift, shift + 7
                if byte < 128:
                    break
            out.append((short, n))
        return out

    def on_front(self, r):
        """What the peer holds: ask for what is lacking."""
        number, _, _ = r.num(2), r.num(1), r.num(8)
        ask = []
        for short, seq in self.shorts(r):
            ask += [(f, seq) for (n, name), f in self.feeds.items()
                    if n == number and name[:8] == short]
        for _ in range(r.count(512)):
            ask.append((self.feed(number, r.take(32), r.num(8)), r.num(8)))
        self.request(number, ask)

    def on_ihave(self, r):
        """News, told in short."""
        number = r.num(2)
        self.request(number, [
            (self.feed(number, r.take(32), r.num(8)), r.num(8))
            for _ in range(r.count(512))])

    def request(self, number, ask):
        """OPS_REQ for feeds that go further there."""
        rows = [f.name[:8] + number7(len(f.ops) + 1)
                for f, seq in ask if seq > len(f.ops)]
        for i in range(0, len(rows), 64):
            some = rows[i:i + 64]
            self.session.send(0x22, self.ours + struct.pack(
                "<HI", number, len(some)) + b"".join(some))

    def on_ops(self, r):
        """A run that was asked for."""
        number, signature = r.num(2), r.take(64)
        ops = [read_op(r) for _ in range(r.count(4096))]
        need(ops and (number, ops[0].feed) in self.feeds, "ops unasked")
        self.take_run(number, self.feeds[number, ops[0].feed], ops, signature)

    def on_push(self, r):
        """A run as it is written."""
        number, device, incarnation = r.num(2), r.take(32), r.num(8)
        signature = r.take(64)
        ops = [read_op(r) for _ in range(r.count(4096))]
        self.take_run(number, self.feed(number, device, incarnation), ops,
                      signature)

    def take_run(self, number, feed, ops, signature):
        """Keep what continues what is held."""
        if ops[0].seq == len(feed.ops) + 1:
            feed.add_run(self.chain, number, ops, signature)
            self.last_run = ops, signature, feed
