/* replication/content.c: chunks: wanted, asked for, served.
 *
 * A want waits in its compartment's list (urgent before normal), is asked of
 * one connected member at a time within that peer's window, is put together
 * from CHUNK messages, checked against its cid, made durable, and gone.
 * NOT_HAVE puts the peer on the want's list of those who lack it; when nobody
 * is left the want is parked until HAVE, a new link, or a retry.
 *
 *   IDLE <-> PARKED,  IDLE -> ASKED -> STORING -> gone
 *
 * The other side reads chunks through the host, which serves only what a
 * live op of the compartment names; whoever was told NOT_HAVE is told HAVE
 * when the chunk arrives.  A wrong hash closes the peer that sent it. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

/* --- lists and the table of wants --- */

static void
list_remove(struct want *w)
{
	struct want_list *l = w->list;

	if (l == NULL)
		return;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		l->first = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		l->last = w->prev;
	w->prev = w->next = NULL;
	w->list = NULL;
}

static void
list_append(struct want_list *l, struct want *w)
{
	list_remove(w);
	w->list = l;
	w->prev = l->last;
	if (l->last != NULL)
		l->last->next = w;
	else
		l->first = w;
	l->last = w;
}

static uint32_t
cid_hash(const struct cry_id *cid)
{
	uint32_t h;

	memcpy(&h, cid->b, sizeof(h)); /* a hash already */
	return h;
}

static struct want *
want_find(const struct repl *r, const struct cry_id *cid)
{
	struct want *w;

	if (r->want_cap == 0)
		return NULL;
	w = r->want_hash[cid_hash(cid) & (r->want_cap - 1)];
	while (w != NULL && !same_id(&w->cid, cid))
		w = w->hash_next;
	return w;
}

static bool
hash_room(struct repl *r)
{
	uint32_t cap = r->want_cap == 0 ? 64 : r->want_cap * 2;
	struct want **t;

	if (r->n_wants < r->want_cap)
		return true;
	if ((t = repl_alloc(r, cap, sizeof(struct want *))) == NULL)
		return false;
	for (uint32_t i = 0; i < r->want_cap; i++) {
		struct want *w, *next;

		for (w = r->want_hash[i]; w != NULL; w = next) {
			uint32_t at = cid_hash(&w->cid) & (cap - 1);

			next = w->hash_next;
			w->hash_next = t[at];
			t[at] = w;
		}
	}
	mem_free(r->want_hash);
	r->want_hash = t;
	r->want_cap = cap;
	return true;
}

static void
want_free(struct want *w)
{
	buf_fini(&w->data);
	mem_free(w->not_have);
	mem_free(w);
}

static void
want_drop(struct repl *r, struct want *w)
{
	struct want **at = &r->want_hash[cid_hash(&w->cid) & (r->want_cap - 1)];

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	list_remove(w);
	r->n_wants--;
	r->want_bytes -= w->c_len;
	want_free(w);
}

void
content_free(struct repl *r)
{
	for (uint32_t i = 0; i < r->want_cap; i++) {
		struct want *w, *next;

		for (w = r->want_hash[i]; w != NULL; w = next) {
			next = w->hash_next;
			want_free(w);
		}
	}
	mem_free(r->want_hash);
}

static void
all_dirty(struct repl *r)
{
	for (uint32_t i = 0; i < r->n_peers; i++)
		r->peers[i]->dirty = true;
}

static void
want_idle(struct repl *r, struct want *w)
{
	w->state = WANT_IDLE;
	list_append(w->urgent ? &w->comp->urgent : &w->comp->normal, w);
	all_dirty(r);
}

void
content_want(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct want *w = want_find(r, &ev->cid);
	uint32_t at;

	if (s == NULL || ev->c_len == 0 || ev->c_len > OP_CHUNK_BYTES_MAX)
		return;
	if (w != NULL) {
		if (ev->urgent && !w->urgent) {
			w->urgent = true;
			if (w->state == WANT_IDLE)
				want_idle(r, w);
		}
		return;
	}
	if (!hash_room(r) || (w = repl_alloc(r, 1, sizeof(*w))) == NULL)
		return;
	w->cid = ev->cid;
	w->c_len = ev->c_len;
	w->urgent = ev->urgent;
	if ((w->comp = comp_get(r, s, ev->compartment)) == NULL) {
		mem_free(w);
		return;
	}
	at = cid_hash(&w->cid) & (r->want_cap - 1);
	w->hash_next = r->want_hash[at];
	r->want_hash[at] = w;
	r->n_wants++;
	r->want_bytes += w->c_len;
	want_idle(r, w);
}

