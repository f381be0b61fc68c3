/* replication/content.c: which peer is asked for which chunk, and when.
 *
 * Happy path: a peer whose window is open is asked for wants of the classes
 * in turn (deficit round robin), each from the lists of the compartments it
 * may hold.  Every chunk has one source; several peers work on different
 * chunks at once.  The window is twice what the link carries in a round trip,
 * as measured, and never less than two chunks.
 * Failure modes: NOT_HAVE and BUSY put the want back; a peer that takes four
 * times as long as its chunks use to is passed over for others, if there are
 * any, and after 30 s in any case.  When nothing is left to ask, a peer that
 * is idle gets a second copy of what another is slow with; whichever comes
 * first cancels the other. */
#include "replication/repl_internal.h"

/* What one turn of a class is worth. */
#define ASK_QUANTUM ((int64_t)64 * 1024)
static const int64_t ask_weight[REPL_CLASSES] = {
	[REPL_INTERACTIVE] = 64,
	[REPL_FRESH] = 16,
	[REPL_BACKFILL] = 4,
	[REPL_REPAIR] = 1,
};

/* --- copies --- */

struct copy *
want_copy(struct want *w, const struct peer *p)
{
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		if (w->copy[i].peer == p)
			return &w->copy[i];
	}
	return NULL;
}

void
content_unask(struct repl *r, struct copy *c)
{
	struct content_peer *ct = &c->peer->ct;

	peer_owe(r, c->peer, SESS_BULK, c->data.n);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		ct->asked = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		ct->asked_last = c->prev;
	c->prev = c->next = NULL;
	ct->asked_n--;
	ct->asked_bytes -= c->want->c_len;
	c->peer = NULL;
	buf_fini(&c->data);
	c->data = BUF_EMPTY;
}

/* What did not come was not used. */
static void
limit_return(struct repl *r, const struct copy *c)
{
	if (c->want->c_len > c->most && !c->peer->unlimited)
		bucket_give(&r->down, c->want->c_len - c->most);
}

void
content_cancel(struct repl *r, struct copy *c)
{
	struct msg m = { .type = MSG_CANCEL };
	struct peer *p = c->peer;
	struct comp *comp = c->comp;

	limit_return(r, c);
	content_unask(r, c);
	if (!p->closing && content_may_hold(r, p, comp))
		content_cids_send(r, p, &m, comp, &c->want->cid);
	p->dirty = true;
}

static void
copy_start(struct repl *r, struct peer *p, struct want *w, struct comp *comp)
{
	struct content_peer *ct = &p->ct;
	struct copy *c = want_copy(w, NULL);

	REQUIRE(c != NULL);
	if (ct->asked == NULL) {
		ct->first_ms = r->now_ms;
		ct->rx.since_ms = r->now_ms;
		ct->rx.bytes = 0;
	}
	want_unlist(w);
	w->state = WANT_ASKED;
	c->peer = p;
	c->comp = comp;
	c->asked_ms = r->now_ms;
	c->most = 0;
	c->prev = ct->asked_last;
	if (c->prev != NULL)
		c->prev->next = c;
	else
		ct->asked = c;
	ct->asked_last = c;
	ct->asked_n++;
	ct->asked_bytes += w->c_len;
}

/* --- windows and times --- */

uint64_t
content_window(const struct content_peer *ct)
{
	uint64_t rtt = ct->rtt_ms, n;

	if (rtt < CONTENT_RTT_MIN_MS)
		rtt = CONTENT_RTT_MIN_MS;
	n = 2 * ct->rx.rate * rtt / 1000;
	if (n < CONTENT_WINDOW_MIN)
		n = CONTENT_WINDOW_MIN;
	return n < REPL_WINDOW_BULK ? n : REPL_WINDOW_BULK;
}

