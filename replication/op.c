/* replication/op.c: author an op, take one apart, open its payload.
 *
 * Happy path of op_build: pad the plaintext, derive the synthetic nonce from
 * header and plaintext, seal, put the payload's hash into the header.
 * op_decode trusts nothing: version, flags, lengths and both hashes must fit
 * before a field is believed.  Layout: docs/protocol.md section 4. */
#include "replication/op.h"

#include "replication/op_layout.h"
#include "store/base/mem.h"
#include "store/base/rd.h"

/* Padded payloads: at least this, then steps of 1/16 of the size. */
#define PAD_MIN 64u

void
op_feed_id(const struct op_feed *f, struct feed_id *out)
{
	uint8_t comp[2], inc[8];
	struct slice parts[4];

	comp[0] = (uint8_t)(f->compartment & 0xff);
	comp[1] = (uint8_t)(f->compartment >> 8);
	for (size_t i = 0; i < sizeof(inc); i++)
		inc[i] = (uint8_t)(f->incarnation >> (8 * i));
	parts[0] = slice_of(f->share.b, sizeof(f->share.b));
	parts[1] = slice_of(comp, sizeof(comp));
	parts[2] = slice_of(f->device.b, sizeof(f->device.b));
	parts[3] = slice_of(inc, sizeof(inc));
	cry_hash_parts(NULL, "psc.feed.1", parts, 4, out->b, sizeof(out->b));
}

static void
header_put(const struct op_header *h, struct buf *b)
{
	buf_u8(b, OP_VERSION);
	buf_u8(b, h->kind);
	buf_u16(b, h->flags);
	buf_u32(b, h->epoch);
	buf_put(b, h->feed.b, sizeof(h->feed.b));
	buf_u64(b, h->seq);
	buf_u64(b, h->lamport);
	buf_u64(b, h->wall_ms);
	buf_put(b, h->prev.b, sizeof(h->prev.b));
	buf_put(b, h->payload_hash.b, sizeof(h->payload_hash.b));
	buf_put(b, h->packing_hash.b, sizeof(h->packing_hash.b));
	buf_u32(b, h->payload_len);
	buf_u32(b, h->packing_len);
	buf_u16(b, h->n_deps);
	for (uint16_t i = 0; i < h->n_deps; i++)
		buf_put(b, h->deps[i].b, sizeof(h->deps[i].b));
}

static void
header_get(struct rd *r, struct op_header *h)
{
	if (rd_u8(r) != OP_VERSION)
		rd_fail(r, ERR_UNSUPPORTED);
	h->kind = rd_u8(r);
	h->flags = rd_u16(r);
	h->epoch = rd_u32(r);
	rd_copy(r, h->feed.b, sizeof(h->feed.b));
	h->seq = rd_u64(r);
	h->lamport = rd_u64(r);
	h->wall_ms = rd_u64(r);
	rd_copy(r, h->prev.b, sizeof(h->prev.b));
	rd_copy(r, h->payload_hash.b, sizeof(h->payload_hash.b));
	rd_copy(r, h->packing_hash.b, sizeof(h->packing_hash.b));
	h->payload_len = rd_u32(r);
	h->packing_len = rd_u32(r);
	h->n_deps = rd_u16(r);
	if (h->n_deps > LIM_OP_DEPS)
		rd_fail(r, ERR_LIMIT);
	for (uint16_t i = 0; r->err == ERR_OK && i < h->n_deps; i++)
		rd_copy(r, h->deps[i].b, sizeof(h->deps[i].b));
}

static bool
id_is_zero(const struct cry_id *id)
{
	static const struct cry_id zero;

	return memcmp(id, &zero, sizeof(zero)) == 0;
}

static enum err
header_check(const struct op_header *h)
{
	if ((h->flags & OP_FLAGS_CRITICAL) != 0)
		return ERR_UNSUPPORTED;
	if (h->kind == 0 || h->epoch == 0 || h->seq == 0 || h->lamport == 0)
		return ERR_MALFORMED;
	if ((h->seq == 1) != id_is_zero(&h->prev))
		return ERR_MALFORMED;
	if ((h->packing_len == 0) != id_is_zero(&h->packing_hash))
		return ERR_MALFORMED;
	if (h->payload_len > LIM_OP_PAYLOAD_BYTES ||
	    h->packing_len > OP_PACKING_BYTES_MAX)
		return ERR_LIMIT;
	if (h->payload_len < CRY_NONCE_BYTES + PAD_MIN + CRY_TAG_BYTES)
		return ERR_MALFORMED;
	return ERR_OK;
}