/* --- asking --- */

static bool
lacks(const struct want *w, repl_conn conn)
{
	for (uint32_t i = 0; i < w->n_not_have; i++) {
		if (w->not_have[i] == conn)
			return true;
	}
	return false;
}

/* The list holds connected peers only, so it is no longer than they are. */
static void
lacks_add(struct repl *r, struct want *w, repl_conn conn)
{
	uint32_t cap = w->cap_not_have == 0 ? 4 : w->cap_not_have * 2;
	void *q;

	if (lacks(w, conn))
		return;
	for (uint32_t i = 0; i < w->n_not_have; i++) {
		if (peer_find(r, w->not_have[i]) == NULL)
			w->not_have[i--] = w->not_have[--w->n_not_have];
	}
	if (w->n_not_have == w->cap_not_have) {
		q = repl_regrow(r, w->not_have, cap, sizeof(repl_conn));
		if (q == NULL)
			return;
		w->not_have = q;
		w->cap_not_have = cap;
	}
	w->not_have[w->n_not_have++] = conn;
}

static void
lacks_remove(struct want *w, repl_conn conn)
{
	for (uint32_t i = 0; i < w->n_not_have; i++) {
		if (w->not_have[i] == conn)
			w->not_have[i--] = w->not_have[--w->n_not_have];
	}
}

/* May this peer be asked for chunks of this compartment? */
static bool
may_hold(struct repl *r, struct peer *p, const struct comp *c)
{
	struct link *l = peer_link(p, c->share);

	if (p->closing || l == NULL || l->state != LINK_LIVE)
		return false;
	return member_may_fetch(c->share->m, &r->o.me.sign, c->no) &&
	       member_may_fetch(c->share->m, &p->pub.sign, c->no);
}

/* Is there a connected peer that may still have it? */
static bool
hopeful(struct repl *r, const struct want *w)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		if (may_hold(r, r->peers[i], w->comp) &&
		    !lacks(w, r->peers[i]->conn))
			return true;
	}
	return false;
}

/* Nobody has it: wait for HAVE, a new link, or the retry. */
static void
park(struct repl *r, struct want *w)
{
	w->state = WANT_PARKED;
	w->retry_ms = r->now_ms + REPL_RETRY_MS;
	list_append(&w->comp->parked, w);
	repl_wake(r, w->retry_ms);
}

static void
idle_or_park(struct repl *r, struct want *w)
{
	if (hopeful(r, w))
		want_idle(r, w);
	else
		park(r, w);
}

static bool
window_open(const struct repl *r, const struct peer *p, const struct want *w)
{
	if (p->asked_n >= r->o.chunk_window)
		return false;
	return p->asked_n == 0 || p->asked_bytes + w->c_len <= REPL_WINDOW_BULK;
}

static void
ask(struct repl *r, struct peer *p, struct want *w)
{
	w->state = WANT_ASKED;
	w->peer = p;
	w->asked_ms = r->now_ms;
	list_append(&p->asked, w);
	p->asked_n++;
	p->asked_bytes += w->c_len;
	repl_wake(r, r->now_ms + REPL_STALL_MS);
}

/* A half-received chunk is given up: its bytes are free again. */
static void
unask(struct repl *r, struct want *w)
{
	struct peer *p = w->peer;

	peer_owe(r, p, SESS_BULK, w->data.n);
	list_remove(w);
	p->asked_n--;
	p->asked_bytes -= w->c_len;
	w->peer = NULL;
	buf_fini(&w->data);
}

static void
get_send(struct repl *r, struct link *l, struct comp *c, struct buf *cids,
    uint8_t flags)
{
	struct msg m = { .type = MSG_GET,
		.tag = l->tx,
		.compartment = c->no,
		.flags = flags,
		.n = (uint32_t)(cids->n / 32),
		.items = buf_slice(cids) };

	if (m.n > 0 && repl_ok(r, buf_err(cids)))
		peer_send(r, l->peer, &m);
	buf_reset(cids);
}

