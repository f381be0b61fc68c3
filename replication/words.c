/* replication/words.c: where what members signed that they hold does not fit
 * what is here: for people, nothing is decided by it (witnesses.c). */
#include "replication/repl_internal.h"
#include "replication/witness.h"

#include "store/base/mem.h"

#define GRACE_MS 60000u /* what is on its way is no finding */

const char *
repl_word_text(enum repl_word w)
{
	static const char *const text[REPL_WORDS] = {
		[REPL_WORD_OK] = "",
		[REPL_WORD_PUT_BACK] =
		    "it took back what it had signed: put back to an older "
		    "state, or a copy of it runs elsewhere",
		[REPL_WORD_OWN] = "it signed for ops of its own that have "
				  "not come: lost, or withheld from us",
		[REPL_WORD_MORE] =
		    "it signed that it holds ops that have not come",
		[REPL_WORD_CHAIN] = "it signed for membership records that "
				    "have not come",
		[REPL_WORD_BRANCH] = "it signed for another membership chain",
		[REPL_WORD_UNHEARD] = "others have a later statement of it, "
				      "which has not come: withheld from us?",
	};

	return text[w];
}

/* Ops of this device that count here. */
static uint64_t
held_of(const struct comp *c, const struct cry_sign_pk *d)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct feed *f = &c->feeds[i];

		n += !f->held && same_key(&f->f.device, d) ? f->seq : 0;
	}
	return n;
}

/* What of its word does not fit what we have; *n: by how much. */
static enum repl_word
judge(const struct repl *r, const struct comp *c, const struct wit *v,
    const struct witness *w, uint64_t *n)
{
	const struct member *m = c->share->m;
	bool same = w->chain_seq == member_seq(m);
	uint64_t have;

	*n = 0;
	if (v->newer.n > 0)
		return REPL_WORD_PUT_BACK;
	if (same && !same_id(&w->chain_head, member_head(m)))
		return REPL_WORD_BRANCH;
	if (r->now_ms < v->heard_ms + GRACE_MS)
		return REPL_WORD_OK;
	if ((have = held_of(c, &v->device)) < w->own_ops) {
		*n = w->own_ops - have;
		return REPL_WORD_OWN;
	}
	if (w->chain_seq > member_seq(m)) {
		*n = w->chain_seq - member_seq(m);
		return REPL_WORD_CHAIN;
	}
	if (same && !c->share->any_held && w->ops > c->ops) {
		*n = w->ops - c->ops;
		return REPL_WORD_MORE;
	}
	return REPL_WORD_OK;
}

struct words {
	const struct repl *r;
	struct repl_words_row *out;
	uint32_t n, max;
};

static void
words_add(struct words *x, const struct comp *c, const struct cry_sign_pk *d,
    struct repl_words_row row)
{
	row.share = c->share->id;
	row.compartment = c->no;
	row.device = *d;
	if (x->n++ < x->max)
		x->out[x->n - 1] = row;
}

/* A grant whose device's key begins so. */
static const struct cry_sign_pk *
grantee(const struct comp *c, const uint8_t device[8])
{
	const struct member *m = c->share->m;

	for (uint32_t i = 0; i < member_n_grants(m); i++) {
		const struct member_grant *g = member_grant(m, i);

		if (memcmp(g->device.sign.b, device, 8) == 0 &&
		    member_may_receive(m, &g->device.sign, c->no))
			return &g->device.sign;
	}
	return NULL;
}

/* The latest number that somebody else heard of it, a while ago. */
static void
heard_note(struct words *x, const struct comp *c, uint64_t *later)
{
	memset(later, 0, c->n_wits * sizeof(*later));
	for (uint32_t i = 0; i < c->n_wits; i++) {
		const struct wit *v = &c->wits[i];
		struct witness w;

		if (v->no == 0 || x->r->now_ms < v->heard_ms + GRACE_MS)
			continue;
		w = wit_word(&v->b);
		for (uint8_t k = 0; k < w.n_heard; k++) {
			const struct wit *o = wit_find(
			    c, w.heard[k].device, sizeof(w.heard[k].device));
			const struct cry_sign_pk *d;

			if (o != NULL && later[o - c->wits] < w.heard[k].no)
				later[o - c->wits] = w.heard[k].no;
			if (o != NULL ||
			    (d = grantee(c, w.heard[k].device)) == NULL)
				continue;
			words_add(x, c, d,
			    (struct repl_words_row){
				.what = REPL_WORD_UNHEARD });
		}
	}
}

static void
comp_words(struct words *x, struct comp *c, uint64_t *later)
{
	const struct member *m = c->share->m;

	comp_refresh(c);
	heard_note(x, c, later);
	for (uint32_t i = 0; i < c->n_wits; i++) {
		const struct wit *v = &c->wits[i];
		struct repl_words_row row = { .no = v->no };
		struct witness w;

		if (v->no == 0 || !member_may_receive(m, &v->device, c->no))
			continue;
		w = wit_word(&v->b);
		row.wall_ms = w.wall_ms;
		row.own_ops = w.own_ops;
		row.what = judge(x->r, c, v, &w, &row.n);
		if (row.what == REPL_WORD_PUT_BACK)
			row.wall_ms = wit_word(&v->newer).wall_ms;
		if (row.what == REPL_WORD_OK && later[i] > v->no)
			row.what = REPL_WORD_UNHEARD;
		words_add(x, c, &v->device, row);
	}
}

uint32_t
repl_words(const struct repl *r, struct repl_words_row *out, uint32_t max)
{
	struct words x = { .r = r, .out = out, .max = max };
	uint64_t *later = mem_array(REPL_WITS_MAX, sizeof(*later));

	for (uint32_t i = 0; later != NULL && i < r->n_shares; i++) {
		struct share *s = r->shares[i];

		for (uint32_t k = 0; s->open && k < s->n_comps; k++)
			comp_words(&x, s->comps[k], later);
	}
	mem_free(later);
	return x.n;
}
