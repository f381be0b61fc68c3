/* node/net/air_in.c: takes in the file that takes the place of a session.
 *
 * First look: every part is opened, the last says that it is whole, the ops of
 * each feed continue what is here, chunks are whole; what chunk lies where is
 * remembered.  Until then nothing is believed.  Second: the messages are told
 * to the core, which checks them as those of a peer, and what it then asks
 * for is answered from the file.  At the end the disk says what came.
 * Killed in the middle: what is on disk stays, the file is read again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/net/air_internal.h"

#define IN_ASK_MS 600u /* wants are told every NET_WANTS_MS */

struct in_share {
	struct share_id id;
	struct msg_tag rx, tx; /* as the writer says it, as the core does */
	bool heard;
};

struct in_chunk {
	struct cry_id cid;
	uint64_t at, no; /* place and number of the first part */
	uint32_t c_len, seen;
};

struct in_feed {
	struct feed_id id;
	uint64_t had, first, last;
};

struct in {
	struct net *n;
	struct net_air_done *done;
	int fd;
	uint64_t size, at, no; /* of the file; of the next part */
	struct air air;
	struct buf part, plain;
	uint8_t type;
	struct slice body;
	struct in_share *share;
	uint32_t n_shares, cap_shares;
	struct in_chunk *chunk; /* by cid after the first look */
	size_t n_chunks, cap_chunks;
	struct in_feed *feed;
	size_t n_feeds, cap_feeds;
	struct air_rows rows;
	const char *why; /* with ERR_MALFORMED, ERR_AGAIN */
};

/* --- parts --- */