/* Fill the peer's window from one list. */
static void
ask_list(struct repl *r, struct link *l, struct comp *c, bool urgent)
{
	struct want_list *list = urgent ? &c->urgent : &c->normal;
	struct buf cids = BUF_MAX((size_t)MSG_CIDS_MAX * 32);
	struct want *w = list->first, *last = list->last, *next;
	uint32_t seen = 0;

	for (; w != NULL && seen < REPL_SCAN_MAX; w = next, seen++) {
		bool end = w == last;

		next = end ? NULL : w->next;
		if (!window_open(r, l->peer, w))
			break;
		if (lacks(w, l->peer->conn)) {
			if (hopeful(r, w))
				list_append(list, w); /* others first */
			else
				park(r, w);
			continue;
		}
		ask(r, l->peer, w);
		buf_put(&cids, w->cid.b, sizeof(w->cid.b));
		if (cids.n == cids.max)
			get_send(r, l, c, &cids, urgent ? GET_URGENT : 0);
	}
	get_send(r, l, c, &cids, urgent ? GET_URGENT : 0);
	buf_fini(&cids);
}

static void
ask_class(struct repl *r, struct peer *p, bool urgent)
{
	for (uint32_t i = 0; i < r->n_shares; i++) {
		struct share *s = r->shares[i];

		for (uint32_t k = 0; k < s->n_comps; k++) {
			struct comp *c = s->comps[k];
			struct want_list *l = urgent ? &c->urgent : &c->normal;

			if (p->asked_n >= r->o.chunk_window)
				return;
			if (l->first != NULL && may_hold(r, p, c))
				ask_list(r, peer_link(p, s), c, urgent);
		}
	}
}

void
content_ask(struct repl *r, struct peer *p)
{
	if (r->n_wants == 0 || p->closing)
		return;
	ask_class(r, p, true);
	ask_class(r, p, false);
}

void
content_on_not_have(struct repl *r, struct link *l, const struct msg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		struct cry_id cid = msg_cid_at(m, i);
		struct want *w = want_find(r, &cid);

		if (w == NULL || w->state != WANT_ASKED || w->peer != l->peer)
			continue;
		unask(r, w);
		lacks_add(r, w, l->peer->conn);
		idle_or_park(r, w);
	}
}

void
content_on_have(struct repl *r, struct link *l, const struct msg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		struct cry_id cid = msg_cid_at(m, i);
		struct want *w = want_find(r, &cid);

		if (w == NULL)
			continue;
		lacks_remove(w, l->peer->conn);
		if (w->state == WANT_PARKED)
			want_idle(r, w);
	}
}

void
content_link_live(struct repl *r, struct link *l)
{
	for (uint32_t i = 0; i < l->share->n_comps; i++) {
		struct comp *c = l->share->comps[i];

		while (c->parked.first != NULL)
			want_idle(r, c->parked.first);
	}
	l->peer->dirty = true;
}

void
content_peer_gone(struct repl *r, struct peer *p)
{
	while (p->asked.first != NULL) {
		struct want *w = p->asked.first;

		unask(r, w);
		idle_or_park(r, w);
	}
}

/* --- receiving --- */

static void
store(struct repl *r, struct peer *p, struct want *w)
{
	struct persist *ps = persist_new(r, PERSIST_CHUNK);
	struct repl_effect *fx;

	if (ps == NULL)
		return;
	ps->bytes = w->data;
	w->data = BUF_EMPTY;
	unask(r, w);
	w->state = WANT_STORING;
	p->chunks_rx++;
	p->dirty = true;
	ps->want = w;
	ps->conn = p->conn;
	ps->credit = w->c_len;
	fx = repl_fx(r, RX_PERSIST_CHUNK);
	fx->token = ps->token;
	fx->share = w->comp->share->id;
	fx->compartment = w->comp->no;
	fx->cid = w->cid;
	fx->bytes = buf_slice(&ps->bytes);
}

static bool
complete(struct repl *r, struct peer *p, struct want *w)
{
	struct cry_id cid;

	cry_hash(buf_slice(&w->data), &cid);
	if (!same_id(&cid, &w->cid)) {
		peer_close(r, p, ERR_AUTH, "chunk does not hash to its id");
		return false;
	}
	store(r, p, w);
	return r->err == ERR_OK;
}

/* The length came from some op's packing list; its author may have lied.
 * Who serves the chunk says what it has, and the hash decides. */
