/* replication/member_record.c: membership records as bytes.
 *
 * body = version u8, kind u8, flags u16, share 32, seq u64, prev 32,
 * wall_ms u64, content length u32, content; then n u8 and n signatures
 * {signer u8, Ed25519 64} over the body.  A record's hash is over its body,
 * so that two honest sets of signers yield one record. */
#include "replication/member_internal.h"

#define SIG_BYTES 65u
#define TEXT_PAD 64u

_Static_assert(LIM_NAME_BYTES <= TEXT_PAD, "names fit their padding");

static void
record_id(struct slice body, struct cry_id *out)
{
	cry_hash_parts(NULL, "psc.record.1", &body, 1, out->b, sizeof(out->b));
}

enum err
record_decode(struct slice in, struct member_record *out)
{
	struct member_record m = { 0 };
	struct rd r = rd_init(in);
	uint32_t n;

	if (in.n > LIM_MEMBER_RECORD_BYTES)
		return ERR_LIMIT;
	if (rd_u8(&r) != MEMBER_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	m.kind = rd_u8(&r);
	m.flags = rd_u16(&r);
	rd_copy(&r, m.share.b, sizeof(m.share.b));
	m.seq = rd_u64(&r);
	rd_copy(&r, m.prev.b, sizeof(m.prev.b));
	m.wall_ms = rd_u64(&r);
	n = rd_count(&r, LIM_MEMBER_RECORD_BYTES, 1);
	m.content = rd_bytes(&r, n);
	m.body = slice_of(in.p, in.n - r.left);
	m.n_sigs = rd_u8(&r);
	if (r.err == ERR_OK && (m.n_sigs == 0 || m.n_sigs > MEMBER_SIGNERS_MAX))
		rd_fail(&r, ERR_MALFORMED);
	m.sigs = rd_bytes(&r, (size_t)m.n_sigs * SIG_BYTES);
	if (r.err == ERR_OK && m.flags != 0)
		rd_fail(&r, ERR_UNSUPPORTED);
	if (rd_end(&r) != ERR_OK)
		return rd_end(&r);
	record_id(m.body, &m.id);
	*out = m;
	return ERR_OK;
}

enum err
member_record_place(struct slice record, struct share_id *share, uint64_t *seq)
{
	struct member_record r = { 0 };
	enum err e = record_decode(record, &r);

	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	*share = r.share;
	if (r.kind == MEMBER_GENESIS) /* it makes the share's name */
		memcpy(share->b, r.id.b, sizeof(share->b));
	*seq = r.seq;
	return ERR_OK;
}

void
device_get(struct rd *r, struct cry_device_pub *d)
{
	rd_copy(r, d->site.b, sizeof(d->site.b));
	rd_copy(r, d->sign.b, sizeof(d->sign.b));
	rd_copy(r, d->box.b, sizeof(d->box.b));
}

static struct slice
text_get(struct rd *r)
{
	uint16_t n = rd_u16(r);

	if (n > MEMBER_SEALED_TEXT_MAX)
		rd_fail(r, ERR_LIMIT);
	return rd_bytes(r, n);
}

bool
seals_next(struct rd *r, struct seal_rec *out)
{
	uint16_t n;

	if (r->left == 0)
		return false;
	rd_copy(r, out->to.b, sizeof(out->to.b));
	n = rd_u16(r);
	out->box = rd_bytes(r, n);
	return r->err == ERR_OK;
}

/* The rest of a content: u16 count, then that many seals. */
static struct slice
seals_get(struct rd *r)
{
	uint16_t n = rd_u16(r);
	struct slice all = rd_rest(r);
	struct rd walk = rd_init(all);
	struct seal_rec s;
	uint32_t seen = 0;

	if (n > MEMBER_SEALS_MAX)
		rd_fail(r, ERR_LIMIT);
	while (seals_next(&walk, &s))
		seen++;
	if (rd_end(&walk) != ERR_OK || seen != n)
		rd_fail(r, ERR_MALFORMED);
	return all;
}

enum err
genesis_decode(struct slice content, struct genesis *out)
{
	struct rd r = rd_init(content);
	struct genesis g = { 0 };

	g.policy = rd_u8(&r);
	g.k = rd_u8(&r);
	g.n = rd_u8(&r);
	if (g.k == 0 || g.k > g.n || g.n > MEMBER_SIGNERS_MAX)
		rd_fail(&r, ERR_MALFORMED);
	for (uint8_t i = 0; r.err == ERR_OK && i < g.n; i++)
		device_get(&r, &g.registrar[i]);
	g.share_name = text_get(&r);
	g.site_name = text_get(&r);
	g.seals = seals_get(&r);
	if (r.err == ERR_OK && (g.policy & ~GENESIS_IDENTIFIED) != 0)
		return ERR_UNSUPPORTED;
	if (rd_end(&r) == ERR_OK)
		*out = g;
	return rd_end(&r);
}

enum err
compartment_decode(struct slice content, struct compartment_rec *out)
{
	struct rd r = rd_init(content);
	struct compartment_rec c = { 0 };

	c.number = rd_u16(&r);
	c.epoch = rd_u32(&r);
	c.name = text_get(&r);
	c.seals = seals_get(&r);
	if (rd_end(&r) == ERR_OK)
		*out = c;
	return rd_end(&r);
}

enum err
grant_decode(struct slice content, struct grant_rec *out)
{
	struct rd r = rd_init(content);
	struct grant_rec g = { 0 };
	uint8_t flags;

	device_get(&r, &g.device);
	g.role = rd_u8(&r);
	g.compartment = rd_u16(&r);
	flags = rd_u8(&r);
	if (flags > 1)
		rd_fail(&r, ERR_UNSUPPORTED);
	g.no_history = flags == 1;
	g.site_name = text_get(&r);
	g.seals = seals_get(&r);
	if (rd_end(&r) == ERR_OK)
		*out = g;
	return rd_end(&r);
}

void
cut_read(struct rd *r, const struct share_id *share,
    const struct cry_sign_pk *device, struct member_cut *out)
{
	struct slice head;

	out->feed.share = *share;
	out->feed.device = *device;
	out->feed.compartment = rd_u16(r);
	out->feed.incarnation = rd_u64(r);
	head = rd_bytes(r, OP_HEAD_BYTES);
	if (r->err == ERR_OK && op_head_decode(head, &out->head) != ERR_OK)
		rd_fail(r, ERR_MALFORMED);
}

void
cut_write(const struct member_cut *c, struct buf *out)
{
	buf_u16(out, c->feed.compartment);
	buf_u64(out, c->feed.incarnation);
	op_head_encode(&c->head, out);
}

enum err
revoke_decode(struct slice content, struct revoke_rec *out)
{
	struct rd r = rd_init(content);
	struct revoke_rec v = { 0 };

	device_get(&r, &v.device);
	v.n = rd_u16(&r);
	if (v.n > MEMBER_CUTS_MAX)
		rd_fail(&r, ERR_LIMIT);
	v.cuts = rd_bytes(&r, (size_t)v.n * CUT_BYTES);
	v.reason = text_get(&r);
	if (rd_end(&r) == ERR_OK)
		*out = v;
	return rd_end(&r);
}

enum err
rotate_decode(struct slice content, struct rotate_rec *out)
{
	struct rd r = rd_init(content);
	struct rotate_rec v = { 0 };

	v.compartment = rd_u16(&r);
	v.epoch = rd_u32(&r);
	v.ladder = rd_bytes(&r, LADDER_BYTES);
	v.seals = seals_get(&r);
	if (rd_end(&r) == ERR_OK)
		*out = v;
	return rd_end(&r);
}

enum err
registrars_decode(struct slice content, struct registrars_rec *out)
{
	struct rd r = rd_init(content);
	struct registrars_rec v = { 0 };

	v.to.k = rd_u8(&r);
	v.to.n = rd_u8(&r);
	if (v.to.n > MEMBER_SIGNERS_MAX)
		rd_fail(&r, ERR_LIMIT);
	for (uint8_t i = 0; r.err == ERR_OK && i < v.to.n; i++)
		device_get(&r, &v.to.device[i]);
	v.seals = seals_get(&r);
	if (rd_end(&r) == ERR_OK)
		*out = v;
	return rd_end(&r);
}

enum err
record_seals(const struct member_record *r, struct slice *out)
{
	struct compartment_rec c;
	struct registrars_rec rg;
	struct rotate_rec ro;
	struct grant_rec gr;
	struct genesis g;
	enum err e;

	*out = slice_of(NULL, 0);
	if (r->kind == MEMBER_GENESIS) {
		if ((e = genesis_decode(r->content, &g)) == ERR_OK)
			*out = g.seals;
	} else if (r->kind == MEMBER_COMPARTMENT) {
		if ((e = compartment_decode(r->content, &c)) == ERR_OK)
			*out = c.seals;
	} else if (r->kind == MEMBER_GRANT) {
		if ((e = grant_decode(r->content, &gr)) == ERR_OK)
			*out = gr.seals;
	} else if (r->kind == MEMBER_ROTATE) {
		if ((e = rotate_decode(r->content, &ro)) == ERR_OK)
			*out = ro.seals;
	} else if (r->kind == MEMBER_REGISTRARS) {
		if ((e = registrars_decode(r->content, &rg)) == ERR_OK)
			*out = rg.seals;
	} else {
		e = ERR_UNSUPPORTED;
	}
	return e;
}

void
record_begin(const struct member_record *r, struct buf *out)
{
	buf_u8(out, MEMBER_VERSION);
	buf_u8(out, r->kind);
	buf_u16(out, r->flags);
	buf_put(out, r->share.b, sizeof(r->share.b));
	buf_u64(out, r->seq);
	buf_put(out, r->prev.b, sizeof(r->prev.b));
	buf_u64(out, r->wall_ms);
}

enum err
record_finish(struct buf *out, struct slice content, uint8_t signer,
    const struct cry_sign_sk *sk)
{
	struct cry_sig sig;

	buf_u32(out, (uint32_t)content.n);
	buf_put_slice(out, content);
	if (buf_err(out) != ERR_OK)
		return buf_err(out);
	cry_sign(sk, MEMBER_SIG_DOMAIN, buf_slice(out), &sig);
	buf_u8(out, 1);
	buf_u8(out, signer);
	buf_put(out, sig.b, sizeof(sig.b));
	if (buf_err(out) == ERR_OK && out->n > LIM_MEMBER_RECORD_BYTES)
		return ERR_LIMIT;
	return buf_err(out);
}

bool
name_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > LIM_NAME_BYTES)
		return false;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	}
	return true;
}

