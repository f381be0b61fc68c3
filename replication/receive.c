/* replication/receive.c: pieces of chunks come in.
 *
 * Pieces of one chunk come in order, those of several chunks mixed.  The
 * whole must hash to its cid, or the peer that sent it is closed; then it is
 * made durable and the want is gone.  Credit for a chunk's bytes is given
 * back once they are durable. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

void
meter_add(struct meter *m, uint64_t now_ms, size_t bytes)
{
	uint64_t dt = now_ms - m->since_ms, rate;

	m->bytes += bytes;
	if (dt < CONTENT_METER_MS)
		return;
	rate = m->bytes * 1000 / dt;
	/* Up at once, down slowly. */
	m->rate = rate > m->rate ? rate : (7 * m->rate + rate) / 8;
	m->since_ms = now_ms;
	m->bytes = 0;
}

/* From asking an idle peer to the first piece. */
static void
rtt_note(struct content_peer *ct, uint64_t now_ms)
{
	uint32_t ms = (uint32_t)(now_ms - ct->first_ms) + 1;

	ct->first_ms = 0;
	if (ct->rtt_ms == 0 || ms < ct->rtt_ms)
		ct->rtt_ms = ms;
	else
		ct->rtt_ms += (ms - ct->rtt_ms) / 16;
}

static void
chunk_ms_note(struct content_peer *ct, const struct copy *c, uint64_t now_ms)
{
	uint64_t from = c->asked_ms > ct->done_ms ? c->asked_ms : ct->done_ms;
	uint64_t ms = now_ms - from + 1;

	if (ms > CONTENT_SLOW_MAX_MS)
		ms = CONTENT_SLOW_MAX_MS;
	ct->chunk_ms = ct->chunk_ms == 0
			   ? (uint32_t)ms
			   : (uint32_t)((7 * (uint64_t)ct->chunk_ms + ms) / 8);
	ct->done_ms = now_ms;
}

static void
store(struct repl *r, struct peer *p, struct copy *c)
{
	struct persist *ps = persist_new(r, PERSIST_CHUNK);
	struct want *w = c->want;
	struct comp *comp = c->comp;
	struct repl_effect *fx;

	if (ps == NULL)
		return;
	chunk_ms_note(&p->ct, c, r->now_ms);
	ps->bytes = c->data;
	c->data = BUF_EMPTY;
	content_unask(r, c);
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		if (w->copy[i].peer != NULL)
			content_cancel(r, &w->copy[i]);
	}
	w->state = WANT_STORING;
	p->chunks_rx++;
	p->dirty = true;
	ps->want = w;
	ps->comp = comp;
	ps->conn = p->conn;
	ps->credit = w->c_len;
	fx = repl_fx(r, RX_PERSIST_CHUNK);
	fx->token = ps->token;
	fx->share = comp->share->id;
	fx->compartment = comp->no;
	fx->cid = w->cid;
	fx->bytes = buf_slice(&ps->bytes);
}

static bool
complete(struct repl *r, struct peer *p, struct copy *c)
{
	struct cry_id cid;

	cry_hash(buf_slice(&c->data), &cid);
	if (!same_id(&cid, &c->want->cid)) {
		peer_close(r, p, ERR_AUTH, "chunk does not hash to its id");
		return false;
	}
	store(r, p, c);
	return r->err == ERR_OK;
}

/* The length came from some op's packing list; its author may have lied.
 * Who serves the chunk says what it has, and the hash decides.  With two
 * copies under way the other one keeps what was said first. */
static void
want_length(struct repl *r, struct want *w, uint32_t c_len)
{
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		struct peer *p = w->copy[i].peer;

		if (p == NULL)
			continue;
		if (w->copy[i].data.n > 0 && w->c_len != c_len) {
			content_cancel(r, &w->copy[i]);
			continue;
		}
		p->ct.asked_bytes += c_len;
		p->ct.asked_bytes -= w->c_len;
	}
	r->want_bytes += c_len;
	r->want_bytes -= w->c_len;
	w->c_len = c_len;
}

static void
piece_note(struct repl *r, struct peer *p, size_t bytes)
{
	struct content_peer *ct = &p->ct;

	if (ct->first_ms != 0)
		rtt_note(ct, r->now_ms);
	meter_add(&ct->rx, r->now_ms, bytes);
}

/* Only bytes that were not here before keep a peer from being passed over:
 * one that sends a beginning over and over is as slow as one that is silent. */
static void
progress_note(struct repl *r, struct peer *p, struct copy *c)
{
	if (c->data.n <= c->most)
		return;
	c->most = c->data.n;
	p->ct.bulk_ms = r->now_ms;
}

bool
content_on_chunk(struct repl *r, struct peer *p, const struct msg *m)
{
	struct want *w = want_find(r, &m->id);
	struct copy *c = w == NULL ? NULL : want_copy(w, p);

	piece_note(r, p, m->bytes.n);
	if (c == NULL)
		return false; /* late: cancelled since */
	if (m->off == 0 && c->data.n == 0 && m->c_len <= OP_CHUNK_BYTES_MAX)
		want_length(r, w, m->c_len);
	if (m->off > 0 && c->data.n == 0)
		return false; /* the end of what was cancelled and asked anew */
	if (m->off == 0 && c->data.n > 0) { /* and now its beginning */
		peer_owe(r, p, SESS_BULK, c->data.n);
		buf_reset(&c->data);
	}
	if (m->c_len != w->c_len || m->off != c->data.n ||
	    m->bytes.n > w->c_len - c->data.n) {
		peer_close(r, p, ERR_MALFORMED, "chunk piece out of place");
		return false;
	}
	if (c->data.max == 0)
		c->data = BUF_MAX(w->c_len);
	buf_put_slice(&c->data, m->bytes);
	if (!repl_ok(r, buf_err(&c->data)))
		return false;
	progress_note(r, p, c);
	/* Credit for the header now, for the bytes when they are durable. */
	if (c->data.n == w->c_len && !complete(r, p, c))
		return false;
	peer_owe(r, p, SESS_BULK, MSG_CHUNK_HEAD_BYTES);
	return true;
}

void
content_persisted(struct repl *r, struct persist *ps, enum err e)
{
	struct peer *p = peer_find(r, ps->conn);
	struct want *w = ps->want;
	struct cry_id cid = w->cid;

	if (p != NULL && !p->closing) {
		peer_owe(r, p, SESS_BULK, ps->credit);
		p->dirty = true;
	}
	if (e != ERR_OK && !w->dropped) {
		want_park(r, w); /* disk full: tried again now and then */
		return;
	}
	if (e != ERR_OK || !want_came(r, w, ps->comp))
		want_drop(r, w);
	if (e == ERR_OK)
		content_came(r, ps->comp, &cid);
}
