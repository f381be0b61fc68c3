/* replication/witnesses.c: statements of members, kept, passed on, compared.
 *
 * When something changed, and not more often than each hour, the host signs
 * what we hold (RX_SIGN); it is told only once it is durable, so whoever
 * hears a later word of its own than it remembers was put back to an older
 * state, or runs twice, and says so itself.  Of each member and compartment
 * the latest statement is kept, and what proves that one took its word back.
 * Peers compare one sum when they meet, then lists if it differs; new
 * statements go along every connection once.  A statement says nothing of
 * compartments that its reader may not receive.
 *
 * Words decide nothing: repl_words() tells people where they do not fit. */
#include "replication/repl_internal.h"
#include "replication/witness.h"

#include "store/base/mem.h"
#include "store/base/rd.h"

#define SETTLE_MS 3000u /* changes settle before one is signed */
#define HOUR_MS 3600000u
#define GAP_MS 60000u /* between two of one author */
#define NEVER UINT64_MAX

/* --- who --- */

static uint32_t
wit_slot(const struct comp *c, const uint8_t *key, size_t n)
{
	uint32_t lo = 0, hi = c->n_wits;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (memcmp(c->wits[c->wit_order[mid]].device.b, key, n) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* By the key, or its first n bytes. */
struct wit *
wit_find(const struct comp *c, const uint8_t *key, size_t n)
{
	uint32_t at = wit_slot(c, key, n);
	struct wit *v;

	if (at == c->n_wits)
		return NULL;
	v = &c->wits[c->wit_order[at]];
	return memcmp(v->device.b, key, n) == 0 ? v : NULL;
}

static struct wit *
wit_get(struct repl *r, struct comp *c, const struct cry_sign_pk *d)
{
	struct wit *v = wit_find(c, d->b, sizeof(d->b));
	uint32_t at, n = c->n_wits;
	void *q;

	if (v != NULL || n == REPL_WITS_MAX)
		return v;
	if ((q = repl_regrow(r, c->wits, n + 1u, sizeof(*v))) == NULL)
		return NULL;
	c->wits = q;
	q = repl_regrow(r, c->wit_order, n + 1u, sizeof(*c->wit_order));
	if (q == NULL)
		return NULL;
	c->wit_order = q;
	at = wit_slot(c, d->b, sizeof(d->b));
	memmove(c->wit_order + at + 1, c->wit_order + at,
	    (n - at) * sizeof(*c->wit_order));
	c->wit_order[at] = n;
	v = &c->wits[c->n_wits++];
	memset(v, 0, sizeof(*v));
	v->device = *d;
	return v;
}

void
witnesses_free(struct comp *c)
{
	for (uint32_t i = 0; i < c->n_wits; i++) {
		buf_fini(&c->wits[i].b);
		buf_fini(&c->wits[i].older);
		buf_fini(&c->wits[i].newer);
	}
	mem_free(c->wits);
	mem_free(c->wit_order);
}

/* What we keep decodes. */
struct witness
wit_word(const struct buf *b)
{
	struct witness w;
	enum err e = witness_decode(buf_slice(b), &w);

	REQUIRE(e == ERR_OK);
	return w;
}

static bool
bytes_set(struct repl *r, struct buf *b, struct slice bytes)
{
	buf_fini(b);
	*b = BUF_MAX(WITNESS_BYTES_MAX);
	buf_put_slice(b, bytes);
	return repl_ok(r, buf_err(b));
}

/* First bytes of a hash over who said which; 0: nobody said anything. */
static uint64_t
sum_of(const struct comp *c)
{
	struct cry_hasher h;
	struct cry_id id;
	uint64_t v = 0;

	if (c->n_wits == 0)
		return 0;
	cry_hasher_init(&h);
	cry_hasher_add(&h, SLICE_LIT("psc.witnesses.1"));
	for (uint32_t i = 0; i < c->n_wits; i++) {
		const struct wit *w = &c->wits[c->wit_order[i]];
		uint8_t row[32 + 8];

		memcpy(row, w->device.b, 32);
		for (int b = 0; b < 8; b++)
			row[32 + b] = (uint8_t)(w->no >> (8 * b));
		cry_hasher_add(&h, slice_of(row, sizeof(row)));
	}
	cry_hasher_end(&h, &id);
	for (int i = 7; i >= 0; i--)
		v = v << 8 | id.b[i];
	return v;
}

/* --- at rest: latest, and what proves that it was put back --- */

static void
kept_put(const struct buf *b, struct buf *out)
{
	buf_u16(out, (uint16_t)b->n);
	buf_put_slice(out, buf_slice(b));
}

static void
keep(struct repl *r, const struct comp *c, const struct wit *v)
{
	struct buf kept = BUF_MAX(REPL_WITNESS_KEPT_MAX);
	struct repl_effect *fx;

	kept_put(&v->b, &kept);
	kept_put(&v->older, &kept);
	kept_put(&v->newer, &kept);
	if (!repl_ok(r, buf_err(&kept))) {
		buf_fini(&kept);
		return;
	}
	fx = repl_fx(r, RX_WITNESS);
	fx->share = c->share->id;
	fx->compartment = c->no;
	fx->device = v->device;
	fx->bytes = buf_slice(&kept);
	repl_trash(r, kept.p);
}

/* Of our own disk; true: it is a statement of this author here. */
static bool
kept_get(struct repl *r, const struct comp *c, const struct cry_sign_pk *d,
    struct rd *in, struct buf *out)
{
	struct slice bytes = rd_bytes(in, rd_u16(in));
	struct witness w;

	if (in->err != ERR_OK || witness_decode(bytes, &w) != ERR_OK ||
	    w.compartment != c->no || !same_key(&w.device, d) ||
	    memcmp(&w.share, &c->share->id, sizeof(w.share)) != 0)
		return false;
	return bytes_set(r, out, bytes);
}

void
witnesses_known(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct rd in = rd_init(ev->bytes);
	struct comp *c;
	struct wit *v;

	if (s == NULL || s->m == NULL ||
	    (c = comp_get(r, s, ev->compartment)) == NULL ||
	    (v = wit_get(r, c, &ev->ops.feed.device)) == NULL)
		return;
	if (kept_get(r, c, &v->device, &in, &v->b))
		v->no = wit_word(&v->b).no;
	(void)kept_get(r, c, &v->device, &in, &v->older);
	(void)kept_get(r, c, &v->device, &in, &v->newer);
	v->heard_ms = r->now_ms;
}

/* --- telling --- */

static void
mark(struct repl *r, struct pcomp *pc, uint32_t i)
{
	uint32_t n = pc->comp->n_wits;
	void *q;

	if (i >= pc->n_wit_due) {
		if ((q = repl_regrow(r, pc->wit_due, n, 1)) == NULL)
			return;
		pc->wit_due = q;
		memset(pc->wit_due + pc->n_wit_due, 0, n - pc->n_wit_due);
		pc->n_wit_due = n;
	}
	pc->wit_due[i] = 1;
	pc->wit_out = true;
}

/* To all who may know it but who brought it. */
static void
pass_on(
    struct repl *r, struct comp *c, const struct wit *v, const struct peer *p)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct link *l = peer_link(r->peers[i], c->share);
		struct pcomp *pc;

		if (l == NULL || l->state != LINK_LIVE || l->peer == p ||
		    (pc = pc_allowed(r, l, c->no)) == NULL)
			continue;
		mark(r, pc, (uint32_t)(v - c->wits));
		l->peer->dirty = true;
	}
}