/* Interactive ones have places of their own in the window. */
static bool
window_open(const struct repl *r, const struct peer *p, enum repl_class cls)
{
	const struct content_peer *ct = &p->ct;
	uint32_t places = r->o.chunk_window;

	if (cls != REPL_INTERACTIVE)
		places -= places / 8;
	return ct->asked_n < places;
}

static bool
window_fits(const struct peer *p, const struct want *w)
{
	const struct content_peer *ct = &p->ct;
	uint64_t n = ct->asked_bytes + w->c_len;

	if (ct->asked_n == 0)
		return true;
	if (w->cls == REPL_INTERACTIVE || ct->asked_n < 2)
		return n <= REPL_WINDOW_BULK;
	return n <= content_window(ct);
}

static uint32_t
slow_ms(const struct content_peer *ct)
{
	uint32_t ms = 4 * ct->chunk_ms;

	if (ct->chunk_ms == 0 || ms > CONTENT_SLOW_MAX_MS)
		return CONTENT_SLOW_MAX_MS;
	return ms < CONTENT_SLOW_MIN_MS ? CONTENT_SLOW_MIN_MS : ms;
}

/* --- asking --- */

/* cids of one GET. */
struct ask {
	struct repl *r;
	struct peer *p;
	enum repl_class cls;
	struct comp *c;
	struct buf cids;
	bool any;
};

static void
ask_send(struct ask *a)
{
	struct msg m = { .type = MSG_GET,
		.tag = peer_link(a->p, a->c->share)->tx,
		.compartment = a->c->no,
		.flags = (uint8_t)a->cls,
		.n = (uint32_t)(a->cids.n / 32),
		.items = buf_slice(&a->cids) };

	if (m.n > 0 && repl_ok(a->r, buf_err(&a->cids)))
		peer_send(a->r, a->p, &m);
	buf_reset(&a->cids);
}

static void
ask_want(struct ask *a, struct want *w)
{
	struct content_peer *ct = &a->p->ct;

	copy_start(a->r, a->p, w, a->c);
	ct->ask_share[a->cls] -= w->c_len;
	if (!a->p->unlimited)
		bucket_take(&a->r->down, w->c_len);
	buf_put(&a->cids, w->cid.b, sizeof(w->cid.b));
	a->any = true;
	if (a->cids.n == a->cids.max)
		ask_send(a);
}

/* What somebody waits for is counted and not held back. */
static bool
limit_holds(struct repl *r, const struct peer *p, enum repl_class cls)
{
	if (cls == REPL_INTERACTIVE || p->unlimited ||
	    bucket_room(&r->down, r->now_ms) > 0)
		return false;
	r->held = true;
	repl_wake(r, bucket_open_ms(&r->down));
	return true;
}

/* As much of one list as the window and the class's share allow. */
static void
ask_list(struct ask *a)
{
	struct want_list *list = &a->c->idle[a->cls];
	struct place *pl = list->first, *last = list->last, *next;
	uint32_t seen = 0;

	for (; pl != NULL && seen < CONTENT_SCAN_MAX; pl = next, seen++) {
		struct want *w = pl->want;

		next = pl == last ? NULL : pl->next;
		if (a->p->ct.ask_share[a->cls] <= 0 ||
		    !window_open(a->r, a->p, a->cls) || !window_fits(a->p, w) ||
		    limit_holds(a->r, a->p, a->cls))
			break;
		if (!place_lacks(pl, a->p->conn))
			ask_want(a, w);
		else if (want_hopeful(a->r, w, NULL))
			place_last(pl); /* others first */
		else
			want_park(a->r, w);
	}
	ask_send(a);
}

static uint32_t
comps_all(const struct repl *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->n_shares; i++)
		n += r->shares[i]->n_comps;
	return n;
}

static struct comp *
comp_at(const struct repl *r, uint32_t at)
{
	uint32_t i = 0;

	while (at >= r->shares[i]->n_comps)
		at -= r->shares[i++]->n_comps;
	return r->shares[i]->comps[at];
}

