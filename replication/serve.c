/* replication/serve.c: chunks that others ask us for.
 *
 *   GET -> waiting -> read through the host -> ready -> pieces -> gone
 *
 * Happy path: each class has a queue; a few chunks are read ahead, and
 * pieces of those that are ready leave in turn (deficit round robin), so
 * that an interactive chunk overtakes a backfill in the middle of a chunk.
 * A host that paces (repl_opts.paced) gets no more at once than the link
 * carries in a few milliseconds: what is in its queues cannot be overtaken.
 * Failure modes: what no live op of the compartment names, or is not here,
 * is answered NOT_HAVE, and HAVE when it comes; a full queue or a busy host
 * is answered BUSY; CANCEL takes back a GET at any stage. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

static const int64_t serve_weight[REPL_CLASSES] = {
	[REPL_INTERACTIVE] = 64,
	[REPL_FRESH] = 16,
	[REPL_BACKFILL] = 4,
	[REPL_REPAIR] = 1,
};

/* --- lists --- */

void
serve_free(struct serve *s)
{
	if (s == NULL)
		return;
	buf_fini(&s->bytes);
	mem_free(s);
}

static void
list_add(struct serve_list *l, struct serve *s)
{
	if (l->last == NULL)
		l->last = &l->first;
	s->next = NULL;
	*l->last = s;
	l->last = &s->next;
}

static struct serve *
list_take(struct serve_list *l)
{
	struct serve *s = l->first;

	l->first = s->next;
	if (l->first == NULL)
		l->last = &l->first;
	return s;
}

static struct serve *
list_take_cid(struct serve_list *l, const struct cry_id *cid)
{
	struct serve **at = &l->first, *s;

	while (*at != NULL && ((*at)->prove || !same_id(&(*at)->cid, cid)))
		at = &(*at)->next;
	if ((s = *at) == NULL)
		return NULL;
	*at = s->next;
	if (*at == NULL)
		l->last = at;
	return s;
}

static void
list_free(struct serve_list *l)
{
	while (l->first != NULL)
		serve_free(list_take(l));
}

void
content_peer_free(struct peer *p)
{
	for (int k = 0; k < REPL_CLASSES; k++) {
		list_free(&p->ct.waiting[k]);
		list_free(&p->ct.ready[k]);
	}
	mem_free(p->ct.missing.slot);
}

/* --- who was told NOT_HAVE --- */

static uint32_t
missing_at(const struct missing *t, const struct missing_chunk *q)
{
	uint32_t at;

	memcpy(&at, q->cid.b, sizeof(at)); /* a hash already */
	at &= t->cap - 1;
	while (t->slot[at].comp != NULL &&
	       (t->slot[at].comp != q->comp ||
		   !same_id(&t->slot[at].cid, &q->cid)))
		at = (at + 1) & (t->cap - 1);
	return at;
}

static void
missing_add(struct repl *r, struct missing *t, const struct missing_chunk *q)
{
	struct missing old = *t;
	uint32_t at;

	if (t->n == CONTENT_MISSING_MAX)
		return; /* the asker asks again by itself */
	if (t->n * 2 >= t->cap) {
		t->cap = old.cap == 0 ? 64 : old.cap * 2;
		t->slot = repl_alloc(r, t->cap, sizeof(*t->slot));
		if (t->slot == NULL) {
			*t = old;
			return;
		}
		for (uint32_t i = 0; i < old.cap; i++) {
			if (old.slot[i].comp != NULL)
				t->slot[missing_at(t, &old.slot[i])] =
				    old.slot[i];
		}
		mem_free(old.slot);
	}
	at = missing_at(t, q);
	if (t->slot[at].comp == NULL)
		t->n++;
	t->slot[at] = *q;
}

/* Free a slot and move up those that were pushed on by it. */
static void
missing_remove(struct missing *t, uint32_t at)
{
	uint32_t next = (at + 1) & (t->cap - 1);

	t->slot[at].comp = NULL;
	t->n--;
	while (t->slot[next].comp != NULL) {
		struct missing_chunk q = t->slot[next];

		t->slot[next].comp = NULL;
		t->slot[missing_at(t, &q)] = q;
		next = (next + 1) & (t->cap - 1);
	}
}

/* A message of the head's type about one cid. */
void
content_cids_send(struct repl *r, struct peer *p, const struct msg *head,
    const struct comp *c, const struct cry_id *cid)
{
	struct link *l = peer_link(p, c->share);
	struct msg m = *head;

	m.tag = l->tx;
	m.compartment = c->no;
	m.n = 1;
	m.items = slice_of(cid->b, sizeof(cid->b));
	peer_send(r, p, &m);
}

/* Who waits for it in another compartment may not have it yet: it was not
 * given there, and that it is here is none of their business. */