static void
send_one(struct repl *r, struct link *l, const struct buf *b)
{
	struct msg m = { .type = MSG_WITNESS, .tag = l->tx };

	m.bytes = buf_slice(b);
	if (b->n > 0)
		peer_send(r, l->peer, &m);
}

static void
pump_pc(struct repl *r, struct link *l, struct pcomp *pc)
{
	pc->wit_out = false;
	for (uint32_t i = 0; i < pc->n_wit_due && !l->peer->closing; i++) {
		const struct wit *v = &pc->comp->wits[i];

		if (pc->wit_due[i] == 0)
			continue;
		if (!peer_can_send(l->peer, SESS_OPS)) {
			pc->wit_out = true; /* when credit is back */
			return;
		}
		pc->wit_due[i] = 0;
		send_one(r, l, &v->older); /* nothing, but of who took back */
		send_one(r, l, &v->newer);
		send_one(r, l, &v->b);
	}
}

void
witnesses_pump(struct repl *r, struct peer *p)
{
	for (uint32_t i = 0; i < p->n_links; i++) {
		struct link *l = &p->links[i];

		for (uint32_t k = 0; l->state == LINK_LIVE && k < l->n_pc;
		     k++) {
			if (l->pc[k].wit_out && r->err == ERR_OK)
				pump_pc(r, l, &l->pc[k]);
		}
	}
}

