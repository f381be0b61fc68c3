/* replication/msg.c: one table describes every message; see msg.h. */
#include "replication/msg.h"

#include "replication/member.h"
#include "replication/witness.h"
#include "store/base/rd.h"

enum field {
	F_END,
	F_TAG,
	F_COMPARTMENT,
	F_FLAGS,
	F_SEQ,
	F_ID,
	F_FEED, /* device, incarnation */
	F_BASE,
	F_SIG, /* of head; the last op has the rest */
	F_CREDIT,
	F_LEN,
	F_OFF,
	F_ITEMS,  /* n * item_bytes */
	F_SHORTS, /* n_shorts * {8 bytes, number} */
	F_BLOBS,  /* n * {u32, bytes} */
	F_OPS,    /* n * op */
	F_BYTES,  /* the rest, not empty */
};

static const struct msg_row {
	uint8_t type;
	uint8_t cls;
	uint8_t flags_mask;
	uint32_t items_max;
	uint32_t item_bytes; /* F_BLOBS: the longest blob */
	uint32_t bytes_max;
	uint8_t fields[8];
} rows[] = {
	{ MSG_OPEN, SESS_CONTROL, 0, LIM_COMPARTMENTS, MSG_ROOT_BYTES, 0,
	    { F_TAG, F_SEQ, F_ID, F_ITEMS } },
	{ MSG_CREDIT, SESS_CONTROL, 0, 0, 0, 0, { F_CREDIT } },
	{ MSG_PING, SESS_CONTROL, 0, 0, 0, 0, { F_SEQ } },
	{ MSG_PONG, SESS_CONTROL, 0, 0, 0, 0, { F_SEQ } },
	{ MSG_MLOG_REQ, SESS_CONTROL, 0, 0, 0, 0, { F_TAG, F_SEQ } },
	{ MSG_MLOG, SESS_OPS, 0, MSG_RECORDS_MAX, LIM_MEMBER_RECORD_BYTES, 0,
	    { F_TAG, F_SEQ, F_BLOBS } },
	{ MSG_ROOT, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_ID, F_SEQ } },
	{ MSG_FRONT, SESS_CONTROL, FRONT_MORE | FRONT_DELTA | FRONT_SINCE,
	    MSG_FRONT_MAX, MSG_FRONT_BYTES, 0,
	    { F_TAG, F_COMPARTMENT, F_FLAGS, F_BASE, F_SHORTS, F_ITEMS } },
	{ MSG_OPS_REQ, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_SHORTS } },
	{ MSG_OPS, SESS_OPS, 0, LIM_HEAD_OPS, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_SIG, F_OPS } },
	{ MSG_PUSH, SESS_OPS, 0, LIM_HEAD_OPS, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_SIG, F_OPS } },
	{ MSG_IHAVE, SESS_CONTROL, 0, MSG_FRONT_MAX, MSG_FRONT_BYTES, 0,
	    { F_TAG, F_COMPARTMENT, F_ITEMS } },
	{ MSG_GRAFT, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_SHORTS } },
	{ MSG_PRUNE, SESS_CONTROL, 0, 0, 0, 0, { F_TAG, F_COMPARTMENT } },
	{ MSG_RBSR, SESS_CONTROL, 0, 0, 0, MSG_CONTROL_BYTES_MAX,
	    { F_TAG, F_COMPARTMENT, F_BYTES } },
	{ MSG_NEED, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_SHORTS } },
	{ MSG_OPS_NONE, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_SEQ } },
	{ MSG_HAVE, SESS_CONTROL, 0, MSG_CIDS_MAX, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_ITEMS } },
	{ MSG_GET, SESS_CONTROL, GET_CLASS, MSG_CIDS_MAX, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_FLAGS, F_ITEMS } },
	{ MSG_CHUNK, SESS_BULK, 0, 0, 0, MSG_CHUNK_BYTES_MAX,
	    { F_ID, F_LEN, F_OFF, F_BYTES } },
	{ MSG_NOT_HAVE, SESS_CONTROL, 0, MSG_CIDS_MAX, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_ITEMS } },
	{ MSG_CANCEL, SESS_CONTROL, 0, MSG_CIDS_MAX, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_ITEMS } },
	{ MSG_BUSY, SESS_CONTROL, 0, MSG_CIDS_MAX, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_LEN, F_ITEMS } },
	{ MSG_CHALLENGE, SESS_CONTROL, 0, 1, 32, 0,
	    { F_TAG, F_COMPARTMENT, F_ID, F_ITEMS } },
	{ MSG_PROOF, SESS_CONTROL, 0, 1, MSG_PROOF_BYTES, 0,
	    { F_TAG, F_COMPARTMENT, F_ID, F_ITEMS } },
	{ MSG_STATEMENT, SESS_OPS, 0, 0, 0, LIM_MEMBER_RECORD_BYTES,
	    { F_TAG, F_BYTES } },
	{ MSG_WITNESS, SESS_OPS, 0, 0, 0, WITNESS_BYTES_MAX,
	    { F_TAG, F_BYTES } },
	{ MSG_WITNESSES, SESS_CONTROL, WITNESSES_LIST, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_FLAGS, F_BASE, F_SHORTS } },
	{ MSG_CLAIM, SESS_CONTROL, 0, 0, 0, CLAIM_BYTES_MAX,
	    { F_TAG, F_BYTES } },
};

