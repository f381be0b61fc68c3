/* node/net/air_out.c: writes the file that takes the place of a session.
 *
 * Share by share of which reader and we are members: chain, freezes, OPEN,
 * the ops the reader has not told us it has, our frontier, what we want; then
 * the chunks that those ops name, or that the reader said it wants, as far as
 * they are here and were given in its compartments.  A share that this node
 * would join adds its claim.  Short read transactions; ops and chunks pass
 * one by one.  The file gets its name when all of it is on disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/net/air_internal.h"

#define OUT_FLUSH (1 * MIB)
#define OUT_RUN_BYTES (256 * KIB)
#define OUT_PATH_MAX 4096u
#define OUT_PIECE ((size_t)256 * KIB)

struct out_chunk {
	struct cry_id cid;
	uint32_t share;
	uint16_t compartment;
};

struct out_feed {
	struct oplog_feed f;
	uint64_t seq;
};

struct out {
	struct net *n;
	const struct net_air_opts *o;
	struct net_air_done *done;
	struct air air;
	int fd;
	struct buf b;
	struct out_chunk *chunk;
	size_t n_chunks, cap_chunks;
	/* of the share at hand */
	uint32_t no;
	struct share_id id;
	struct msg_tag tag;
	struct member *m;
	struct air_told told;
	struct out_feed *feed;
	size_t n_feeds, cap_feeds;
};

/* --- bytes --- */

static enum err
out_flush(struct out *o)
{
	size_t at = 0;
	ssize_t w;

	if (buf_err(&o->b) != ERR_OK)
		return buf_err(&o->b);
	while (at < o->b.n) {
		w = write(o->fd, o->b.p + at, o->b.n - at);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == ENOSPC || errno == EDQUOT ? ERR_FULL
								  : ERR_IO;
		at += (size_t)w;
	}
	o->done->bytes += o->b.n;
	buf_reset(&o->b);
	return ERR_OK;
}

static enum err
out_msg(struct out *o, const struct msg *m)
{
	struct buf body = BUF_MAX(LIM_MESSAGE_BYTES);
	enum err e = msg_encode(m, &body);

	if (e == ERR_OK) {
		air_write(&o->air, m->type, buf_slice(&body), &o->b);
		e = buf_err(&o->b);
	}
	buf_fini(&body);
	if (e == ERR_OK && o->b.n >= OUT_FLUSH)
		e = out_flush(o);
	if (e == ERR_OK && o->o->stop != NULL && o->o->stop(o->o->stop_ctx))
		e = ERR_CANCELLED;
	return e;
}

/* --- the chain --- */

/* Up to a message of records; the last that the reader told is among them, so
 * that two branches show as two records with one number. */
static enum err
out_records(struct out *o)
{
	uint64_t seq = o->o->all ? 0 : o->told.chain_seq;
	struct msg m = { .type = MSG_MLOG, .tag = o->tag };
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);
	enum err e = ERR_OK;

	if (seq > member_seq(o->m))
		seq = member_seq(o->m);
	while (seq <= member_seq(o->m) && e == ERR_OK) {
		m.seq = seq;
		m.n = 0;
		buf_reset(&items);
		do {
			msg_blob_put(member_record(o->m, seq), &items);
			m.n++;
			seq++;
		} while (seq <= member_seq(o->m) && m.n < MSG_RECORDS_MAX &&
			 items.n < LIM_MESSAGE_BYTES / 2);
		m.items = buf_slice(&items);
		if ((e = buf_err(&items)) == ERR_OK)
			e = out_msg(o, &m);
		o->done->records += m.n;
	}
	buf_fini(&items);
	return e;
}

static int
out_statement(void *ctx, const struct share_id *share, struct slice bytes)
{
	struct out *o = ctx;
	struct msg m = { .type = MSG_STATEMENT, .tag = o->tag, .bytes = bytes };

	(void)share;
	return (int)out_msg(o, &m);
}

static enum err
out_open(struct out *o)
{
	struct msg m = { .type = MSG_OPEN,
		.tag = o->tag,
		.seq = member_seq(o->m),
		.id = *member_head(o->m) };

	return out_msg(o, &m);
}

/* --- ops --- */

static bool
shared(const struct out *o, uint16_t compartment)
{
	return member_may_receive(o->m, &o->n->me->pub.sign, compartment) &&
	       member_may_receive(o->m, &o->o->to.sign, compartment);
}