static void
tell_have(struct repl *r, struct comp *comp, const struct cry_id *cid)
{
	const struct msg have = { .type = MSG_HAVE };
	const struct missing_chunk q = { .comp = comp, .cid = *cid };

	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = r->peers[i];
		struct missing *t = &p->ct.missing;
		uint32_t at;

		if (p->closing || t->n == 0)
			continue;
		at = missing_at(t, &q);
		if (t->slot[at].comp == NULL)
			continue;
		missing_remove(t, at);
		if (content_may_hold(r, p, comp))
			content_cids_send(r, p, &have, comp, cid);
	}
}

void
content_came(struct repl *r, struct comp *comp, const struct cry_id *cid)
{
	tell_have(r, comp, cid);
	/* The host may have looked for it before it came, and say so after. */
	for (struct fetch *f = r->fetches; f != NULL; f = f->next)
		f->came |= f->serve != NULL && f->serve->comp == comp &&
			   same_id(&f->serve->cid, cid);
}

/* --- what is asked --- */

void
serve_queue(struct peer *p, struct serve *s)
{
	list_add(&p->ct.waiting[s->cls], s);
	p->ct.waiting_n++;
}

static void
busy_send(struct repl *r, struct link *l, const struct msg *m)
{
	struct msg busy = { .type = MSG_BUSY,
		.tag = l->tx,
		.compartment = m->compartment,
		.c_len = CONTENT_BUSY_MS,
		.n = m->n,
		.items = m->items };

	peer_send(r, l->peer, &busy);
}

void
content_on_get(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct peer *p = l->peer;

	if (pc == NULL || !content_may_hold(r, p, pc->comp))
		return; /* as if the compartment did not exist */
	if (p->ct.waiting_n + m->n > CONTENT_SERVE_MAX) {
		busy_send(r, l, m);
		return;
	}
	for (uint32_t i = 0; i < m->n; i++) {
		struct serve *s = repl_alloc(r, 1, sizeof(*s));

		if (s == NULL)
			return;
		s->comp = pc->comp;
		s->cid = msg_cid_at(m, i);
		s->cls = (enum repl_class)(m->flags & GET_CLASS);
		s->bytes = BUF_MAX(OP_CHUNK_BYTES_MAX);
		serve_queue(p, s);
	}
}

static void
serve_end(struct peer *p, struct serve *s, bool read)
{
	p->ct.waiting_n--;
	if (read && s->cls == REPL_INTERACTIVE)
		p->ct.reads_now--;
	else if (read)
		p->ct.reads--;
	serve_free(s);
}

static void
cancel_one(struct repl *r, struct peer *p, const struct cry_id *cid)
{
	for (int k = 0; k < REPL_CLASSES; k++) {
		struct serve *s = list_take_cid(&p->ct.waiting[k], cid);
		bool read = s == NULL;

		if (s == NULL)
			s = list_take_cid(&p->ct.ready[k], cid);
		if (s != NULL) {
			serve_end(p, s, read);
			return;
		}
	}
	for (struct fetch *f = r->fetches; f != NULL; f = f->next) {
		if (f->serve != NULL && f->conn == p->conn &&
		    !f->serve->prove && same_id(&f->serve->cid, cid))
			f->serve->cancelled = true;
	}
}

void
content_on_cancel(struct repl *r, struct link *l, const struct msg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		struct cry_id cid = msg_cid_at(m, i);

		cancel_one(r, l->peer, &cid);
	}
}

/* --- reading --- */

static bool
may_read(const struct content_peer *ct, int cls)
{
	return cls == REPL_INTERACTIVE ? ct->reads_now < CONTENT_READS_MAX
				       : ct->reads < CONTENT_READS_MAX;
}

static void
read_start(struct repl *r, struct peer *p, struct serve *s)
{
	struct fetch *f = fetch_new(r, p);
	struct repl_effect *fx;

	if (f == NULL) {
		serve_free(s);
		return;
	}
	f->serve = s;
	fx = repl_fx(r, RX_FETCH_CHUNK);
	fx->token = f->token;
	fx->share = s->comp->share->id;
	fx->compartment = s->comp->no;
	fx->cid = s->cid;
}

static void
serve_read(struct repl *r, struct peer *p)
{
	struct content_peer *ct = &p->ct;

	for (int k = 0; k < REPL_CLASSES; k++) {
		while (ct->waiting[k].first != NULL && may_read(ct, k) &&
		       r->err == ERR_OK) {
			if (k == REPL_INTERACTIVE)
				ct->reads_now++;
			else
				ct->reads++;
			read_start(r, p, list_take(&ct->waiting[k]));
		}
	}
}