static const struct msg_row *
row_of(uint8_t type)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].type == type)
			return &rows[i];
	}
	return NULL;
}

enum sess_class
msg_class(uint8_t type)
{
	const struct msg_row *row = row_of(type);

	return row == NULL ? SESS_CONTROL : (enum sess_class)row->cls;
}

bool
msg_is_free(uint8_t type)
{
	return type == MSG_CREDIT || type == MSG_PING || type == MSG_PONG;
}

/* 7 bits a byte, low ones first; the shortest form only. */
static uint64_t
number_get(struct rd *r)
{
	uint64_t v = 0;
	uint8_t b = 0x80;

	for (unsigned at = 0; at < 64 && (b & 0x80) != 0; at += 7) {
		b = rd_u8(r);
		if (at == 63 && b > 1)
			rd_fail(r, ERR_MALFORMED);
		if (at > 0 && b == 0)
			rd_fail(r, ERR_MALFORMED);
		v |= (uint64_t)(b & 0x7F) << at;
	}
	return v;
}

static void
number_put(uint64_t v, struct buf *b)
{
	for (; v >= 0x80; v >>= 7)
		buf_u8(b, (uint8_t)(v | 0x80));
	buf_u8(b, (uint8_t)v);
}

static void
short_get(struct rd *r, struct msg_short *f)
{
	rd_copy(r, f->feed, sizeof(f->feed));
	f->seq = number_get(r);
}

static void
shorts_get(struct rd *r, struct msg *m)
{
	const uint8_t *start;
	struct msg_short f;
	size_t left;

	m->n_shorts = rd_count(r, MSG_SHORTS_MAX, 9);
	start = r->at;
	left = r->left;
	for (uint32_t i = 0; r->err == ERR_OK && i < m->n_shorts; i++)
		short_get(r, &f);
	m->shorts = slice_of(start, left - r->left);
}

static void
ops_get(struct rd *r, const struct msg_row *row, struct msg *m)
{
	struct cry_sig sig = m->head.sig;
	struct slice all, op = { 0 };
	size_t n, at = 0;
	enum err e;

	m->n = rd_count(r, row->items_max, OP_BYTES_MIN);
	all = rd_rest(r);
	for (uint32_t i = 0; r->err == ERR_OK && i < m->n; i++) {
		op = slice_of(all.p + at, all.n - at);
		if ((e = op_span(op, &n)) != ERR_OK)
			rd_fail(r, e);
		op.n = n;
		at += n;
	}
	if (r->err == ERR_OK && m->n == 0)
		rd_fail(r, ERR_MALFORMED);
	else if (r->err == ERR_OK && at < all.n)
		rd_fail(r, ERR_TRAILING);
	if (r->err != ERR_OK)
		return;
	m->items = all;
	op_head_of(op, &m->head);
	m->head.sig = sig;
}

static void
items_get(struct rd *r, const struct msg_row *row, struct msg *m)
{
	m->n = rd_count(r, row->items_max, row->item_bytes);
	m->items = rd_bytes(r, (size_t)m->n * row->item_bytes);
}

