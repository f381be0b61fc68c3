/* replication/want.c: what is wanted, and where it waits.
 *
 *   IDLE <-> PARKED,  IDLE -> ASKED -> STORING -> gone
 *
 * While idle a want stands in a list of its class in every compartment it is
 * wanted for; parked (nobody connected has it) in one list of each, by when
 * it is tried again.  NOT_HAVE puts a peer on the place's list of those who
 * lack it; HAVE, a new link or the retry take it off. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

/* --- lists --- */

static void
place_unlist(struct place *pl)
{
	struct want_list *l = pl->list;

	if (l == NULL)
		return;
	if (pl->prev != NULL)
		pl->prev->next = pl->next;
	else
		l->first = pl->next;
	if (pl->next != NULL)
		pl->next->prev = pl->prev;
	else
		l->last = pl->prev;
	pl->prev = pl->next = NULL;
	pl->list = NULL;
}

static void
place_append(struct place *pl, struct want_list *l)
{
	place_unlist(pl);
	pl->list = l;
	pl->prev = l->last;
	if (l->last != NULL)
		l->last->next = pl;
	else
		l->first = pl;
	l->last = pl;
}

void
place_last(struct place *pl)
{
	if (pl->list != NULL)
		place_append(pl, pl->list);
}

void
want_unlist(struct want *w)
{
	for (struct place *pl = &w->at; pl != NULL; pl = pl->more)
		place_unlist(pl);
}

/* --- the table --- */

static uint32_t
cid_hash(const struct cry_id *cid)
{
	uint32_t h;

	memcpy(&h, cid->b, sizeof(h)); /* a hash already */
	return h;
}

struct want *
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
	struct place *pl = w->at.more, *next;

	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++)
		buf_fini(&w->copy[i].data);
	mem_free(w->at.not_have);
	for (; pl != NULL; pl = next) {
		next = pl->more;
		mem_free(pl->not_have);
		mem_free(pl);
	}
	mem_free(w);
}

void
want_drop(struct repl *r, struct want *w)
{
	struct want **at = &r->want_hash[cid_hash(&w->cid) & (r->want_cap - 1)];

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	want_unlist(w);
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

/* --- who lacks it --- */

bool
place_lacks(const struct place *pl, repl_conn conn)
{
	for (uint32_t i = 0; i < pl->n_not_have; i++) {
		if (pl->not_have[i] == conn)
			return true;
	}
	return false;
}

/* The list holds connected peers only, so it is no longer than they are. */
void
place_lacks_add(struct repl *r, struct place *pl, repl_conn conn)
{
	uint32_t cap = pl->cap_not_have == 0 ? 4 : pl->cap_not_have * 2;
	void *q;

	if (place_lacks(pl, conn))
		return;
	for (uint32_t i = 0; i < pl->n_not_have; i++) {
		if (peer_find(r, pl->not_have[i]) == NULL)
			pl->not_have[i--] = pl->not_have[--pl->n_not_have];
	}
	if (pl->n_not_have == pl->cap_not_have) {
		q = repl_regrow(r, pl->not_have, cap, sizeof(repl_conn));
		if (q == NULL)
			return;
		pl->not_have = q;
		pl->cap_not_have = cap;
	}
	pl->not_have[pl->n_not_have++] = conn;
}

static void
lacks_remove(struct place *pl, repl_conn conn)
{
	for (uint32_t i = 0; i < pl->n_not_have; i++) {
		if (pl->not_have[i] == conn)
			pl->not_have[i--] = pl->not_have[--pl->n_not_have];
	}
}

bool
content_may_hold(struct repl *r, struct peer *p, const struct comp *c)
{
	struct link *l = peer_link(p, c->share);

	if (p->closing || l == NULL || l->state != LINK_LIVE)
		return false;
	return member_may_fetch(c->share->m, &r->o.me.sign, c->no) &&
	       member_may_fetch(c->share->m, &p->pub.sign, c->no);
}

static bool
place_hopeful(struct repl *r, const struct place *pl, const struct peer *but)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = r->peers[i];

		if (p != but && content_may_hold(r, p, pl->comp) &&
		    !place_lacks(pl, p->conn))
			return true;
	}
	return false;
}

bool
want_hopeful(struct repl *r, const struct want *w, const struct peer *but)
{
	for (const struct place *pl = &w->at; pl != NULL; pl = pl->more) {
		if (place_hopeful(r, pl, but))
			return true;
	}
	return false;
}

/* --- states --- */

static void
all_dirty(struct repl *r)
{
	for (uint32_t i = 0; i < r->n_peers; i++)
		r->peers[i]->dirty = true;
}

void
want_idle(struct repl *r, struct want *w)
{
	w->state = WANT_IDLE;
	for (struct place *pl = &w->at; pl != NULL; pl = pl->more)
		place_append(pl, &pl->comp->idle[w->cls]);
	all_dirty(r);
}

void
want_park(struct repl *r, struct want *w)
{
	w->state = WANT_PARKED;
	w->retry_ms = r->now_ms + CONTENT_RETRY_MS;
	for (struct place *pl = &w->at; pl != NULL; pl = pl->more)
		place_append(pl, &pl->comp->parked);
	repl_wake(r, w->retry_ms);
}

void
want_settle(struct repl *r, struct want *w)
{
	if (want_hopeful(r, w, NULL))
		want_idle(r, w);
	else
		want_park(r, w);
}

struct place *
want_place(struct want *w, const struct comp *c)
{
	struct place *pl = &w->at;

	while (pl != NULL && pl->comp != c)
		pl = pl->more;
	return pl;
}

/* --- wanting --- */