static int
out_feed_one(
    void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct out *o = ctx;
	struct out_feed *v;

	if (f->share != o->no || head == NULL || !shared(o, f->compartment))
		return 0;
	if (o->n_feeds == o->cap_feeds) {
		v = mem_grow(o->feed, o->cap_feeds + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		o->feed = v;
		o->cap_feeds += 64;
	}
	o->feed[o->n_feeds].f = *f;
	o->feed[o->n_feeds++].seq = head->seq;
	return 0;
}

static enum err
out_chunk_add(struct out *o, uint16_t compartment, const struct cry_id *cid)
{
	struct out_chunk *v;
	size_t cap = o->cap_chunks == 0 ? 256 : 2 * o->cap_chunks;

	if (o->n_chunks == o->cap_chunks) {
		v = mem_grow(o->chunk, cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		o->chunk = v;
		o->cap_chunks = cap;
	}
	v = &o->chunk[o->n_chunks++];
	v->cid = *cid;
	v->share = o->no;
	v->compartment = compartment;
	return ERR_OK;
}

static enum err
out_named(struct out *o, uint16_t compartment, struct slice op)
{
	struct op_view v;
	struct op_chunk c;
	uint32_t n = 0;
	enum err e = op_decode(op, &v);

	if (e != ERR_OK)
		return ERR_CORRUPT;
	if (v.packing.n == 0 || o->o->no_content ||
	    !member_may_fetch(o->m, &o->o->to.sign, compartment))
		return ERR_OK;
	e = op_packing_check(v.packing, &n);
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		c = op_packing_at(v.packing, i);
		e = out_chunk_add(o, compartment, &c.cid);
	}
	return e;
}

static enum err
out_run(struct out *o, const struct net_run_ops *run)
{
	struct msg m = { .type = MSG_PUSH,
		.tag = o->tag,
		.compartment = run->feed.compartment,
		.device = run->feed.device,
		.incarnation = run->feed.incarnation,
		.head = run->head,
		.n = run->n_ops };
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);
	enum err e;

	for (uint32_t i = 0; i < run->n_ops; i++)
		buf_put_slice(&items, run->ops[i]);
	m.items = buf_slice(&items);
	if ((e = buf_err(&items)) == ERR_OK)
		e = out_msg(o, &m);
	for (uint32_t i = 0; i < run->n_ops && e == ERR_OK; i++)
		e = out_named(o, run->feed.compartment, run->ops[i]);
	o->done->ops += run->n_ops;
	buf_fini(&items);
	return e;
}

/* As far as a revoked device's ops count; the rest of a run goes. */
static void
run_cut(struct net_run_ops *run, const struct op_head *cut)
{
	uint64_t over = run->head.seq > cut->seq ? run->head.seq - cut->seq : 0;

	if (over == 0 || over >= run->n_ops)
		return;
	run->n_ops -= (uint32_t)over;
	run->head = *cut;
}

static bool
run_fits(const struct net_run_ops *run)
{
	return run->n_ops <= LIM_HEAD_OPS && run->bytes.n <= OP_RUN_BYTES_MAX;
}

static enum err
out_feed_ops(struct out *o, const struct out_feed *f)
{
	struct feed_id id;
	struct op_feed of = { .share = o->id,
		.compartment = f->f.compartment,
		.incarnation = f->f.incarnation };
	struct op_head cut = { .seq = f->seq };
	struct net_run_ops run;
	uint64_t seq;
	enum err e = ERR_OK;

	memcpy(of.device.b, f->f.device, sizeof(of.device.b));
	memcpy(id.b, f->f.id, sizeof(id.b));
	switch (member_feed(o->m, &of, &cut)) {
	case MEMBER_FEED_NONE:
	case MEMBER_FEED_HELD: return ERR_OK;
	case MEMBER_FEED_OPEN: cut.seq = f->seq; break;
	case MEMBER_FEED_CUT: break;
	}
	seq = o->o->all ? 0 : air_told_seq(&o->told, &id);
	while (e == ERR_OK && seq < f->seq && seq < cut.seq) {
		e = net_store_run(o->n, &id, seq + 1, OUT_RUN_BYTES, &run);
		if (e == ERR_OK && !run_fits(&run)) {
			net_run_ops_fini(&run);
			e = net_store_run(o->n, &id, seq + 1, 1, &run);
		}
		if (e != ERR_OK)
			return e;
		run_cut(&run, &cut);
		seq = run.head.seq;
		e = out_run(o, &run);
		net_run_ops_fini(&run);
	}
	return e;
}

/* --- what we hold and want, for the reader's next file --- */