static void
blobs_get(struct rd *r, const struct msg_row *row, struct msg *m)
{
	const uint8_t *start;
	size_t left;

	m->n = rd_count(r, row->items_max, 5);
	start = r->at;
	left = r->left;
	for (uint32_t i = 0; r->err == ERR_OK && i < m->n; i++) {
		uint32_t len = rd_count(r, row->item_bytes, 1);

		if (r->err == ERR_OK && len == 0)
			rd_fail(r, ERR_MALFORMED);
		(void)rd_bytes(r, len);
	}
	if (r->err == ERR_OK && m->n == 0)
		rd_fail(r, ERR_MALFORMED);
	m->items = slice_of(start, left - r->left);
}

static void
bytes_get(struct rd *r, const struct msg_row *row, struct msg *m)
{
	m->bytes = rd_rest(r);
	if (r->err == ERR_OK && m->bytes.n == 0)
		rd_fail(r, ERR_MALFORMED);
	else if (r->err == ERR_OK && m->bytes.n > row->bytes_max)
		rd_fail(r, ERR_LIMIT);
}

static void
flags_get(struct rd *r, const struct msg_row *row, struct msg *m)
{
	m->flags = rd_u8(r);
	if (r->err == ERR_OK && (m->flags & ~row->flags_mask) != 0)
		rd_fail(r, ERR_UNSUPPORTED);
}

static void
field_get(struct rd *r, const struct msg_row *row, uint8_t field, struct msg *m)
{
	switch ((enum field)field) {
	case F_TAG: rd_copy(r, m->tag.b, sizeof(m->tag.b)); break;
	case F_COMPARTMENT: m->compartment = rd_u16(r); break;
	case F_FLAGS: flags_get(r, row, m); break;
	case F_SEQ: m->seq = rd_u64(r); break;
	case F_ID: rd_copy(r, m->id.b, sizeof(m->id.b)); break;
	case F_FEED:
		rd_copy(r, m->device.b, sizeof(m->device.b));
		m->incarnation = rd_u64(r);
		break;
	case F_BASE: m->base = rd_u64(r); break;
	case F_SIG: rd_copy(r, m->head.sig.b, sizeof(m->head.sig.b)); break;
	case F_CREDIT:
		for (int i = 0; i < SESS_CLASSES; i++)
			m->credit[i] = rd_u32(r);
		break;
	case F_LEN: m->c_len = rd_u32(r); break;
	case F_OFF: m->off = rd_u32(r); break;
	case F_ITEMS: items_get(r, row, m); break;
	case F_SHORTS: shorts_get(r, m); break;
	case F_BLOBS: blobs_get(r, row, m); break;
	case F_OPS: ops_get(r, row, m); break;
	case F_BYTES: bytes_get(r, row, m); break;
	case F_END: break;
	}
}

enum err
msg_decode(uint8_t type, struct slice body, struct msg *out)
{
	const struct msg_row *row = row_of(type);
	struct rd r = rd_init(body);
	struct msg m = { .type = type };

	if (row == NULL)
		return ERR_UNSUPPORTED;
	if (row->cls == SESS_CONTROL && body.n > MSG_CONTROL_BYTES_MAX)
		return ERR_LIMIT;
	if (body.n > LIM_MESSAGE_BYTES)
		return ERR_LIMIT;
	for (int i = 0; row->fields[i] != F_END; i++)
		field_get(&r, row, row->fields[i], &m);
	if (rd_end(&r) == ERR_OK)
		*out = m;
	return rd_end(&r);
}

static void
field_put(uint8_t field, const struct msg *m, struct buf *b)
{
	switch ((enum field)field) {
	case F_TAG: buf_put(b, m->tag.b, sizeof(m->tag.b)); break;
	case F_COMPARTMENT: buf_u16(b, m->compartment); break;
	case F_FLAGS: buf_u8(b, m->flags); break;
	case F_SEQ: buf_u64(b, m->seq); break;
	case F_ID: buf_put(b, m->id.b, sizeof(m->id.b)); break;
	case F_FEED:
		buf_put(b, m->device.b, sizeof(m->device.b));
		buf_u64(b, m->incarnation);
		break;
	case F_BASE: buf_u64(b, m->base); break;
	case F_SIG: buf_put(b, m->head.sig.b, sizeof(m->head.sig.b)); break;
	case F_CREDIT:
		for (int i = 0; i < SESS_CLASSES; i++)
			buf_u32(b, m->credit[i]);
		break;
	case F_LEN: buf_u32(b, m->c_len); break;
	case F_OFF: buf_u32(b, m->off); break;
	case F_SHORTS:
		buf_u32(b, m->n_shorts);
		buf_put_slice(b, m->shorts);
		break;
	case F_ITEMS:
	case F_BLOBS:
	case F_OPS:
		buf_u32(b, m->n);
		buf_put_slice(b, m->items);
		break;
	case F_BYTES: buf_put_slice(b, m->bytes); break;
	case F_END: break;
	}
}