static void
sums_send(struct repl *r, struct link *l, const struct pcomp *pc, bool list)
{
	const struct comp *c = pc->comp;
	struct buf shorts =
	    BUF_MAX((size_t)REPL_WITS_MAX * MSG_SHORT_BYTES_MAX);
	struct msg m = { .type = MSG_WITNESSES,
		.tag = l->tx,
		.compartment = c->no,
		.flags = list ? WITNESSES_LIST : 0,
		.base = sum_of(c) };

	for (uint32_t i = 0; list && i < c->n_wits; i++) {
		const struct wit *v = &c->wits[c->wit_order[i]];
		struct msg_short e = { .seq = v->no };

		memcpy(e.feed, v->device.b, sizeof(e.feed));
		msg_short_put(&e, &shorts);
		m.n_shorts++;
	}
	m.shorts = buf_slice(&shorts);
	if (repl_ok(r, buf_err(&shorts)))
		peer_send(r, l->peer, &m);
	buf_fini(&shorts);
}

void
witnesses_meet(struct repl *r, struct link *l, struct pcomp *pc)
{
	if (pc->comp->n_wits > 0)
		sums_send(r, l, pc, false);
}

void
witnesses_on_sums(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	size_t at = 0;

	if (pc == NULL || m->base == sum_of(pc->comp))
		return;
	if ((m->flags & WITNESSES_LIST) == 0) {
		sums_send(r, l, pc, true);
		return;
	}
	for (uint32_t i = 0; i < pc->comp->n_wits && r->err == ERR_OK; i++)
		mark(r, pc, i);
	for (uint32_t i = 0; i < m->n_shorts && r->err == ERR_OK; i++) {
		struct msg_short e = msg_short_next(m, &at);
		struct wit *v = wit_find(pc->comp, e.feed, sizeof(e.feed));

		if (v != NULL && e.seq >= v->no)
			pc->wit_due[v - pc->comp->wits] = 0;
	}
}

/* --- our own --- */

/* The shortest time between two statements of one author. */
static uint64_t
gap_ms(const struct repl *r)
{
	return r->o.witness_ms != 0 && r->o.witness_ms / 2 < GAP_MS
		   ? r->o.witness_ms / 2
		   : GAP_MS;
}

/* Did we write what our last statement does not tell of? */
static bool
writes_unsaid(const struct repl *r, const struct comp *c)
{
	const struct wit *own = wit_find(c, r->o.me.sign.b, 32);
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		if (!c->feeds[i].held &&
		    same_key(&c->feeds[i].f.device, &r->o.me.sign))
			n += c->feeds[i].seq;
	}
	return own == NULL || own->no == 0 || wit_word(&own->b).own_ops != n;
}