static enum err
out_front_page(struct out *o, uint16_t compartment, struct buf *items)
{
	struct msg m = { .type = MSG_FRONT,
		.tag = o->tag,
		.compartment = compartment,
		.n = (uint32_t)(items->n / MSG_FRONT_BYTES) };
	enum err e = buf_err(items);

	m.items = buf_slice(items);
	if (e == ERR_OK && m.n > 0)
		e = out_msg(o, &m);
	buf_reset(items);
	return e;
}

static enum err
out_front(struct out *o, uint16_t compartment)
{
	struct buf items = BUF_MAX((size_t)MSG_FRONT_MAX * MSG_FRONT_BYTES);
	struct msg_front f;
	enum err e = ERR_OK;

	for (size_t i = 0; i < o->n_feeds && e == ERR_OK; i++) {
		if (o->feed[i].f.compartment != compartment)
			continue;
		memcpy(f.device.b, o->feed[i].f.device, sizeof(f.device.b));
		f.incarnation = o->feed[i].f.incarnation;
		f.seq = o->feed[i].seq;
		msg_front_put(&f, &items);
		if (items.n == items.max)
			e = out_front_page(o, compartment, &items);
	}
	if (e == ERR_OK)
		e = out_front_page(o, compartment, &items);
	buf_fini(&items);
	return e;
}

struct out_wants {
	struct out *o;
	uint16_t compartment;
	struct buf cids; /* whole pages */
	uint32_t n;
};

static int
out_want_one(void *ctx, const struct oplog_want *w)
{
	struct out_wants *s = ctx;

	if (w->share != s->o->no || w->compartment != s->compartment)
		return 0;
	if (++s->n > AIR_WANTS_MAX)
		return 1;
	buf_put(&s->cids, w->cid.b, sizeof(w->cid.b));
	return buf_err(&s->cids);
}