enum err
msg_encode(const struct msg *m, struct buf *out)
{
	const struct msg_row *row = row_of(m->type);

	REQUIRE(row != NULL);
	for (int i = 0; row->fields[i] != F_END; i++)
		field_put(row->fields[i], m, out);
	return buf_err(out);
}

void
msg_root_put(const struct msg_root *r, struct buf *items)
{
	buf_u16(items, r->compartment);
	buf_put(items, r->root.b, sizeof(r->root.b));
	buf_u64(items, r->ops);
}

struct msg_root
msg_root_at(const struct msg *m, uint32_t i)
{
	struct msg_root out;
	struct rd r;

	REQUIRE(i < m->n);
	r = rd_init(
	    slice_of(m->items.p + (size_t)i * MSG_ROOT_BYTES, MSG_ROOT_BYTES));
	out.compartment = rd_u16(&r);
	rd_copy(&r, out.root.b, sizeof(out.root.b));
	out.ops = rd_u64(&r);
	return out;
}

void
msg_front_put(const struct msg_front *f, struct buf *items)
{
	buf_put(items, f->device.b, sizeof(f->device.b));
	buf_u64(items, f->incarnation);
	buf_u64(items, f->seq);
}

struct msg_front
msg_front_at(const struct msg *m, uint32_t i)
{
	struct msg_front out;
	struct rd r;

	REQUIRE(i < m->n);
	r = rd_init(slice_of(
	    m->items.p + (size_t)i * MSG_FRONT_BYTES, MSG_FRONT_BYTES));
	rd_copy(&r, out.device.b, sizeof(out.device.b));
	out.incarnation = rd_u64(&r);
	out.seq = rd_u64(&r);
	return out;
}

void
msg_short_put(const struct msg_short *f, struct buf *shorts)
{
	buf_put(shorts, f->feed, sizeof(f->feed));
	number_put(f->seq, shorts);
}

struct msg_short
msg_short_next(const struct msg *m, size_t *at)
{
	struct msg_short f = { 0 };
	struct rd r;

	REQUIRE(*at <= m->shorts.n);
	r = rd_init(slice_of(m->shorts.p + *at, m->shorts.n - *at));
	short_get(&r, &f);
	*at = m->shorts.n - r.left;
	return f;
}

struct cry_id
msg_cid_at(const struct msg *m, uint32_t i)
{
	struct cry_id out;

	REQUIRE(i < m->n);
	memcpy(out.b, m->items.p + (size_t)i * sizeof(out.b), sizeof(out.b));
	return out;
}

void
msg_proof_put(const struct msg_proof *p, struct buf *items)
{
	buf_put(items, p->cid.b, sizeof(p->cid.b));
	buf_put(items, p->hash.b, sizeof(p->hash.b));
}

struct msg_proof
msg_proof_at(const struct msg *m, uint32_t i)
{
	struct msg_proof out;

	REQUIRE(i < m->n);
	memcpy(out.cid.b, m->items.p + (size_t)i * MSG_PROOF_BYTES, 32);
	memcpy(out.hash.b, m->items.p + (size_t)i * MSG_PROOF_BYTES + 32, 32);
	return out;
}

void
msg_blob_put(struct slice blob, struct buf *items)
{
	buf_u32(items, (uint32_t)blob.n);
	buf_put_slice(items, blob);
}

struct slice
msg_blob_next(const struct msg *m, size_t *at)
{
	struct rd r;
	struct slice s;

	REQUIRE(*at <= m->items.n);
	r = rd_init(slice_of(m->items.p + *at, m->items.n - *at));
	s = rd_bytes(&r, rd_u32(&r));
	*at = m->items.n - r.left;
	return s;
}

struct slice
msg_op_next(const struct msg *m, size_t *at)
{
	struct slice s;
	size_t n = 0;

	REQUIRE(*at <= m->items.n);
	s = slice_of(m->items.p + *at, m->items.n - *at);
	REQUIRE(op_span(s, &n) == ERR_OK);
	s.n = n;
	*at += n;
	return s;
}