static bool
hash_fits(struct slice in, const struct cry_id *want)
{
	struct cry_id got;

	cry_hash(in, &got);
	return memcmp(&got, want, sizeof(got)) == 0;
}

static enum err
hashes_check(const struct op_view *v)
{
	uint32_t n;

	if (!hash_fits(v->payload, &v->h.payload_hash))
		return ERR_AUTH;
	if (v->packing.n == 0)
		return ERR_OK;
	if (!hash_fits(v->packing, &v->h.packing_hash))
		return ERR_AUTH;
	return op_packing_check(v->packing, &n);
}

static void
op_id(struct slice header, struct cry_id *out)
{
	cry_hash_parts(NULL, "psc.op.1", &header, 1, out->b, sizeof(out->b));
}

enum err
op_span(struct slice in, size_t *bytes)
{
	struct rd r = rd_init(in);
	struct op_header h;

	header_get(&r, &h);
	if (r.err == ERR_OK && (h.payload_len > LIM_OP_PAYLOAD_BYTES ||
				   h.packing_len > OP_PACKING_BYTES_MAX))
		return ERR_LIMIT;
	(void)rd_bytes(&r, (size_t)h.payload_len + h.packing_len);
	*bytes = in.n - r.left;
	return r.err;
}

void
op_head_of(struct slice op, struct op_head *out)
{
	struct rd r = rd_init(op);
	struct op_header h;

	memset(out, 0, sizeof(*out));
	header_get(&r, &h);
	REQUIRE(r.err == ERR_OK);
	out->feed = h.feed;
	out->seq = h.seq;
	out->lamport = h.lamport;
	op_id(slice_of(op.p, op.n - r.left), &out->id);
}

enum err
op_decode(struct slice op, struct op_view *out)
{
	struct op_view v = { 0 };
	struct rd r = rd_init(op);
	enum err e;

	header_get(&r, &v.h);
	if (r.err != ERR_OK)
		return r.err;
	if ((e = header_check(&v.h)) != ERR_OK)
		return e;
	v.header = slice_of(op.p, op.n - r.left);
	v.payload = rd_bytes(&r, v.h.payload_len);
	v.packing = rd_bytes(&r, v.h.packing_len);
	if ((e = rd_end(&r)) != ERR_OK)
		return e;
	if ((e = hashes_check(&v)) != ERR_OK)
		return e;
	op_id(v.header, &v.id);
	*out = v;
	return ERR_OK;
}

/* Size classes hide the exact length: at most 1/16 is added (PAD_MIN for
 * small ones).  One byte, 0x80, always marks where the text ends. */
static size_t
padded_len(size_t n)
{
	size_t step = PAD_MIN, m = n + 1;

	while (step * 16 < m)
		step *= 2;
	return (m + step - 1) / step * step;
}

static enum err
pad(struct slice plain, struct buf *out)
{
	buf_put_slice(out, plain);
	buf_u8(out, 0x80);
	buf_put_zero(out, padded_len(plain.n) - plain.n - 1);
	return buf_err(out);
}

static enum err
unpad(const struct buf *padded, struct buf *out)
{
	size_t n = padded->n;

	while (n > 0 && padded->p[n - 1] == 0)
		n--;
	if (n == 0 || padded->p[n - 1] != 0x80)
		return ERR_MALFORMED;
	if (padded_len(n - 1) != padded->n)
		return ERR_MALFORMED;
	buf_put(out, padded->p, n - 1);
	return buf_err(out);
}

/* The header as it stands before the payload is known: nonce input and AAD
 * (rulings.md 15).  payload_hash is zero in it. */
static void
bare_header(const struct op_header *h, struct buf *b)
{
	struct op_header bare = *h;

	memset(&bare.payload_hash, 0, sizeof(bare.payload_hash));
	header_put(&bare, b);
}