static void
want_length(struct repl *r, struct want *w, uint32_t c_len)
{
	w->peer->asked_bytes += c_len;
	w->peer->asked_bytes -= w->c_len;
	r->want_bytes += c_len;
	r->want_bytes -= w->c_len;
	w->c_len = c_len;
}

bool
content_on_chunk(struct repl *r, struct peer *p, const struct msg *m)
{
	struct want *w = want_find(r, &m->id);

	p->bulk_ms = r->now_ms;
	if (w == NULL || w->state != WANT_ASKED || w->peer != p)
		return false; /* late: asked of another since */
	if (m->off == 0 && w->data.n == 0 && m->c_len <= OP_CHUNK_BYTES_MAX)
		want_length(r, w, m->c_len);
	if (m->c_len != w->c_len || m->off != w->data.n ||
	    m->bytes.n > w->c_len - w->data.n) {
		peer_close(r, p, ERR_MALFORMED, "chunk piece out of place");
		return false;
	}
	if (w->data.max == 0)
		w->data = BUF_MAX(w->c_len);
	buf_put_slice(&w->data, m->bytes);
	if (!repl_ok(r, buf_err(&w->data)))
		return false;
	/* Credit for the header now, for the bytes when they are durable. */
	if (w->data.n < w->c_len) {
		peer_owe(r, p, SESS_BULK, MSG_CHUNK_HEAD_BYTES);
		return true;
	}
	if (!complete(r, p, w))
		return false;
	peer_owe(r, p, SESS_BULK, MSG_CHUNK_HEAD_BYTES);
	return true;
}

/* --- serving --- */

static uint32_t
missing_at(const struct missing *t, const struct cry_id *cid)
{
	uint32_t at = cid_hash(cid) & (t->cap - 1);

	while (t->slot[at].comp != NULL && !same_id(&t->slot[at].cid, cid))
		at = (at + 1) & (t->cap - 1);
	return at;
}

static void
missing_add(struct repl *r, struct missing *t, const struct serve_chunk *q)
{
	struct missing old = *t;
	uint32_t at;

	if (t->n == REPL_MISSING_MAX)
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
				t->slot[missing_at(t, &old.slot[i].cid)] =
				    old.slot[i];
		}
		mem_free(old.slot);
	}
	at = missing_at(t, &q->cid);
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
		struct serve_chunk q = t->slot[next];

		t->slot[next].comp = NULL;
		t->slot[missing_at(t, &q.cid)] = q;
		next = (next + 1) & (t->cap - 1);
	}
}

static void
cids_send(
    struct repl *r, struct peer *p, uint8_t type, const struct serve_chunk *q)
{
	struct link *l = peer_link(p, q->comp->share);
	struct msg m = { .type = type,
		.tag = l->tx,
		.compartment = q->comp->no,
		.n = 1,
		.items = slice_of(q->cid.b, sizeof(q->cid.b)) };

	peer_send(r, p, &m);
}

static void
tell_have(struct repl *r, const struct cry_id *cid)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = r->peers[i];
		struct missing *t = &p->missing;
		struct serve_chunk q;
		uint32_t at;

		if (p->closing || t->n == 0)
			continue;
		at = missing_at(t, cid);
		if (t->slot[at].comp == NULL)
			continue;
		q = t->slot[at];
		missing_remove(t, at);
		if (may_hold(r, p, q.comp))
			cids_send(r, p, MSG_HAVE, &q);
	}
}

void
content_on_get(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct peer *p = l->peer;

	if (pc == NULL || !may_hold(r, p, pc->comp))
		return; /* as if the compartment did not exist */
	if (p->sc_n + m->n > REPL_SERVE_CHUNKS_MAX) {
		peer_close(r, p, ERR_LIMIT, "too many chunks asked for");
		return;
	}
	if (p->sc == NULL) {
		p->sc = repl_alloc(r, REPL_SERVE_CHUNKS_MAX, sizeof(*p->sc));
		if (p->sc == NULL)
			return;
	}
	for (uint32_t i = 0; i < m->n; i++) {
		struct serve_chunk q = { .comp = pc->comp };
		bool front = (m->flags & GET_URGENT) != 0;
		uint32_t at = p->sc_first + p->sc_n;

		q.cid = msg_cid_at(m, i);
		if (front)
			at = p->sc_first += REPL_SERVE_CHUNKS_MAX - 1;
		p->sc_first %= REPL_SERVE_CHUNKS_MAX;
		p->sc[at % REPL_SERVE_CHUNKS_MAX] = q;
		p->sc_n++;
	}
}