/* When what changed is to be signed.  Who receives waits for our word on
 * what we wrote: that comes as soon as it is taken. */
void
witnesses_touch(struct repl *r, struct comp *c)
{
	uint64_t every = r->o.witness_ms == 0 ? HOUR_MS : r->o.witness_ms;
	uint64_t at = r->now_ms + (every < SETTLE_MS ? every : SETTLE_MS);
	uint64_t pause = every;

	if (every == NEVER)
		return;
	if (c->wit_said_ms != 0 && writes_unsaid(r, c))
		pause = gap_ms(r) + gap_ms(r) / 8;
	if (c->wit_due_ms != 0 &&
	    (pause == every || c->wit_due_ms <= c->wit_said_ms + pause))
		return;
	if (c->wit_said_ms != 0 && at < c->wit_said_ms + pause)
		at = c->wit_said_ms + pause;
	if (pause == every && at == c->wit_said_ms + every)
		at += repl_random(r, every / 8 + 1);
	c->wit_due_ms = at;
	repl_wake(r, at);
}

static void
own_feeds(const struct repl *r, const struct comp *c, struct witness *w)
{
	uint64_t moved = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct feed *f = &c->feeds[i];

		if (f->seq == 0 || f->held ||
		    !same_key(&f->f.device, &r->o.me.sign))
			continue;
		w->own_ops += f->seq;
		if (f->moved < moved)
			continue;
		moved = f->moved;
		w->incarnation = f->f.incarnation;
		w->seq = f->seq;
		w->head = f->head;
	}
}

/* The WITNESS_HEARD_MAX that came last. */
static void
own_heard(const struct repl *r, const struct comp *c, struct witness *w)
{
	uint64_t turn[WITNESS_HEARD_MAX];

	for (uint32_t i = 0; i < c->n_wits; i++) {
		const struct wit *v = &c->wits[i];
		uint32_t at = w->n_heard;

		if (v->no == 0 || same_key(&v->device, &r->o.me.sign))
			continue;
		while (at > 0 && turn[at - 1] < v->turn)
			at--;
		if (at == WITNESS_HEARD_MAX)
			continue;
		if (w->n_heard < WITNESS_HEARD_MAX)
			w->n_heard++;
		memmove(turn + at + 1, turn + at,
		    (w->n_heard - at - 1u) * sizeof(*turn));
		memmove(w->heard + at + 1, w->heard + at,
		    (w->n_heard - at - 1u) * sizeof(*w->heard));
		turn[at] = v->turn;
		memcpy(w->heard[at].device, v->device.b, 8);
		w->heard[at].no = v->no;
	}
}

/* Is there anything in it that we did not say? */
static bool
is_news(const struct witness *w, const struct wit *own)
{
	struct witness was;

	if (own == NULL || own->no == 0 || w->flags != 0)
		return true;
	was = wit_word(&own->b);
	return was.chain_seq != w->chain_seq || was.ops != w->ops ||
	       !same_id(&was.root, &w->root);
}

static void
say(struct repl *r, struct comp *c)
{
	const struct member *m = c->share->m;
	const struct cry_sign_pk *me = &r->o.me.sign;
	const struct wit *own = wit_find(c, me->b, sizeof(me->b));
	struct witness w = { .share = c->share->id,
		.compartment = c->no,
		.device = *me,
		.flags = c->wit_confess ? WITNESS_PUT_BACK : 0 };
	struct buf b = BUF_MAX(WITNESS_BYTES_MAX);
	struct repl_effect *fx;

	c->wit_due_ms = 0;
	if (c->share->durable <= member_seq(m)) {
		/* What is signed for must not be forgotten in a crash. */
		c->wit_due_ms = r->now_ms + SETTLE_MS;
		repl_wake(r, c->wit_due_ms);
		return;
	}
	if (!c->share->open || !member_may_receive(m, me, c->no))
		return;
	comp_refresh(c);
	w.no = own == NULL ? 1 : own->no + 1;
	w.chain_seq = member_seq(m);
	w.chain_head = *member_head(m);
	w.root = c->root;
	w.ops = c->ops;
	own_feeds(r, c, &w);
	own_heard(r, c, &w);
	if (!is_news(&w, own) || w.no == 0)
		return;
	witness_encode(&w, &b);
	if (!repl_ok(r, buf_err(&b))) {
		buf_fini(&b);
		return;
	}
	c->wit_waits = true;
	fx = repl_fx(r, RX_SIGN);
	fx->share = c->share->id;
	fx->compartment = c->no;
	fx->bytes = buf_slice(&b);
	repl_trash(r, b.p);
}