static enum err
in_bytes(struct in *s, uint64_t at, void *out, size_t n)
{
	uint8_t *p = out;
	ssize_t got;

	while (n > 0) {
		got = pread(s->fd, p, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_IO;
		if (got == 0)
			return ERR_SHORT;
		p += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return ERR_OK;
}

static enum err
in_next(struct in *s)
{
	uint8_t head[4];
	uint32_t len;
	uint8_t *p;
	enum err e = in_bytes(s, s->at, head, sizeof(head));

	if (e == ERR_OK)
		e = air_part_len(head, &len);
	if (e != ERR_OK)
		return e;
	buf_reset(&s->part);
	buf_reset(&s->plain);
	if ((p = buf_room(&s->part, len)) == NULL)
		return ERR_NOMEM;
	if ((e = in_bytes(s, s->at + 4, p, len)) != ERR_OK)
		return e;
	buf_grew(&s->part, len);
	e = air_read(&s->air, s->no, buf_slice(&s->part), &s->plain);
	if (e != ERR_OK)
		return e;
	s->at += 4u + len;
	s->no++;
	s->type = s->plain.p[0];
	s->body = slice_of(s->plain.p + 1, s->plain.n - 1);
	return ERR_OK;
}

static enum err
in_open(struct in *s, const char *path)
{
	uint8_t head[AIR_HEAD_BYTES];
	struct stat st;
	enum err e;

	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0)
		return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
	if (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return ERR_MALFORMED;
	s->size = (uint64_t)st.st_size;
	s->done->bytes = s->size;
	e = in_bytes(s, 0, head, sizeof(head));
	if (e == ERR_OK)
		e = air_read_begin(
		    &s->air, s->n->me, slice_of(head, sizeof(head)));
	s->at = sizeof(head);
	if (e == ERR_OK && (e = in_next(s)) == ERR_OK)
		e = s->type == AIR_FROM
			? air_from(&s->air, s->body, &s->done->peer)
			: ERR_MALFORMED;
	return e;
}

/* --- the shares it may speak of --- */

static enum err
in_share_add(struct in *s, const uint8_t id[32])
{
	struct in_share *v;

	if (s->n_shares == s->cap_shares) {
		v = mem_grow(s->share, (size_t)s->cap_shares + 16, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->share = v;
		s->cap_shares += 16;
	}
	v = &s->share[s->n_shares++];
	memset(v, 0, sizeof(*v));
	memcpy(v->id.b, id, sizeof(v->id.b));
	repl_tag(&v->id, s->air.hash, true, v->rx.b);
	repl_tag(&v->id, s->air.hash, false, v->tx.b);
	return ERR_OK;
}

static int
in_share_one(void *ctx, uint32_t no, const struct cry_id *share)
{
	(void)no;
	return (int)in_share_add(ctx, share->b);
}

static int
in_join_one(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	(void)registrar;
	(void)claim;
	return (int)in_share_add(ctx, share->b);
}

static enum err
in_shares(struct in *s)
{
	struct db_txn *txn = NULL;
	enum err e = store_read(s->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_shares_each(txn, in_share_one, s);
	db_abort(txn);
	if (e == ERR_OK)
		e = shares_joins_each(s->n->shares, in_join_one, s);
	return e;
}

static struct in_share *
in_tagged(struct in *s, const struct msg_tag *tag)
{
	for (uint32_t i = 0; i < s->n_shares; i++) {
		if (memcmp(&s->share[i].rx, tag, sizeof(*tag)) == 0)
			return &s->share[i];
	}
	return NULL;
}

/* --- the first look --- */

static enum err
in_bad(struct in *s, enum err e, const char *why)
{
	s->why = why;
	return e;
}

static enum err
look_chunk(struct in *s, const struct msg *m, uint64_t at)
{
	struct in_chunk *v =
	    s->n_chunks == 0 ? NULL : &s->chunk[s->n_chunks - 1];
	size_t cap = s->cap_chunks == 0 ? 256 : 2 * s->cap_chunks;

	if (v != NULL && v->seen < v->c_len) {
		if (memcmp(v->cid.b, m->id.b, sizeof(v->cid.b)) != 0 ||
		    m->c_len != v->c_len || m->off != v->seen ||
		    m->bytes.n > v->c_len - v->seen)
			return in_bad(s, ERR_MALFORMED, "pieces of a chunk");
		v->seen += (uint32_t)m->bytes.n;
		return ERR_OK;
	}
	if (m->off != 0 || m->c_len > OP_CHUNK_BYTES_MAX ||
	    m->bytes.n > m->c_len)
		return in_bad(s, ERR_MALFORMED, "pieces of a chunk");
	if (s->n_chunks == s->cap_chunks) {
		v = mem_grow(s->chunk, cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->chunk = v;
		s->cap_chunks = cap;
	}
	REQUIRE(s->chunk != NULL);
	v = &s->chunk[s->n_chunks++];
	v->cid = m->id;
	v->at = at;
	v->no = s->no - 1;
	v->c_len = m->c_len;
	v->seen = (uint32_t)m->bytes.n;
	return ERR_OK;
}

static uint64_t
feed_held(struct in *s, const struct feed_id *id)
{
	struct oplog_head h = { 0 };
	struct db_txn *txn = NULL;
	struct oplog_feed f;
	enum err e = store_read(s->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_feed_find(txn, id->b, &f);
	if (e == ERR_OK)
		e = oplog_feed_head(txn, f.no, &h);
	db_abort(txn);
	return e == ERR_OK ? h.seq : 0;
}

static enum err
look_push(struct in *s, const struct in_share *sh, const struct msg *m)
{
	struct op_feed of = { .share = sh->id,
		.compartment = m->compartment,
		.device = m->device,
		.incarnation = m->incarnation };
	struct in_feed *v;
	struct feed_id id;
	uint64_t first;

	if (m->head.seq < m->n)
		return in_bad(s, ERR_MALFORMED, "a run of ops");
	first = m->head.seq - m->n + 1;
	op_feed_id(&of, &id);
	v = s->n_feeds == 0 ? NULL : &s->feed[s->n_feeds - 1];
	if (v == NULL || memcmp(&v->id, &id, sizeof(id)) != 0) {
		if (s->n_feeds == s->cap_feeds) {
			v = mem_grow(s->feed, s->cap_feeds + 64, sizeof(*v));
			if (v == NULL)
				return ERR_NOMEM;
			s->feed = v;
			s->cap_feeds += 64;
		}
		REQUIRE(s->feed != NULL);
		v = &s->feed[s->n_feeds++];
		v->id = id;
		v->had = v->last = feed_held(s, &id);
		v->first = first;
	}
	if (first > v->last + 1)
		return in_bad(s, ERR_AGAIN, "");
	if (m->head.seq > v->last)
		v->last = m->head.seq;
	s->done->ops += m->n;
	return ERR_OK;
}

static enum err
look_tagged(struct in *s, const struct msg *m)
{
	struct in_share *sh = in_tagged(s, &m->tag);

	if (sh == NULL)
		return ERR_OK; /* of others: as on a connection */
	if (!sh->heard)
		s->done->shares++;
	sh->heard = true;
	switch (m->type) {
	case MSG_MLOG: s->done->records += m->n; return ERR_OK;
	case MSG_PUSH: return look_push(s, sh, m);
	case MSG_OPEN:
	case MSG_FRONT:
	case MSG_GET: air_rows_add(&s->rows, &sh->id, m); return ERR_OK;
	case MSG_STATEMENT:
	case MSG_CLAIM: return ERR_OK;
	default: return in_bad(s, ERR_MALFORMED, "a message of no use");
	}
}

static enum err
look_part(struct in *s, uint64_t at)
{
	struct msg m;

	if (msg_decode(s->type, s->body, &m) != ERR_OK)
		return in_bad(s, ERR_MALFORMED, "a message");
	return s->type == MSG_CHUNK ? look_chunk(s, &m, at)
				    : look_tagged(s, &m);
}

static int
chunk_cmp(const void *a, const void *b)
{
	const struct in_chunk *x = a, *y = b;

	return memcmp(x->cid.b, y->cid.b, sizeof(x->cid.b));
}

static enum err
look_end(struct in *s)
{
	const struct in_chunk *last =
	    s->n_chunks == 0 ? NULL : &s->chunk[s->n_chunks - 1];

	if (s->at != s->size || !air_is_end(s->body, s->no - 1) ||
	    (last != NULL && last->seen < last->c_len))
		return in_bad(s, ERR_MALFORMED, "its end");
	s->done->chunks = s->n_chunks;
	if (s->chunk != NULL && s->n_chunks > 1)
		qsort(s->chunk, s->n_chunks, sizeof(*s->chunk), chunk_cmp);
	if (s->done->shares == 0)
		return in_bad(s, ERR_DENIED, NULL);
	return buf_err(&s->rows.bytes);
}

/* From the second part to the end of the file. */
static enum err
in_look(struct in *s, const struct net_air_opts *o)
{
	uint64_t at;
	enum err e = ERR_OK;

	while (e == ERR_OK) {
		at = s->at;
		if ((e = in_next(s)) != ERR_OK)
			break;
		if (s->type == AIR_END)
			return look_end(s);
		e = look_part(s, at);
		if (e == ERR_OK && o->stop(o->stop_ctx))
			e = ERR_CANCELLED;
	}
	return e;
}

/* --- the session --- */

static enum err
tell(struct in *s, struct net_air *a)
{
	struct buf b = BUF_MAX(LIM_MESSAGE_BYTES);

	buf_put_slice(&b, s->body);
	if (buf_err(&b) != ERR_OK)
		return buf_err(&b);
	return air_link_send(a, s->type, &b);
}

/* What the core is told: all but frontiers and wants, which are for the next
 * file, and chunks, which it asks for.  OPEN may wait for records on disk,
 * and ops that overtake it are not heard. */
static enum err
in_tell(struct in *s, struct net_air *a)
{
	enum err e = ERR_OK;

	while (
	    e == ERR_OK && (e = in_next(s)) == ERR_OK && s->type != AIR_END) {
		if (s->type == MSG_FRONT || s->type == MSG_GET ||
		    s->type == MSG_CHUNK)
			continue;
		e = tell(s, a);
		if (e == ERR_OK && s->type == MSG_OPEN)
			e = air_link_flush(a);
	}
	return e == ERR_OK ? air_link_flush(a) : e;
}

static enum err
not_have(struct in *s, struct net_air *a, const struct air_ask *k)
{
	struct msg m = { .type = MSG_NOT_HAVE,
		.compartment = k->compartment,
		.n = 1,
		.items = slice_of(k->cid.b, sizeof(k->cid.b)) };
	struct buf b = BUF_MAX(KIB);
	enum err e;

	for (uint32_t i = 0; i < s->n_shares; i++) {
		if (memcmp(&s->share[i].tx, &k->tag, sizeof(k->tag)) == 0)
			m.tag = s->share[i].rx;
	}
	e = msg_encode(&m, &b);
	if (e == ERR_OK)
		return air_link_send(a, m.type, &b);
	buf_fini(&b);
	return e;
}

static enum err
serve(struct in *s, struct net_air *a, const struct air_ask *k)
{
	struct in_chunk key = { .cid = k->cid };
	const struct in_chunk *c =
	    s->n_chunks == 0
		? NULL
		: bsearch(&key, s->chunk, s->n_chunks, sizeof(key), chunk_cmp);
	uint32_t sent = 0;
	struct msg m;
	enum err e = ERR_OK;

	if (c == NULL)
		return not_have(s, a, k);
	s->at = c->at;
	s->no = c->no;
	while (sent < c->c_len && e == ERR_OK) {
		if ((e = in_next(s)) != ERR_OK)
			break;
		if ((e = msg_decode(s->type, s->body, &m)) != ERR_OK)
			break;
		if (s->type != MSG_CHUNK || m.bytes.n == 0)
			return ERR_CORRUPT; /* it changed under our hands */
		sent += (uint32_t)m.bytes.n;
		e = tell(s, a);
	}
	if (e == ERR_OK)
		s->done->new_chunks++;
	return e;
}

/* Until the core has asked for all that it wants of this file. */
static enum err
in_serve(struct in *s, struct net_air *a)
{
	struct net_sync now;
	struct air_ask k;
	enum err e = s->n_chunks == 0 ? ERR_TIMEOUT : ERR_OK;

	while (e == ERR_OK) {
		e = air_link_asked(a, 0, &k);
		if (e == ERR_TIMEOUT && (e = air_link_flush(a)) == ERR_OK) {
			net_sync_status(s->n, &now);
			e = air_link_asked(
			    a, now.wanted_chunks > 0 ? IN_ASK_MS : 0, &k);
		}
		if (e == ERR_OK)
			e = serve(s, a, &k);
	}
	if (e == ERR_TIMEOUT)
		e = air_link_flush(a);
	return e;
}

/* What the disk has of it now. */
static void
in_count(struct in *s)
{
	struct net_air_done *d = s->done;

	for (size_t i = 0; i < s->n_feeds; i++) {
		const struct in_feed *f = &s->feed[i];
		uint64_t now = feed_held(s, &f->id);

		if (now > f->last)
			now = f->last;
		d->new_ops += now > f->had ? now - f->had : 0;
		d->refused_ops += f->last > now ? f->last - now : 0;
	}
}

static enum err
in_session(struct in *s, const struct net_air_opts *o)
{
	struct net_air *a = mem_new(sizeof(*a));
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	a->n = s->n;
	a->peer = s->done->peer;
	memcpy(a->hash, s->air.hash, sizeof(a->hash));
	a->stop = o->stop;
	a->stop_ctx = o->stop_ctx;
	if ((e = air_link_open(a)) != ERR_OK)
		goto out;
	s->at = AIR_HEAD_BYTES;
	s->no = 0;
	e = in_next(s); /* who wrote it: known */
	if (e == ERR_OK)
		e = in_tell(s, a);
	if (e == ERR_OK)
		e = in_serve(s, a);
	air_link_close(a);
	s->why = a->why;
	in_count(s);
	if (e == ERR_OK)
		e = air_rows_keep(s->n->store, &s->done->peer.box, &s->rows);
out:
	mem_free(a);
	return e;
}

/* --- what a person reads --- */

#define AGAIN "Copy it again from where it was written."

/* Of the first look. */
static const struct {
	enum err e;
	const char *cause, *next;
} in_words[] = {
	{ ERR_NOTFOUND, "no such file", "Check the name." },
	{ ERR_SHORT, "the file is cut short; nothing was taken", AGAIN },
	{ ERR_LIMIT, "the file was altered or damaged; nothing was taken",
	    AGAIN },
	{ ERR_AUTH, "the file was altered or damaged; nothing was taken",
	    AGAIN },
	{ ERR_AGAIN,
	    "the file begins after ops that are not here; nothing was taken",
	    "Give its writer a file of this node first, which tells what is "
	    "here; or let it export --all." },
};

static enum err
look_failed(const struct in *s, enum err e, struct errmsg *em)
{
	for (size_t i = 0; i < sizeof(in_words) / sizeof(in_words[0]); i++) {
		if (in_words[i].e == e)
			return errmsg_set(
			    em, e, in_words[i].next, "%s", in_words[i].cause);
	}
	if (e == ERR_DENIED && s->no == 0)
		return errmsg_set(em, e, "Export it for this node: pesscara id",
		    "the file is sealed to another node");
	if (e == ERR_DENIED)
		return errmsg_set(em, e, "See: pesscara share list",
		    "the file speaks of no share of this node");
	return errmsg_set(em, e, AGAIN,
	    "this is no file of sync export that this node reads: %s",
	    s->why != NULL ? s->why : err_text(e));
}

static enum err
session_failed(const struct in *s, enum err e, struct errmsg *em)
{
	if (e == ERR_BUSY)
		return errmsg_set(
		    em, e, "Wait for it.", "another file is being taken in");
	if (s->why != NULL)
		return errmsg_set(em, ERR_AUTH, "Ask the site that wrote it.",
		    "what the file holds does not stand the checks: %s",
		    s->why);
	return errmsg_set(em, e, "Run it again: what came stays.",
	    "the file was not taken in to its end: %s", err_text(e));
}

/* Everything was told; is it here? */
static enum err
verdict(const struct in *s, struct errmsg *em)
{
	struct net_sync now;

	net_sync_status(s->n, &now);
	if (now.disk == ERR_FULL || store_quota_full(s->n->store))
		return errmsg_set(em, ERR_FULL,
		    "Make room and run it again: what came stays.",
		    "there is no space for all of it");
	if (s->done->refused_ops > 0)
		return errmsg_set(em, ERR_DENIED,
		    "See: pesscara share members SHARE, and let the writer "
		    "export --all once its rights are known here.",
		    "%llu ops were not taken: their devices or the writer "
		    "have no right here, or the disk failed",
		    (unsigned long long)s->done->refused_ops);
	return ERR_OK;
}

static bool
never(void *ctx)
{
	(void)ctx;
	return false;
}

enum err
net_air_import(struct net *n, const struct net_air_opts *o,
    struct net_air_done *out, struct errmsg *em)
{
	struct in s = { .n = n,
		.done = out,
		.fd = -1,
		.part = BUF_MAX(AIR_PART_MAX),
		.plain = BUF_MAX(AIR_PART_MAX) };
	struct net_air_opts own = *o;
	enum err e;

	if (own.stop == NULL)
		own.stop = never;
	memset(out, 0, sizeof(*out));
	e = in_open(&s, o->path);
	if (e == ERR_OK)
		e = in_shares(&s);
	if (e == ERR_OK)
		e = in_look(&s, &own);
	if (e != ERR_OK) {
		e = look_failed(&s, e, em);
		goto out;
	}
	s.why = NULL;
	e = in_session(&s, &own);
	e = e == ERR_OK ? verdict(&s, em) : session_failed(&s, e, em);
out:
	if (s.fd >= 0)
		(void)close(s.fd);
	air_fini(&s.air);
	buf_fini(&s.part);
	buf_fini(&s.plain);
	buf_fini(&s.rows.bytes);
	mem_free(s.share);
	mem_free(s.chunk);
	mem_free(s.feed);
	return e;
}
