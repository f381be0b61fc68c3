"""An independent reader of a store, from docs/store-format.md alone.  It takes
the index from `mdb_dump -a` text and the keys of an unattended home from its
credential file; every check that the page demands is made, or it raises."""
import base64
import hashlib
import pathlib
import struct
import zlib
import crcmod.predefined
import msgpack
import nacl.bindings as sodium
import zstandard

BLOCK, CHUNK, ROW = 4096, 1, 5
crc32c = crcmod.predefined.mkCrcFun("crc-32c")

# The preset tables of the page: 27 contexts of 13 sizes and 9 octaves.
PRESET = zlib.decompress(base64.b64decode("""
eNqFkNlygyAARUtWiYKIu4IiEIWkSbo99P+/rJhq2/jSA09nzlxm+BRpsH1a8nHpeeKtAAD/2/fr0Ob
BemHfblZWeLOwr7eTZnQ58XI99yLHu0d9vZyN5hmBD9PP55PpJS/jhxeNMUOvu6akEIDVrPujQyvBMr
QGm7k+6hHVNQXZreA8opVDyq6tk2BL5m3Z3REtLykq/MmKtm1GOGc5beMpbthEXVeFrqaYVzNlWRpBv
2Ne/MHqYn+3LP8hy+zQ4HvMsvQXY3XqjbaOHTT+ZrADC8ffK6OIRBNEWyvzMWY0opQQgsOQhGqwfUMA
gAyTEGOEQoQxlkdjVLoDgYip6whCgbtCu5ihfSSylCYE+/DgwUOrXCwIzBRN3An9Aww8n3XK2K5I2Bf
G7SWq"""))
SIZES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 65)
def unlevel(v):
    return v if v < 8 else (4 + v % 4) << (v // 4 - 1)
def normalise(h):
    """Counts to frequencies with a sum of 2048."""
    tot = sum(h)
    f = [max(1, (v * 2048 + tot // 2) // tot) if v else 0 for v in h]
    while sum(f) != 2048:  # the largest, first of equals, pays or gains
        top = f.index(max(f))
        f[top] += max(2048 - sum(f), -(f[top] // 2))
    return f
def preset(ctx):
    row, h, k = PRESET[22 * ctx:22 * ctx + 22], [], 0
    for size in ((s + 1) // 2 for s in range(128)):
        k += size >= SIZES[k + 1]
        a, past = row[k], size - SIZES[k]
        gap = SIZES[k + 1] - SIZES[k]
        if a and past:
            a = row[k + 1] and (
                a * (gap - past) + row[k + 1] * past + gap // 2) // gap
        h.append(unlevel(a))
    return normalise(h + [unlevel(row[13 + s // 4]) for s in range(36)])
class Bits:
    """Least significant first."""
    def __init__(self, data):
        self.v, self.pos = int.from_bytes(data, "little"), 0
    def get(self, n):
        self.pos += n
        return self.v >> self.pos - n & (1 << n) - 1
def own_table(bits):
    n, h, l1, l2 = bits.get(8) + 1, [], 24, 24
    for s in range(n):
        code = 0
        while code < 6 and not bits.get(1):
            code += 1
        code += bits.get(7) if code == 6 else 0
        level = (l1 + l2 + 1) // 2 if s > 1 else l1
        l1, l2 = level + (-(code + 1) // 2 if code & 1 else code // 2), l1
        h.append(unlevel(l1))
    return normalise(h + [0] * (164 - n))
def s16(v):
    return (v + 32768 & 65535) - 32768
def error(r):
    return min(2047, abs(s16(r)))
def around(a, up, x):
    """left, above, above left, above right, of a row and the one above."""
    t = up[x]
    return (a[x - 1] if x else t, t, up[x - 1] if x else t,
            up[x + 1] if x + 1 < len(up) else t)
def frame(z, size, w, h):
    """One plane: w * h samples of size bytes."""
    method = z[0]
    assert method <= 3 and z[1] == 0, "method"
    if method < 2:  # stored, constant
        n = w * h if method == 0 else 1
        px = struct.unpack("<%d%s" % (n, "BH"[size - 1]), z[2:])
        return px * (w * h // n)
    base, low, n_extra = struct.unpack_from("<HhI", z, 2)
    at, wt = 10, None
    if method > 2:
        wt, at = list(struct.unpack_from("<7h", z, 10)), 24
        wt.insert(1, s16(4096 - sum(wt)))
    bits, tables = Bits(z[at:at + 27 * 330]), []
    for ctx in range(27):
        f = enumerate(own_table(bits) if bits.get(1) else preset(ctx))
        tables += [[(s, n, i) for s, n in f for i in range(n)]]
    at += (bits.pos + 7) // 8
    extra, at = Bits(z[at:at + n_extra]), at + n_extra
    lanes = 64 if w >= 128 and h >= 64 and w * h >= 65536 else 32
    period = max(w, 2 * lanes)
    state = list(struct.unpack_from("<%dI" % min(h, lanes), z, at))
    at += 4 * len(state)
    words = iter(struct.unpack("<%dH" % ((len(z) - at) // 2), z[at:]))
    p = [[low] * w, [low] * w] + [[0] * w for _ in range(h)]
    err, dif = ([[0] * w for _ in range(h + 1)] for _ in (1, 2))
    for t in range((h - 1) // lanes * period + 2 * ((h - 1) % lanes) + w):
        for k in range(min(len(state), t // 2 + 1)):
            y, x = divmod(t - 2 * k, period)
            y = y * lanes + k
            if x >= w or y >= h:
                continue
            e = around(err[y + 1], err[y], x)
            n = 2 * (e[0] + e[1]) + e[2] + e[3] + 1
            best, med, ls = guess(p, dif, x, y, wt, n - 1)
            o = n.bit_length() - 1
            table = tables[2 * o + (n >> o - 1 & 1) if o else 0]
            token, f, off = table[state[k] & 2047]
            s = (state[k] >> 11) * f + off
            state[k] = s if s > 65535 else s << 16 | next(words)
            if token >= 128:
                n = 5 + (token - 128) // 4
                token = (4 + (token & 3)) << n | extra.get(n)
            v = s16(best + (token >> 1 ^ -(token & 1)))
            p[y + 2][x], err[y + 1][x] = v, error(v - best)
            dif[y + 1][x] = error(v - med) - error(v - ls)
    assert set(state) == {65536} and next(words, None) is None, "coder's end"
    return [(v + base) & 65535 for row in p[2:] for v in row]
def guess(p, dif, x, y, wt, energy):
    """What is predicted; by the median; by the weights."""
    u, up, a = p[y], p[y + 1], p[y + 2]
    near = around(a, up, x)
    left, t, tl, _ = near
    med = sorted((left, t, left + t - tl))[1]
    if wt is None:
        return med, med, med
    near += (u[x], a[x - 2] if x > 1 else up[0], around(a, u, x)[3],
             up[x - 2] if x > 1 else up[0])
    ls = sum(c * v for c, v in zip(wt, near)) + 2048 & 0xFFFFFFFF
    ls = max(-32768, min(32767, (ls - (ls >> 31 << 32)) >> 12))
    ls = t if t == tl == left else ls
    worse = sum(around(dif[y + 1], dif[y], x)) + energy // 4 < 0
    return med if worse else ls, med, ls
def rows_of_samples(z, raw_len):
    """Codec 5."""
    version, kind, w = struct.unpack_from("<BBH", z)
    assert version == 1 and kind <= 3, "codec 5"
    size = (2, 2, 1, 3)[kind]
    h, tail = divmod(raw_len, size * w)
    z, rest = z[4:len(z) - tail], z[len(z) - tail:]
    if kind < 3:
        form = ("<%dH", ">%dH", "<%dB")[kind] % (w * h)
        return struct.pack(form, *frame(z, size, w, h)) + rest
    n, = struct.unpack_from("<I", z)
    m, = struct.unpack_from("<I", z, 4 + n)
    planes = [frame(v, 1, w, h)
              for v in (z[4:4 + n], z[8 + n:8 + n + m], z[8 + n + m:])]
    return bytes(v & 255 for g, r, b in zip(*planes)
                 for v in (r + g - 128, g, b + g - 128)) + rest
def digest(data):
    return hashlib.blake2b(data, digest_size=32).digest()
def named(key, name, *parts):
    """The hash that the page writes as (name, parts), keyed or not."""
    data = bytes([len(name)]) + name.encode() + b"".join(
        struct.pack("<Q", len(part)) + part for part in parts)
    return hashlib.blake2b(data, digest_size=32, key=key or b"").digest()
def unseal(key, ad, sealed):
    """24-byte nonce in front, then XChaCha20-Poly1305."""
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        sealed[24:], ad, sealed[:24], key)
def keystore(home):
    """Local key and convergence secret of an unattended home."""
    raw = (home / "keys/keystore").read_bytes()
    assert raw[:6] == b"PSCK\1\2" and digest(raw[:-32]) == raw[-32:], "keys"
    key = named((home / "keys/credential").read_bytes(),
                "psc.keystore.credential", raw[16:32])
    secret = unseal(key, raw[:56], raw[32:-32])
    return secret[334:366], secret[366:398]
def dump_tables(text):
    """`mdb_dump -a` -> {table: {key: value}}, each value's CRC checked."""
    tables, rows, key = {}, None, None
    for line in text.splitlines():
        if line.startswith("database="):
            rows = tables.setdefault(line[9:], {})
        elif line.startswith(" ") and key is None:
            key = bytes.fromhex(line[1:])
        elif line.startswith(" "):
            crc, rows[key] = line[1:9], bytes.fromhex(line[9:])
            assert struct.pack("<I", crc32c(key + rows[key])).hex() == crc
            key = None
    return tables
def number(data):  # LEB128
    c = next(data)
    return c if c < 128 else c & 127 | number(data) << 7
def unzstd(z, raw_len):
    assert zstandard.frame_content_size(z) == raw_len
    return zstandard.ZstdDecompressor().decompress(z)
def unshuffle(z, raw_len, width):
    data, n = unzstd(z, raw_len), raw_len // width
    out = bytearray(n * width)
    for k in range(width):
        out[k::width] = data[k * n:(k + 1) * n]
    return bytes(out) + data[n * width:]
DECODE = {0: lambda z, n: z, 1: unzstd, 2: lambda z, n: unshuffle(z, n, 2),
          3: lambda z, n: unshuffle(z, n, 4), 5: rows_of_samples}
class Store:
    """A closed store: its home folder and the text of mdb_dump -a."""
    def __init__(self, home, dump):
        home = pathlib.Path(home)
        self.local, self.convergence = keystore(home)
        self.row_key = hashlib.blake2b(  # libsodium's crypto_kdf
            b"", digest_size=32, key=self.local, salt=struct.pack("<QQ", 1, 0),
            person=b"pscstore".ljust(16, b"\0")).digest()
        self.tables = dump_tables(dump)
        self.files = {int(p.stem, 16): p.read_bytes()
                      for p in (home / "store/segments").glob("*.seg")}
        self.pieces, self.codecs, self.own = {}, {}, 0
    def record(self, seg, off):
        """(kind, id, body, end) of the record at a place; None: no record."""
        data = self.files[seg]
        magic, version, kind, n, crc = struct.unpack_from("<IHHII", data, off)
        if magic != 0x52435350:
            return None
        head, body = data[off:off + 64], data[off + 64:off + 64 + n]
        assert version == 1 and len(body) == n, "record header"
        assert struct.unpack_from("<II", head, 48) == (seg, off // 64), "place"
        assert crc32c(head[:12] + head[16:] + body) == crc, "record crc"
        return kind, head[16:48], body, off + (64 + n + 63) // 64 * 64
    def records(self):
        """All records in log order: (segment, offset, kind, id, body)."""
        for seg, data in sorted(self.files.items()):
            assert data[:8] == b"PSCSEG01" and struct.pack(
                "<I", crc32c(data[:60])) == data[60:64], "segment header"
            row = self.tables["SEG"][struct.pack(">I", seg)]
            off = BLOCK
            while off < struct.unpack_from("<BQQ", row)[2]:
                got = self.record(seg, off)
                if got:
                    yield (seg, off) + got[:3]
                # none: the next commit starts on a fresh block
                off = got[3] if got else (off // BLOCK + 1) * BLOCK
    def rows(self):
        """{(tag, key): value}: of several records of a row the last holds."""
        out = {}
        for _, _, kind, ident, body in self.records():
            if kind == ROW:
                rkey, sealed = body[2:2 + body[1]], body[2 + body[1]:]
                assert ident == named(None, "psc.row.1", rkey), "row id"
                name = rkey[1:1 + rkey[0]].decode(), rkey[1 + rkey[0]:]
                out[name] = unseal(self.row_key, body[:1] + rkey, sealed)
                if body[0] == 2:
                    del out[name]
        return out
    def chunk(self, cid):
        row = self.tables["CHUNK"][self.tables["CIDX"][cid[:16]]]
        kind, ident, body, _ = self.record(*struct.unpack_from("<IQ", row, 32))
        assert kind == CHUNK and ident == cid == digest(body), "cid"
        return body
    def piece(self, cid, ck, z_len, p_len, codec):
        z = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
            self.chunk(cid), b"", bytes(12), ck)
        assert not any(z[z_len:]), "padding"
        z = z[:z_len]
        self.codecs[codec] = self.codecs.get(codec, 0) + 1
        self.own += ck == named(self.convergence, "psc.chunk.1",
                                struct.pack("<BH", codec, 0), z)
        return DECODE[codec](z, p_len) if codec < 6 else self.told(z, p_len)
    def told(self, z, p_len):
        """Codec 6: a bundle, told by what others have of it."""
        d, bases = zstandard.ZstdDecompressor().decompress(z), b""
        for k in range(2, 2 + 73 * d[1], 73):
            assert d[0] == 1 and d[k + 72] < 6, "base"
            bases += self.piece(*struct.unpack_from("<32s32sIIB", d, k))
        steps, at, out = iter(d[2 + 73 * d[1]:]), 0, b""
        while len(out) < p_len:
            skip, n, more = number(steps), number(steps), number(steps)
            at += (skip >> 1 ^ -(skip & 1)) + n
            assert 0 <= at - n <= at <= len(bases), "copy"
            out += bases[at - n:at] + bytes(next(steps) for _ in range(more))
        assert len(out) == p_len and next(steps, None) is None, "steps"
        return out
    def join(self, manifest):
        """The file of a manifest."""
        version, depth, zero, n, total = struct.unpack_from("<BBHIQ", manifest)
        assert version == 1 and zero == 0 and len(manifest) == 16 + 120 * n
        out = b""
        for at in range(16, len(manifest), 120):
            cid, ck, hp, z_len, p_len, _, off, raw, codec, zero = \
                struct.unpack_from("<32s32s32sIIIIIBB2x", manifest, at)
            if raw and cid not in self.pieces:  # not a base
                self.pieces[cid] = self.piece(cid, ck, z_len, p_len, codec)
            part = self.pieces[cid][off:off + raw] if raw else b""
            assert zero == 0 and digest(part) == hp or not raw, "hash"
            out += self.join(part) if depth else part
        assert len(out) == total, "length of the file"
        return out
    def members(self, manifest):
        """{name: bytes} of a content table."""
        table = msgpack.unpackb(self.join(manifest))
        bundle = self.join(table["bundle"]) if table["bundle"] else b""
        out, at = {}, 0
        for name, n, want, head, body, _ in table["members"]:
            data = bundle[at:at + head] + (self.join(body) if body else b"")
            assert len(data) == n and digest(data) == want, name
            out[name], at = data, at + head
        return out