void
content_serve(struct repl *r, struct peer *p)
{
	while (p->sc_n > 0 && p->fetch_chunks < REPL_FETCHES_MAX &&
	       p->queued[SESS_BULK] < REPL_QUEUE_BULK_LOW && r->err == ERR_OK) {
		struct serve_chunk q = p->sc[p->sc_first];
		struct fetch *f = fetch_new(r, p);
		struct repl_effect *fx;

		if (f == NULL)
			return;
		p->sc_first = (p->sc_first + 1) % REPL_SERVE_CHUNKS_MAX;
		p->sc_n--;
		p->fetch_chunks++;
		f->chunk = true;
		f->comp = q.comp;
		f->cid = q.cid;
		fx = repl_fx(r, RX_FETCH_CHUNK);
		fx->token = f->token;
		fx->share = q.comp->share->id;
		fx->compartment = q.comp->no;
		fx->cid = q.cid;
	}
}

static void
chunk_send(struct repl *r, struct peer *p, const struct cry_id *cid,
    struct slice bytes)
{
	struct msg m = { .type = MSG_CHUNK, .id = *cid };
	size_t off = 0;

	m.c_len = (uint32_t)bytes.n;
	while (off < bytes.n) {
		size_t n = bytes.n - off;

		if (n > MSG_CHUNK_BYTES_MAX)
			n = MSG_CHUNK_BYTES_MAX;
		m.off = (uint32_t)off;
		m.bytes = slice_of(bytes.p + off, n);
		peer_send(r, p, &m);
		off += n;
	}
	p->chunks_tx++;
}

void
content_fetched(struct repl *r, struct fetch *f, const struct repl_event *ev)
{
	struct peer *p = peer_find(r, f->conn);
	struct serve_chunk q = { .comp = f->comp, .cid = f->cid };

	if (p == NULL || p->closing)
		return;
	p->fetch_chunks--;
	p->dirty = true;
	if (!may_hold(r, p, f->comp))
		return;
	if (ev->err == ERR_OK && ev->bytes.n > 0 &&
	    ev->bytes.n <= OP_CHUNK_BYTES_MAX) {
		chunk_send(r, p, &f->cid, ev->bytes);
		return;
	}
	missing_add(r, &p->missing, &q);
	cids_send(r, p, MSG_NOT_HAVE, &q);
	if (f->came)
		tell_have(r, &q.cid);
}

/* The host may have looked for it before it came, and say so after. */
static void
fetches_came(struct repl *r, const struct cry_id *cid)
{
	for (struct fetch *f = r->fetches; f != NULL; f = f->next)
		f->came |= f->chunk && same_id(&f->cid, cid);
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
	if (e != ERR_OK) { /* disk full or gone: the host says when to go on */
		park(r, w);
		return;
	}
	want_drop(r, w);
	tell_have(r, &cid);
	fetches_came(r, &cid);
}

/* --- time --- */

static void
stalled(struct repl *r, struct peer *p)
{
	while (p->asked.first != NULL) {
		struct want *w = p->asked.first;

		unask(r, w);
		lacks_add(r, w, p->conn);
		idle_or_park(r, w);
	}
}

static void
parked_tick(struct repl *r, struct comp *c)
{
	struct want *w;

	while ((w = c->parked.first) != NULL && r->now_ms >= w->retry_ms) {
		w->n_not_have = 0;
		want_idle(r, w);
	}
	if (w != NULL)
		repl_wake(r, w->retry_ms);
}

void
content_tick(struct repl *r)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = r->peers[i];
		uint64_t since;

		if (p->closing || p->asked.first == NULL)
			continue;
		since = p->asked.first->asked_ms;
		if (since < p->bulk_ms)
			since = p->bulk_ms;
		if (r->now_ms >= since + REPL_STALL_MS)
			stalled(r, p);
		else
			repl_wake(r, since + REPL_STALL_MS);
	}
	for (uint32_t i = 0; i < r->n_shares; i++) {
		for (uint32_t k = 0; k < r->shares[i]->n_comps; k++)
			parked_tick(r, r->shares[i]->comps[k]);
	}
}
