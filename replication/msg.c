/* replication/msg.c: one table describes every message; see msg.h. */
#include "replication/msg.h"

#include "replication/member.h"
#include "store/base/rd.h"

enum field {
	F_END,
	F_TAG,
	F_COMPARTMENT,
	F_FLAGS,
	F_SEQ,
	F_TO,
	F_ID,
	F_FEED, /* device, incarnation */
	F_HEAD,
	F_CREDIT,
	F_LEN,
	F_OFF,
	F_ITEMS, /* n * item_bytes */
	F_BLOBS, /* n * {u32, bytes} */
	F_BYTES, /* the rest, not empty */
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
	{ MSG_FRONT, SESS_CONTROL, FRONT_MORE | FRONT_DELTA, MSG_FRONT_MAX,
	    MSG_FRONT_BYTES, 0, { F_TAG, F_COMPARTMENT, F_FLAGS, F_ITEMS } },
	{ MSG_OPS_REQ, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_SEQ, F_TO } },
	{ MSG_OPS, SESS_OPS, 0, LIM_HEAD_OPS, OP_RUN_BYTES_MAX, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_HEAD, F_BLOBS } },
	{ MSG_PUSH, SESS_OPS, 0, LIM_HEAD_OPS, OP_RUN_BYTES_MAX, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_HEAD, F_BLOBS } },
	{ MSG_IHAVE, SESS_CONTROL, 0, MSG_FRONT_MAX, MSG_FRONT_BYTES, 0,
	    { F_TAG, F_COMPARTMENT, F_ITEMS } },
	{ MSG_GRAFT, SESS_CONTROL, 0, 0, 0, 0,
	    { F_TAG, F_COMPARTMENT, F_FEED, F_SEQ, F_TO } },
	{ MSG_PRUNE, SESS_CONTROL, 0, 0, 0, 0, { F_TAG, F_COMPARTMENT } },
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

static void
head_get(struct rd *r, struct op_head *h)
{
	struct slice s = rd_bytes(r, OP_HEAD_BYTES);
	enum err e;

	if (r->err == ERR_OK && (e = op_head_decode(s, h)) != ERR_OK)
		rd_fail(r, e);
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
	case F_TO: m->to = rd_u64(r); break;
	case F_ID: rd_copy(r, m->id.b, sizeof(m->id.b)); break;
	case F_FEED:
		rd_copy(r, m->device.b, sizeof(m->device.b));
		m->incarnation = rd_u64(r);
		break;
	case F_HEAD: head_get(r, &m->head); break;
	case F_CREDIT:
		for (int i = 0; i < SESS_CLASSES; i++)
			m->credit[i] = rd_u32(r);
		break;
	case F_LEN: m->c_len = rd_u32(r); break;
	case F_OFF: m->off = rd_u32(r); break;
	case F_ITEMS: items_get(r, row, m); break;
	case F_BLOBS: blobs_get(r, row, m); break;
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
	case F_TO: buf_u64(b, m->to); break;
	case F_ID: buf_put(b, m->id.b, sizeof(m->id.b)); break;
	case F_FEED:
		buf_put(b, m->device.b, sizeof(m->device.b));
		buf_u64(b, m->incarnation);
		break;
	case F_HEAD: op_head_encode(&m->head, b); break;
	case F_CREDIT:
		for (int i = 0; i < SESS_CLASSES; i++)
			buf_u32(b, m->credit[i]);
		break;
	case F_LEN: buf_u32(b, m->c_len); break;
	case F_OFF: buf_u32(b, m->off); break;
	case F_ITEMS:
	case F_BLOBS:
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
	buf_put(items, f->id.b, sizeof(f->id.b));
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
	rd_copy(&r, out.id.b, sizeof(out.id.b));
	return out;
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