void
witnesses_tick(struct repl *r, struct comp *c)
{
	if (c->wit_due_ms == 0 || c->wit_waits)
		return;
	if (r->now_ms >= c->wit_due_ms)
		say(r, c);
	else
		repl_wake(r, c->wit_due_ms);
}

/* --- a statement that is new --- */

/* One of the two takes back what the other says: that is kept. */
static bool
prove(
    struct repl *r, struct wit *v, const struct witness *w, struct slice bytes)
{
	struct witness was = { 0 };
	bool later, back;

	if (v->no == 0 && (w->flags & WITNESS_PUT_BACK) == 0)
		return false;
	if (v->no != 0)
		was = wit_word(&v->b);
	later = w->no >= v->no;
	back = (w->flags & WITNESS_PUT_BACK) != 0 ||
	       (v->no != 0 &&
		   (w->no == v->no ||
		       witness_takes_back(later ? &was : w, later ? w : &was)));
	if (!back || (v->newer.n > 0 &&
			 wit_word(&v->newer).no >= (later ? w->no : v->no)))
		return false;
	if (v->no == 0 || (w->flags & WITNESS_PUT_BACK) != 0) {
		buf_fini(&v->older);
		return bytes_set(r, &v->newer, bytes);
	}
	return bytes_set(r, &v->older, later ? buf_slice(&v->b) : bytes) &&
	       bytes_set(r, &v->newer, later ? bytes : buf_slice(&v->b));
}

/* Verified; from NULL: it is ours. */
static void
take(struct repl *r, struct comp *c, const struct witness *w,
    struct slice bytes, const struct peer *from)
{
	struct wit *v = wit_get(r, c, &w->device);
	bool proof, fresh;

	if (v == NULL)
		return;
	proof = prove(r, v, w, bytes);
	fresh = w->no > v->no;
	if (r->err != ERR_OK || (!fresh && !proof))
		return;
	if (fresh && bytes_set(r, &v->b, bytes)) {
		v->no = w->no;
		v->heard_ms = r->now_ms;
		v->turn = ++r->wit_turn;
	}
	keep(r, c, v);
	pass_on(r, c, v, proof ? NULL : from);
}

/* A word of ours that we do not remember. */
static void
take_own(struct repl *r, struct comp *c, const struct witness *w,
    struct slice bytes, const struct peer *from)
{
	take(r, c, w, bytes, from);
	if (c->wit_confessed || r->o.witness_ms == NEVER)
		return;
	c->wit_confessed = c->wit_confess = true;
	c->wit_due_ms = r->now_ms;
	repl_wake(r, r->now_ms);
	if (!c->wit_waits)
		say(r, c);
}

/* Is it worth a signature check? */
static bool
wanted(const struct repl *r, const struct wit *v, const struct witness *w,
    struct slice bytes)
{
	struct witness was;

	if (v == NULL || v->no == 0)
		return true;
	was = wit_word(&v->b);
	if (w->no == v->no)
		return !slice_eq(bytes, buf_slice(&v->b)) &&
		       (v->newer.n == 0 || wit_word(&v->newer).no < v->no);
	if (w->no < v->no)
		return (witness_takes_back(w, &was) ||
			   (w->flags & WITNESS_PUT_BACK) != 0) &&
		       (v->newer.n == 0 || wit_word(&v->newer).no < w->no);
	return r->now_ms >= v->heard_ms + gap_ms(r) || v->turn == 0 ||
	       (w->flags & ~was.flags) != 0 ||
	       (v->newer.n == 0 && witness_takes_back(&was, w));
}

