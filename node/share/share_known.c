/* node/share/share_known.c: does the index know a record of the log?
 *
 * For verify: an op by its id, a head by its feed and number, a membership
 * record by its share and number.  What the index leads to must be this record
 * or another copy of it (a segment that was emptied is gone only later). */
#include "node/share/share_internal.h"

static enum err
op_known(struct store *s, struct db_txn *t, const struct cry_id *id,
    const struct store_loc *loc)
{
	struct buf body = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct store_loc at;
	struct cry_id is;
	enum err e = oplog_op_place(t, id, &at);

	if (e != ERR_OK || (at.seg == loc->seg && at.off == loc->off))
		return e;
	e = store_rec_get_id(s, &at, REC_OP, &is, &body);
	buf_fini(&body);
	if (e == ERR_OK && memcmp(&is, id, sizeof(is)) != 0)
		e = ERR_CORRUPT;
	return e;
}

/* A feed with a hole forgets heads until a peer has filled it: that is damage
 * for so long. */
static enum err
head_known(struct db_txn *t, struct slice body)
{
	struct oplog_head at;
	struct oplog_feed f;
	struct op_head h;
	enum err e = op_head_decode(body, &h);

	if (e == ERR_OK)
		e = oplog_feed_find(t, h.feed.b, &f);
	if (e == ERR_OK)
		e = oplog_head_at(t, f.no, h.seq, &at);
	if (e != ERR_OK)
		return e;
	return at.seq == h.seq && memcmp(at.bytes, body.p, body.n) == 0
		   ? ERR_OK
		   : ERR_NOTFOUND;
}

/* A record may be of a branch that a checkpoint ended. */
static enum err
member_dropped(struct store *s, struct db_txn *t, uint32_t no)
{
	struct buf have = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	bool settled = false;
	enum err e = ERR_OK;

	for (uint64_t seq = 1; e == ERR_OK && !settled; seq++) {
		buf_reset(&have);
		e = oplog_member_get(s, t, no, seq, &have);
		settled = e == ERR_OK && member_is_checkpoint(buf_slice(&have));
	}
	buf_fini(&have);
	return e;
}

static enum err
member_known(struct store *s, struct db_txn *t, struct slice body)
{
	struct buf have = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct share_id share;
	struct cry_id sid;
	uint64_t seq;
	uint32_t no;
	enum err e = member_record_place(body, &share, &seq);

	sid = share_cry_id(&share);
	if (e == ERR_OK)
		e = oplog_share_no(t, &sid, &no);
	if (e != ERR_OK)
		goto out;
	e = oplog_member_get(s, t, no, seq, &have);
	if (e == ERR_OK && !slice_eq(buf_slice(&have), body))
		e = ERR_NOTFOUND;
	if (e == ERR_NOTFOUND)
		e = member_dropped(s, t, no);
out:
	buf_fini(&have);
	return e;
}

enum err
shares_rec_known(struct store *s, struct db_txn *t, enum rec_kind kind,
    const struct cry_id *id, struct slice body, const struct store_loc *loc)
{
	if (kind == REC_OP)
		return op_known(s, t, id, loc);
	if (kind == REC_HEAD)
		return head_known(t, body);
	if (kind == REC_MEMBER)
		return member_known(s, t, body);
	return ERR_OK;
}