/* Wanted for another compartment, too, or with more haste. */
static void
want_more(struct repl *r, struct want *w, struct comp *c, enum repl_class cls)
{
	struct place *pl = want_place(w, c);
	bool moved = cls < w->cls;

	w->dropped = false;
	if (moved)
		w->cls = cls;
	if (pl == NULL) {
		if ((pl = repl_alloc(r, 1, sizeof(*pl))) == NULL)
			return;
		pl->want = w;
		pl->comp = c;
		pl->more = w->at.more;
		w->at.more = pl;
		moved = true;
	}
	if (moved && (w->state == WANT_IDLE || w->state == WANT_PARKED))
		want_idle(r, w);
}

static struct want *
want_new(struct repl *r, const struct repl_event *ev, struct comp *c)
{
	struct want *w;
	uint32_t at;

	if (!hash_room(r) || (w = repl_alloc(r, 1, sizeof(*w))) == NULL)
		return NULL;
	w->cid = ev->cid;
	w->c_len = ev->c_len;
	w->cls = ev->cls;
	w->at.want = w;
	w->at.comp = c;
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		w->copy[i].want = w;
		w->copy[i].data = BUF_EMPTY;
	}
	at = cid_hash(&w->cid) & (r->want_cap - 1);
	w->hash_next = r->want_hash[at];
	r->want_hash[at] = w;
	r->n_wants++;
	r->want_bytes += w->c_len;
	return w;
}

void
want_add(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct want *w = want_find(r, &ev->cid);
	struct comp *c;

	if (s == NULL || ev->c_len == 0 || ev->c_len > OP_CHUNK_BYTES_MAX)
		return;
	REQUIRE(ev->cls < REPL_CLASSES);
	if ((c = comp_get(r, s, ev->compartment)) == NULL)
		return;
	if (w != NULL)
		want_more(r, w, c, ev->cls);
	else if ((w = want_new(r, ev, c)) != NULL)
		want_idle(r, w);
}

/* --- not wanting any more --- */

/* The want is gone, or will be once it is stored. */
static void
want_end(struct repl *r, struct want *w)
{
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		if (w->copy[i].peer != NULL)
			content_cancel(r, &w->copy[i]);
	}
	if (w->state == WANT_STORING)
		w->dropped = true;
	else
		want_drop(r, w);
}

static void
place_remove(struct repl *r, struct want *w, struct place *pl)
{
	struct place *next, *at = &w->at;

	if (pl == &w->at && w->at.more == NULL) {
		want_end(r, w);
		return;
	}
	for (uint32_t i = 0; i < CONTENT_COPIES_MAX; i++) {
		if (w->copy[i].peer != NULL && w->copy[i].comp == pl->comp)
			content_cancel(r, &w->copy[i]);
	}
	place_unlist(pl);
	mem_free(pl->not_have);
	if (pl != &w->at) {
		while (at->more != pl)
			at = at->more;
		at->more = pl->more;
		mem_free(pl);
	} else { /* the next one takes the first one's room */
		next = pl->more;
		place_unlist(next);
		*pl = *next;
		mem_free(next);
	}
	if (w->state != WANT_STORING && w->copy[0].peer == NULL &&
	    w->copy[1].peer == NULL)
		want_settle(r, w);
}

bool
want_came(struct repl *r, struct want *w, struct comp *comp)
{
	struct place *pl = want_place(w, comp);

	if (w->dropped || (pl == &w->at && w->at.more == NULL))
		return false;
	w->state = WANT_IDLE;
	if (pl != NULL)
		place_remove(r, w, pl);
	else /* wanted there no more, meanwhile */
		want_settle(r, w);
	return true;
}

void
want_remove(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct comp *c = s == NULL ? NULL : comp_find(s, ev->compartment);
	struct want *w = want_find(r, &ev->cid);
	struct place *pl;

	if (c == NULL)
		return;
	if (!ev->all) {
		pl = w == NULL ? NULL : want_place(w, c);
		if (pl != NULL)
			place_remove(r, w, pl);
		return;
	}
	for (uint32_t i = 0; i < r->want_cap; i++) {
		struct want *next;

		for (w = r->want_hash[i]; w != NULL; w = next) {
			next = w->hash_next;
			if ((pl = want_place(w, c)) != NULL)
				place_remove(r, w, pl);
		}
	}
}

/* --- it may be there after all --- */

void
content_on_have(struct repl *r, struct link *l, const struct msg *m)
{
	struct comp *c = comp_find(l->share, m->compartment);

	for (uint32_t i = 0; i < m->n && c != NULL; i++) {
		struct cry_id cid = msg_cid_at(m, i);
		struct want *w = want_find(r, &cid);
		struct place *pl = w == NULL ? NULL : want_place(w, c);

		if (pl == NULL)
			continue;
		lacks_remove(pl, l->peer->conn);
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
			want_idle(r, c->parked.first->want);
	}
	l->peer->dirty = true;
}

static void
parked_tick(struct repl *r, struct comp *c)
{
	struct place *pl;

	while ((pl = c->parked.first) != NULL) {
		struct want *w = pl->want;

		if (r->now_ms < w->retry_ms) {
			repl_wake(r, w->retry_ms);
			return;
		}
		for (pl = &w->at; pl != NULL; pl = pl->more)
			pl->n_not_have = 0;
		want_idle(r, w);
	}
}

void
want_tick(struct repl *r)
{
	for (uint32_t i = 0; i < r->n_shares; i++) {
		for (uint32_t k = 0; k < r->shares[i]->n_comps; k++)
			parked_tick(r, r->shares[i]->comps[k]);
	}
}