void
text_seal(const struct cry_key *name, const char *text, struct buf *out)
{
	uint8_t plain[1 + TEXT_PAD] = { 0 };
	uint8_t nonce[CRY_NONCE_BYTES];
	size_t n = strlen(text);

	REQUIRE(n <= LIM_NAME_BYTES);
	plain[0] = (uint8_t)n;
	memcpy(plain + 1, text, n);
	cry_random(nonce, sizeof(nonce));
	buf_u16(out, (uint16_t)(sizeof(nonce) + sizeof(plain) + CRY_TAG_BYTES));
	buf_put(out, nonce, sizeof(nonce));
	cry_aead_seal(name, nonce, SLICE_LIT("psc.text.1"),
	    slice_of(plain, sizeof(plain)), out);
	cry_wipe(plain, sizeof(plain));
}

enum err
text_open(const struct cry_key *name, struct slice sealed,
    char out[LIM_NAME_BYTES + 1])
{
	struct buf plain = BUF_MAX(256);
	enum err e;

	if (sealed.n < CRY_NONCE_BYTES + CRY_TAG_BYTES)
		return ERR_MALFORMED;
	e = cry_aead_open(name, sealed.p, SLICE_LIT("psc.text.1"),
	    slice_of(sealed.p + CRY_NONCE_BYTES, sealed.n - CRY_NONCE_BYTES),
	    &plain);
	if (e != ERR_OK)
		goto out;
	e = ERR_MALFORMED;
	if (plain.n != 1 + TEXT_PAD || plain.p[0] > LIM_NAME_BYTES)
		goto out;
	memcpy(out, plain.p + 1, plain.p[0]);
	out[plain.p[0]] = '\0';
	e = name_ok(out) ? ERR_OK : ERR_MALFORMED;
	if (e != ERR_OK)
		out[0] = '\0';
out:
	buf_wipe(&plain);
	return e;
}