static void
serve_refuse(struct repl *r, struct peer *p, const struct serve *s, enum err e)
{
	struct missing_chunk q = { .comp = s->comp, .cid = s->cid };
	struct msg m = { .type = MSG_NOT_HAVE };

	if (s->prove) {
		prove_answer(r, p, s);
		return;
	}
	if (e == ERR_BUSY) {
		m.type = MSG_BUSY;
		m.c_len = CONTENT_BUSY_MS;
	} else {
		missing_add(r, &p->ct.missing, &q);
	}
	content_cids_send(r, p, &m, s->comp, &s->cid);
}

void
content_fetched(struct repl *r, struct fetch *f, const struct repl_event *ev)
{
	struct peer *p = peer_find(r, f->conn);
	struct serve *s = f->serve;
	bool ok = ev->err == ERR_OK && ev->bytes.n > 0 &&
		  ev->bytes.n <= OP_CHUNK_BYTES_MAX;

	f->serve = NULL;
	if (p == NULL || p->closing) {
		serve_free(s);
		return;
	}
	p->dirty = true;
	if (s->cancelled || !content_may_hold(r, p, s->comp)) {
		serve_end(p, s, true);
		return;
	}
	if (!ok) {
		serve_refuse(r, p, s, ev->err);
		if (f->came)
			tell_have(r, s->comp, &s->cid);
		serve_end(p, s, true);
		return;
	}
	buf_put_slice(&s->bytes, ev->bytes);
	if (!repl_ok(r, buf_err(&s->bytes)) || s->prove) {
		prove_answer(r, p, s);
		serve_end(p, s, true);
		return;
	}
	list_add(&p->ct.ready[s->cls], s);
}

/* --- pieces --- */

static size_t
piece_bytes(const struct content_peer *ct)
{
	uint64_t n = ct->tx.rate * CONTENT_PIECE_MS / 1000;

	if (n < CONTENT_PIECE_MIN)
		return CONTENT_PIECE_MIN;
	return n < CONTENT_PIECE_MAX ? (size_t)n : CONTENT_PIECE_MAX;
}

static void
piece_send(struct repl *r, struct peer *p, struct serve *s)
{
	struct msg m = { .type = MSG_CHUNK,
		.id = s->cid,
		.c_len = (uint32_t)s->bytes.n,
		.off = (uint32_t)s->sent };
	size_t n = s->bytes.n - s->sent, most = MSG_CHUNK_BYTES_MAX;

	if (r->o.paced)
		most = piece_bytes(&p->ct);
	if (n > most)
		n = most;
	m.bytes = slice_of(s->bytes.p + s->sent, n);
	peer_send(r, p, &m);
	s->sent += n;
	p->ct.burst += n;
	p->ct.serve_share[s->cls] -= (int64_t)n;
	if (s->sent < s->bytes.n)
		return;
	p->chunks_tx++;
	serve_end(p, list_take(&p->ct.ready[s->cls]), true);
}

/* Who had nothing to send begins with a whole share. */
static void
serve_shares(struct content_peer *ct, bool all)
{
	for (int k = 0; k < REPL_CLASSES; k++) {
		int64_t whole = serve_weight[k] * (int64_t)CONTENT_PIECE_MAX;

		if (ct->ready[k].first == NULL)
			ct->serve_share[k] = whole;
		else if (all)
			ct->serve_share[k] += whole;
	}
}

/* The first chunk of the class whose turn it is; NULL: nothing is ready. */
static struct serve *
serve_next(struct content_peer *ct)
{
	bool any = false;

	for (int k = 0; k < REPL_CLASSES; k++) {
		any |= ct->ready[k].first != NULL;
		if (ct->ready[k].first != NULL && ct->serve_share[k] > 0)
			return ct->ready[k].first;
	}
	if (!any)
		return NULL;
	serve_shares(ct, true);
	return serve_next(ct);
}

static bool
burst_over(const struct repl *r, const struct content_peer *ct)
{
	return r->o.paced && ct->burst >= piece_bytes(ct);
}

void
content_serve(struct repl *r, struct peer *p)
{
	struct serve *s;

	serve_read(r, p);
	serve_shares(&p->ct, false);
	while (r->err == ERR_OK && !p->closing && peer_can_send(p, SESS_BULK) &&
	       !burst_over(r, &p->ct) && (s = serve_next(&p->ct)) != NULL)
		piece_send(r, p, s);
}

void
content_sent(struct repl *r, struct peer *p)
{
	struct content_peer *ct = &p->ct;

	if (ct->tx.since_ms == 0 || ct->burst == 0) {
		ct->tx.since_ms = r->now_ms;
		ct->tx.bytes = 0;
	}
	meter_add(&ct->tx, r->now_ms, ct->burst);
	ct->burst = 0;
}