static enum err
out_wants(struct out *o, uint16_t compartment)
{
	struct out_wants s = { o, compartment,
		BUF_MAX((size_t)AIR_WANTS_MAX * 32), 0 };
	struct msg m = { .type = MSG_GET,
		.tag = o->tag,
		.compartment = compartment,
		.flags = REPL_BACKFILL };
	struct db_txn *txn = NULL;
	enum err e = store_read(o->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_wants_each(txn, out_want_one, &s);
	db_abort(txn);
	for (size_t at = 0; at < s.cids.n && e == ERR_OK; at += m.items.n) {
		size_t left = s.cids.n - at, page = (size_t)MSG_CIDS_MAX * 32;

		m.items = slice_of(s.cids.p + at, left < page ? left : page);
		m.n = (uint32_t)(m.items.n / 32);
		e = out_msg(o, &m);
	}
	buf_fini(&s.cids);
	return e;
}

/* --- content --- */

static int
chunk_cmp(const void *a, const void *b)
{
	const struct out_chunk *x = a, *y = b;

	return memcmp(x->cid.b, y->cid.b, sizeof(x->cid.b));
}

static enum err
out_pieces(struct out *o, const struct cry_id *cid, struct slice bytes)
{
	struct msg m = {
		.type = MSG_CHUNK, .id = *cid, .c_len = (uint32_t)bytes.n
	};
	enum err e = ERR_OK;

	for (size_t at = 0; at < bytes.n && e == ERR_OK; at += m.bytes.n) {
		size_t left = bytes.n - at;

		m.off = (uint32_t)at;
		m.bytes =
		    slice_of(bytes.p + at, left < OUT_PIECE ? left : OUT_PIECE);
		e = out_msg(o, &m);
	}
	o->done->chunks++;
	return e;
}

/* ERR_NOTFOUND: not here, or not given in that compartment. */
static enum err
out_chunk(struct out *o, const struct out_chunk *c)
{
	struct buf bytes = BUF_MAX(2 * LIM_PIECE_BYTES);
	struct db_txn *txn = NULL;
	enum err e = store_read(o->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_cref_check(txn, c->share, c->compartment, &c->cid);
	if (e == ERR_OK)
		e = blob_chunk_get(o->n->store, txn, &c->cid, &bytes);
	db_abort(txn);
	if (e == ERR_OK)
		e = out_pieces(o, &c->cid, buf_slice(&bytes));
	buf_fini(&bytes);
	return e;
}

/* Each chunk once, by the first compartment it was given in; a damaged one is
 * not here. */
static enum err
out_chunks(struct out *o)
{
	enum err e = ERR_OK;
	bool have = false;

	if (o->n_chunks > 1)
		qsort(o->chunk, o->n_chunks, sizeof(*o->chunk), chunk_cmp);
	for (size_t i = 0; i < o->n_chunks && e == ERR_OK; i++) {
		if (i > 0 && chunk_cmp(&o->chunk[i - 1], &o->chunk[i]) != 0)
			have = false;
		if (have)
			continue;
		e = out_chunk(o, &o->chunk[i]);
		have = e == ERR_OK;
		if (e == ERR_NOTFOUND || e == ERR_CORRUPT)
			e = ERR_OK;
	}
	return e;
}

/* --- shares --- */

static enum err
out_wishes(struct out *o)
{
	enum err e = ERR_OK;

	if (o->o->no_content)
		return ERR_OK;
	for (uint32_t i = 0; i < o->told.n_wishes && e == ERR_OK; i++) {
		const struct air_wish *w = &o->told.wish[i];

		if (shared(o, w->compartment) &&
		    member_may_fetch(o->m, &o->o->to.sign, w->compartment))
			e = out_chunk_add(o, w->compartment, &w->cid);
	}
	return e;
}

static enum err
out_compartments(struct out *o)
{
	enum err e = ERR_OK;
	uint16_t no;

	for (uint32_t i = 0; i < member_n_compartments(o->m) && e == ERR_OK;
	     i++) {
		no = member_compartment(o->m, i);
		if (!shared(o, no))
			continue;
		if ((e = out_front(o, no)) == ERR_OK)
			e = out_wants(o, no);
	}
	return e;
}

static enum err
out_share(struct out *o)
{
	struct db_txn *txn = NULL;
	enum err e;

	e = air_told_load(o->n->store, &o->o->to.box, &o->id, &o->told);
	if (e == ERR_OK)
		e = out_records(o);
	if (e == ERR_OK)
		e = shares_statements_each(
		    o->n->shares, &o->id, out_statement, o);
	if (e == ERR_OK)
		e = out_open(o);
	if (e == ERR_OK && (e = store_read(o->n->store, &txn)) == ERR_OK)
		e = oplog_feeds_each(txn, out_feed_one, o);
	db_abort(txn);
	for (size_t i = 0; i < o->n_feeds && e == ERR_OK; i++)
		e = out_feed_ops(o, &o->feed[i]);
	if (e == ERR_OK)
		e = out_compartments(o);
	if (e == ERR_OK)
		e = out_wishes(o);
	o->done->shares++;
	return e;
}

static int
state_freeze(void *ctx, const struct share_id *share, struct slice bytes)
{
	(void)share;
	if (member_is_statement(bytes) &&
	    member_freeze(ctx, bytes) == ERR_NOMEM)
		return ERR_NOMEM;
	return 0;
}

/* The chain as it is on disk, freezes applied. */
static enum err
state_read(struct out *o)
{
	struct buf b = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct db_txn *txn = NULL;
	uint64_t seq = 0;
	enum err e = store_read(o->n->store, &txn);

	while (e == ERR_OK) {
		buf_reset(&b);
		e = oplog_member_get(o->n->store, txn, o->no, seq++, &b);
		if (e == ERR_OK)
			e = seq == 1 ? member_new(buf_slice(&b), &o->m)
				     : member_apply(o->m, buf_slice(&b));
	}
	db_abort(txn);
	buf_fini(&b);
	if (e == ERR_NOTFOUND)
		e = o->m == NULL ? ERR_NOTFOUND
				 : shares_statements_each(o->n->shares, &o->id,
				       state_freeze, o->m);
	return e;
}

static void
share_done(struct out *o)
{
	member_free(o->m);
	o->m = NULL;
	air_told_fini(&o->told);
	mem_free(o->feed);
	o->feed = NULL;
	o->n_feeds = o->cap_feeds = 0;
}

static bool
both(const struct out *o)
{
	const struct cry_device_pub *me = &o->n->me->pub, *to = &o->o->to;

	return member_is_device(o->m, me) && member_is_device(o->m, to) &&
	       !member_is_frozen(o->m, &me->sign) &&
	       !member_is_frozen(o->m, &to->sign);
}

struct out_ids {
	struct share_id id[LIM_SHARES];
	uint32_t no[LIM_SHARES];
	uint32_t n;
};

static int
out_id_one(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct out_ids *s = ctx;

	if (s->n == LIM_SHARES)
		return 1;
	s->no[s->n] = no;
	memcpy(s->id[s->n++].b, share->b, sizeof(share->b));
	return 0;
}

static enum err
out_shares(struct out *o)
{
	struct out_ids *s = mem_new(sizeof(*s));
	struct db_txn *txn = NULL;
	enum err e = s == NULL ? ERR_NOMEM : store_read(o->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_shares_each(txn, out_id_one, s);
	db_abort(txn);
	for (uint32_t i = 0; e == ERR_OK && i < s->n; i++) {
		o->no = s->no[i];
		o->id = s->id[i];
		repl_tag(&o->id, o->air.hash, true, o->tag.b);
		e = state_read(o);
		if (e == ERR_NOTFOUND)
			e = ERR_OK; /* named by a row, no chain */
		else if (e == ERR_OK && both(o))
			e = out_share(o);
		share_done(o);
	}
	mem_free(s);
	return e;
}

static int
out_claim(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	struct out *o = ctx;
	struct msg m = { .type = MSG_CLAIM, .bytes = claim };

	(void)registrar;
	repl_tag(share, o->air.hash, true, m.tag.b);
	o->done->shares++;
	return (int)out_msg(o, &m);
}

static enum err
out_all(struct out *o)
{
	enum err e = air_write_begin(&o->air, o->n->me, &o->o->to.box, &o->b);

	if (e == ERR_OK)
		e = shares_joins_each(o->n->shares, out_claim, o);
	if (e == ERR_OK)
		e = out_shares(o);
	if (e == ERR_OK && o->done->shares == 0)
		return ERR_DENIED;
	if (e == ERR_OK)
		e = out_chunks(o);
	if (e == ERR_OK) {
		air_write_end(&o->air, &o->b);
		e = out_flush(o);
	}
	return e;
}

/* --- the file --- */

static enum err
file_open(const char *path, int *fd)
{
	*fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd >= 0)
		return ERR_OK;
	return errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED
	       : errno == ENOENT ? ERR_NOTFOUND
				 : ERR_IO;
}

static enum err
dir_sync(const char *path)
{
	char dir[OUT_PATH_MAX];
	char *end;
	int fd;
	enum err e;

	(void)snprintf(dir, sizeof(dir), "%s", path);
	end = strrchr(dir, '/');
	if (end == NULL)
		return ERR_MALFORMED;
	end[end == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	e = fsync(fd) == 0 ? ERR_OK : ERR_IO;
	(void)close(fd);
	return e;
}

/* RENAME_NOREPLACE by hand: the folder may be of a kind that has it not. */
static enum err
file_name(const char *part, const char *path)
{
	if (access(path, F_OK) == 0)
		return ERR_EXISTS;
	return rename(part, path) == 0 ? dir_sync(path) : ERR_IO;
}

static const struct {
	enum err e;
	const char *cause, *next;
} out_words[] = {
	{ ERR_EXISTS, "there is a file of that name already",
	    "Name a new file." },
	{ ERR_NOTFOUND, "the file's folder is not there",
	    "Name a folder that is there." },
	{ ERR_DENIED,
	    "no share has both this node and that peer as members, or the "
	    "file may not be written there",
	    "See: pesscara share members SHARE" },
	{ ERR_FULL, "there is no space for the file", "Use a bigger disk." },
};

static enum err
out_failed(enum err e, struct errmsg *em)
{
	for (size_t i = 0; i < sizeof(out_words) / sizeof(out_words[0]); i++) {
		if (out_words[i].e == e)
			return errmsg_set(
			    em, e, out_words[i].next, "%s", out_words[i].cause);
	}
	return errmsg_set(
	    em, e, "", "the file was not written: %s", err_text(e));
}

enum err
net_air_export(struct net *n, const struct net_air_opts *o,
    struct net_air_done *out, struct errmsg *em)
{
	struct out s = { .n = n,
		.o = o,
		.done = out,
		.fd = -1,
		.b = BUF_MAX(4 * OUT_FLUSH) };
	char part[OUT_PATH_MAX];
	int len = snprintf(part, sizeof(part), "%s.part", o->path);
	enum err e;

	memset(out, 0, sizeof(*out));
	out->peer = o->to;
	if (o->path[0] != '/' || len < 0 || (size_t)len >= sizeof(part))
		return errmsg_set(em, ERR_MALFORMED, "Give the whole path.",
		    "the file's path is no whole path, or too long");
	e = access(o->path, F_OK) == 0 ? ERR_EXISTS : file_open(part, &s.fd);
	if (e != ERR_OK)
		return out_failed(e, em);
	e = out_all(&s);
	if (e == ERR_OK && fsync(s.fd) != 0)
		e = ERR_IO;
	if (close(s.fd) != 0 && e == ERR_OK)
		e = ERR_IO;
	if (e == ERR_OK)
		e = file_name(part, o->path);
	if (e != ERR_OK)
		(void)unlink(part);
	air_fini(&s.air);
	buf_fini(&s.b);
	mem_free(s.chunk);
	return e == ERR_OK ? ERR_OK : out_failed(e, em);
}