void
witnesses_on(struct repl *r, struct link *l, const struct msg *m)
{
	struct witness w;
	struct pcomp *pc;
	struct wit *v;
	enum err e = witness_decode(m->bytes, &w);

	if (e != ERR_OK) {
		peer_close(r, l->peer, e, "malformed witness statement");
		return;
	}
	if (memcmp(&w.share, &l->share->id, sizeof(w.share)) != 0 ||
	    (pc = pc_allowed(r, l, w.compartment)) == NULL ||
	    !member_may_receive(l->share->m, &w.device, w.compartment))
		return;
	v = wit_find(pc->comp, w.device.b, sizeof(w.device.b));
	if (v != NULL && w.no >= v->no && v - pc->comp->wits < pc->n_wit_due)
		pc->wit_due[v - pc->comp->wits] = 0;
	if (!wanted(r, v, &w, m->bytes))
		return;
	if ((e = witness_verify(m->bytes, &w)) != ERR_OK) {
		peer_close(r, l->peer, e, "bad witness statement");
		return;
	}
	if (same_key(&w.device, &r->o.me.sign))
		take_own(r, pc->comp, &w, m->bytes, l->peer);
	else
		take(r, pc->comp, &w, m->bytes, l->peer);
}

/* Signed: to disk first, then to others. */
void
witnesses_signed(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct comp *c = s == NULL ? NULL : comp_find(s, ev->compartment);
	struct witness w;
	struct persist *ps;
	struct repl_effect *fx;
	const struct buf none = BUF_EMPTY;
	const struct wit *own;

	if (c == NULL)
		return;
	c->wit_waits = false;
	if (ev->err != ERR_OK || witness_decode(ev->bytes, &w) != ERR_OK)
		return;
	if ((ps = persist_new(r, PERSIST_WITNESS)) == NULL)
		return;
	ps->comp = c;
	ps->bytes = BUF_MAX(REPL_WITNESS_KEPT_MAX);
	buf_u16(&ps->bytes, (uint16_t)ev->bytes.n);
	buf_put_slice(&ps->bytes, ev->bytes);
	own = wit_find(c, w.device.b, sizeof(w.device.b));
	kept_put(own == NULL ? &none : &own->older, &ps->bytes);
	kept_put(own == NULL ? &none : &own->newer, &ps->bytes);
	if (!repl_ok(r, buf_err(&ps->bytes)))
		return;
	c->wit_waits = true;
	fx = repl_fx(r, RX_WITNESS);
	fx->token = ps->token;
	fx->share = s->id;
	fx->compartment = c->no;
	fx->device = r->o.me.sign;
	fx->bytes = buf_slice(&ps->bytes);
}

void
witnesses_persisted(struct repl *r, struct persist *ps, enum err e)
{
	struct rd in = rd_init(buf_slice(&ps->bytes));
	struct slice bytes = rd_bytes(&in, rd_u16(&in));
	struct comp *c = ps->comp;
	struct witness w;

	c->wit_waits = false;
	if (e != ERR_OK || witness_decode(bytes, &w) != ERR_OK) {
		witnesses_touch(r, c); /* no space: again when it is time */
		return;
	}
	c->wit_said_ms = r->now_ms;
	if ((w.flags & WITNESS_PUT_BACK) != 0)
		c->wit_confess = false;
	take(r, c, &w, bytes, NULL);
	if (c->wit_confess) /* heard meanwhile */
		c->wit_due_ms = r->now_ms;
	if (c->wit_due_ms != 0)
		repl_wake(r, c->wit_due_ms);
}