static void
op_keys(
    const struct cry_key *epoch, struct cry_key *aead, struct cry_key *nonce)
{
	cry_subkey(epoch, OP_KEY_CTX, OP_KEY_AEAD, aead);
	cry_subkey(epoch, OP_KEY_CTX, OP_KEY_NONCE, nonce);
}

static enum err
seal_payload(const struct op_header *h, const struct cry_key *epoch_key,
    const struct buf *padded, struct buf *payload)
{
	struct buf ad = BUF_MAX(OP_HEADER_BYTES_MAX);
	uint8_t nonce[CRY_NONCE_BYTES];
	struct cry_key aead, nkey;
	struct slice parts[2];
	enum err e;

	bare_header(h, &ad);
	if ((e = buf_err(&ad)) != ERR_OK)
		goto out;
	op_keys(epoch_key, &aead, &nkey);
	parts[0] = buf_slice(&ad);
	parts[1] = buf_slice(padded);
	cry_hash_parts(&nkey, "psc.op.nonce.1", parts, 2, nonce, sizeof(nonce));
	buf_put(payload, nonce, sizeof(nonce));
	cry_aead_seal(&aead, nonce, buf_slice(&ad), buf_slice(padded), payload);
	cry_wipe(&aead, sizeof(aead));
	cry_wipe(&nkey, sizeof(nkey));
	e = buf_err(payload);
out:
	buf_fini(&ad);
	return e;
}

enum err
op_build(struct op_header *h, const struct cry_key *epoch_key,
    struct slice plain, struct slice packing, struct buf *out,
    struct cry_id *id)
{
	struct buf padded = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct buf payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct buf head = BUF_MAX(OP_HEADER_BYTES_MAX);
	uint32_t n;
	enum err e;

	if (h->n_deps > LIM_OP_DEPS || packing.n > OP_PACKING_BYTES_MAX ||
	    plain.n > LIM_OP_PAYLOAD_BYTES)
		return ERR_LIMIT;
	if (packing.n > 0 && (e = op_packing_check(packing, &n)) != ERR_OK)
		return e;
	if ((e = pad(plain, &padded)) != ERR_OK)
		goto out;
	h->payload_len = (uint32_t)(padded.n + CRY_NONCE_BYTES + CRY_TAG_BYTES);
	h->packing_len = (uint32_t)packing.n;
	memset(&h->packing_hash, 0, sizeof(h->packing_hash));
	if (packing.n > 0)
		cry_hash(packing, &h->packing_hash);
	if ((e = header_check(h)) != ERR_OK)
		goto out;
	if ((e = seal_payload(h, epoch_key, &padded, &payload)) != ERR_OK)
		goto out;
	cry_hash(buf_slice(&payload), &h->payload_hash);
	header_put(h, &head);
	if ((e = buf_err(&head)) != ERR_OK)
		goto out;
	op_id(buf_slice(&head), id);
	buf_put_slice(out, buf_slice(&head));
	buf_put_slice(out, buf_slice(&payload));
	buf_put_slice(out, packing);
	e = buf_err(out);
out:
	buf_wipe(&padded);
	buf_fini(&payload);
	buf_fini(&head);
	return e;
}

enum err
op_open(
    const struct op_view *v, const struct cry_key *epoch_key, struct buf *out)
{
	struct buf padded = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct buf ad = BUF_MAX(OP_HEADER_BYTES_MAX);
	struct slice body;
	struct cry_key aead, nkey;
	enum err e;

	if (v->payload.n < CRY_NONCE_BYTES + CRY_TAG_BYTES)
		return ERR_MALFORMED;
	bare_header(&v->h, &ad);
	if ((e = buf_err(&ad)) != ERR_OK)
		goto out;
	op_keys(epoch_key, &aead, &nkey);
	body = slice_of(
	    v->payload.p + CRY_NONCE_BYTES, v->payload.n - CRY_NONCE_BYTES);
	e = cry_aead_open(&aead, v->payload.p, buf_slice(&ad), body, &padded);
	cry_wipe(&aead, sizeof(aead));
	cry_wipe(&nkey, sizeof(nkey));
	if (e == ERR_OK)
		e = unpad(&padded, out);
out:
	buf_wipe(&padded);
	buf_fini(&ad);
	return e;
}