/* Every compartment, beginning with another each time. */
static void
ask_class(struct ask *a, uint32_t n)
{
	uint32_t from = a->p->ct.comp_at;

	for (uint32_t i = 0; i < n; i++) {
		a->c = comp_at(a->r, (from + i) % n);
		if (a->c->idle[a->cls].first == NULL ||
		    !content_may_hold(a->r, a->p, a->c))
			continue;
		ask_list(a);
		a->p->ct.comp_at = (from + i + 1) % n;
	}
}

static bool
class_idle(struct repl *r, struct peer *p, enum repl_class cls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct comp *c = comp_at(r, i);

		if (c->idle[cls].first != NULL && content_may_hold(r, p, c))
			return true;
	}
	return false;
}

/* A turn of each class that has something to ask. */
static bool
ask_round(struct ask *a, uint32_t n)
{
	struct content_peer *ct = &a->p->ct;

	a->any = false;
	for (int k = 0; k < REPL_CLASSES; k++) {
		a->cls = (enum repl_class)k;
		if (!class_idle(a->r, a->p, a->cls, n)) {
			ct->ask_share[k] = 0;
			continue;
		}
		if (ct->ask_share[k] <= 0)
			ct->ask_share[k] += ask_weight[k] * ASK_QUANTUM;
		ask_class(a, n);
	}
	return a->any;
}

/* --- the end of a transfer --- */

/* Of what another peer has been asked for, something this one may have. */
static struct want *
endgame_find(struct repl *r, struct peer *p, struct comp **comp)
{
	uint64_t age = 2 * (uint64_t)p->ct.chunk_ms;

	if (age < CONTENT_ENDGAME_MS)
		age = CONTENT_ENDGAME_MS;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct copy *c = r->peers[i]->ct.asked;
		struct want *w = c == NULL ? NULL : c->want;
		struct place *pl;

		if (w == NULL || r->peers[i] == p ||
		    want_copy(w, NULL) == NULL || want_copy(w, p) != NULL)
			continue;
		for (pl = &w->at; pl != NULL; pl = pl->more) {
			if (!content_may_hold(r, p, pl->comp) ||
			    place_lacks(pl, p->conn))
				continue;
			if (r->now_ms < c->asked_ms + age) {
				repl_wake(r, c->asked_ms + age);
				break;
			}
			*comp = pl->comp;
			return w;
		}
	}
	return NULL;
}

static void
endgame(struct ask *a)
{
	struct want *w = endgame_find(a->r, a->p, &a->c);

	if (w == NULL || limit_holds(a->r, a->p, w->cls))
		return;
	a->cls = w->cls;
	ask_want(a, w);
	ask_send(a);
}

void
content_ask(struct repl *r, struct peer *p)
{
	struct ask a = {
		.r = r, .p = p, .cids = BUF_MAX((size_t)MSG_CIDS_MAX * 32)
	};
	uint32_t n = comps_all(r);

	if (r->n_wants == 0 || p->closing)
		return;
	if (r->now_ms < p->ct.busy_ms) {
		repl_wake(r, p->ct.busy_ms);
		return;
	}
	while (n > 0 && ask_round(&a, n) && r->err == ERR_OK)
		;
	if (p->ct.asked == NULL && r->err == ERR_OK)
		endgame(&a);
	if (p->ct.asked != NULL)
		repl_wake(r, r->now_ms + slow_ms(&p->ct));
	buf_fini(&a.cids);
}

/* --- answers --- */

/* A source is gone: another copy may be under way. */
static void
copy_failed(struct repl *r, struct copy *c)
{
	struct want *w = c->want;

	limit_return(r, c);
	content_unask(r, c);
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		if (w->copy[i].peer != NULL)
			return;
	}
	want_settle(r, w);
}

