/* replication/bound.c: how far feeds count, as the chain has it.
 *
 * A device that was revoked keeps what lies below its cuts (rulings.md 17).
 * Here a feed that we hold beyond its cut is taken back to it: roots,
 * frontiers and answers then end there as they do at a node that never saw
 * the rest.  Nothing is deleted; the host sets the ops aside.  The feeds of a
 * frozen device are held: they take part in nothing, as they were. */
#include "replication/repl_internal.h"

static enum member_feed
feed_state(const struct share *s, const struct op_feed *f, struct op_head *cut)
{
	return s->m == NULL ? MEMBER_FEED_NONE : member_feed(s->m, f, cut);
}

uint64_t
bound_seq(const struct share *s, const struct op_feed *f)
{
	struct op_head cut;

	switch (feed_state(s, f, &cut)) {
	case MEMBER_FEED_NONE:
	case MEMBER_FEED_HELD: return 0;
	case MEMBER_FEED_OPEN: return UINT64_MAX;
	case MEMBER_FEED_CUT: return cut.seq;
	}
	return 0;
}

/* Back to its cut, if it is beyond.  What is on its way to disk beyond it was
 * taken before the cut was known: its end does not move the feed. */
void
bound_feed(struct comp *c, struct feed *f)
{
	struct op_head cut;
	enum member_feed state = feed_state(c->share, &f->f, &cut);
	bool held = state == MEMBER_FEED_HELD;

	c->share->any_held |= held;
	if (held != f->held) {
		f->held = held;
		front_moved(c, f);
		c->dirty = true;
	}
	if (state != MEMBER_FEED_CUT)
		return;
	if (f->seq > cut.seq) {
		f->seq = cut.seq;
		f->lamport = cut.lamport;
		f->head = cut.id;
		front_moved(c, f);
		c->dirty = true;
	}
	if (f->tip_seq > cut.seq) {
		f->tip_seq = f->seq;
		f->tip_lamport = f->lamport;
		f->tip = f->head;
	}
}

void
bound_share(struct repl *r, struct share *s)
{
	if (s->m == NULL || s->feeds_gen == member_feeds_gen(s->m))
		return;
	s->feeds_gen = member_feeds_gen(s->m);
	s->any_held = false;
	for (uint32_t i = 0; i < s->n_comps; i++) {
		struct comp *c = s->comps[i];

		for (uint32_t k = 0; k < c->n; k++)
			bound_feed(c, &c->feeds[k]);
		sync_changed(r, c);
	}
}