void
content_on_not_have(struct repl *r, struct link *l, const struct msg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		struct cry_id cid = msg_cid_at(m, i);
		struct want *w = want_find(r, &cid);
		struct copy *c = w == NULL ? NULL : want_copy(w, l->peer);
		struct place *pl;

		if (c == NULL || c->comp->share != l->share ||
		    c->comp->no != m->compartment)
			continue;
		if ((pl = want_place(w, c->comp)) != NULL)
			place_lacks_add(r, pl, l->peer->conn);
		copy_failed(r, c);
	}
}

/* Too much at once: we come back. */
void
content_on_busy(struct repl *r, struct link *l, const struct msg *m)
{
	struct content_peer *ct = &l->peer->ct;
	uint64_t ms = m->c_len;

	if (ms > CONTENT_BUSY_MAX_MS)
		ms = CONTENT_BUSY_MAX_MS;
	ct->busy_ms = r->now_ms + ms;
	for (uint32_t i = 0; i < m->n; i++) {
		struct cry_id cid = msg_cid_at(m, i);
		struct want *w = want_find(r, &cid);
		struct copy *c = w == NULL ? NULL : want_copy(w, l->peer);

		if (c != NULL)
			copy_failed(r, c);
	}
	repl_wake(r, ct->busy_ms);
}

void
content_peer_gone(struct repl *r, struct peer *p)
{
	while (p->ct.asked != NULL)
		copy_failed(r, p->ct.asked);
}

/* --- time --- */

/* Others have it, or may: they are asked, and this peer is left alone for as
 * long as it made us wait. */
static void
passed_over(struct repl *r, struct peer *p)
{
	struct copy *c = p->ct.asked, *next;
	bool any = false;

	for (; c != NULL; c = next) {
		next = c->next;
		if (!want_hopeful(r, c->want, p))
			continue;
		any = true;
		if (want_copy(c->want, NULL) == NULL)
			content_cancel(r, c); /* the other copy goes on */
		else {
			struct want *w = c->want;

			content_cancel(r, c);
			want_idle(r, w);
		}
	}
	if (any)
		p->ct.busy_ms = r->now_ms + slow_ms(&p->ct);
}

static void
stalled(struct repl *r, struct peer *p)
{
	while (p->ct.asked != NULL) {
		struct copy *c = p->ct.asked;
		struct place *pl = want_place(c->want, c->comp);

		if (pl != NULL)
			place_lacks_add(r, pl, p->conn);
		copy_failed(r, c);
	}
}

static void
slow_tick(struct repl *r, struct peer *p)
{
	struct content_peer *ct = &p->ct;
	uint64_t since = ct->asked->asked_ms, slow = slow_ms(ct);

	if (since < ct->bulk_ms)
		since = ct->bulk_ms;
	if (r->now_ms >= since + CONTENT_SLOW_MAX_MS) {
		stalled(r, p);
		return;
	}
	if (r->now_ms >= since + slow)
		passed_over(r, p);
	else
		repl_wake(r, since + slow);
	if (ct->asked != NULL)
		repl_wake(r, since + CONTENT_SLOW_MAX_MS);
}

static void
limit_tick(struct repl *r)
{
	if (!r->held)
		return;
	if (bucket_room(&r->down, r->now_ms) == 0) {
		repl_wake(r, bucket_open_ms(&r->down));
		return;
	}
	r->held = false; /* until asking says so again */
	for (uint32_t i = 0; i < r->n_peers; i++)
		r->peers[i]->dirty = true;
}

void
content_limit(struct repl *r, uint64_t rate)
{
	bucket_set(&r->down, rate, r->now_ms);
	limit_tick(r);
}

bool
repl_held(const struct repl *r)
{
	return r->held && r->n_wants > 0;
}

void
content_tick(struct repl *r)
{
	limit_tick(r);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = r->peers[i];

		if (!p->closing && p->ct.asked != NULL)
			slow_tick(r, p);
	}
	want_tick(r);
}
