/* replication/status.c: questions about the core's state. */
#include "replication/repl_internal.h"

bool
repl_halted(const struct repl *r, const struct share_id *share)
{
	const struct share *s = share_find(r, share);

	return s != NULL && s->halted;
}

const struct member *
repl_member(const struct repl *r, const struct share_id *share)
{
	struct share *s = share_find(r, share);

	return s == NULL ? NULL : s->m;
}

void
repl_root(const struct repl *r, const struct share_id *share,
    uint16_t compartment, struct cry_id *root, uint64_t *ops)
{
	struct share *s = share_find(r, share);
	struct comp *c = s == NULL ? NULL : comp_find(s, compartment);

	memset(root, 0, sizeof(*root));
	*ops = 0;
	if (c == NULL)
		return;
	comp_refresh(c);
	*root = c->root;
	*ops = c->ops;
}

uint64_t
repl_lamport(
    const struct repl *r, const struct share_id *share, uint16_t compartment)
{
	struct share *s = share_find(r, share);
	struct comp *c = s == NULL ? NULL : comp_find(s, compartment);

	if (c == NULL)
		return 0;
	comp_refresh(c);
	return c->lamport;
}

uint32_t
repl_n_peers(const struct repl *r)
{
	return r->n_peers;
}

bool
repl_speaks(const struct repl *r, repl_conn conn)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct peer *p = r->peers[i];

		if (p->conn != conn)
			continue;
		for (uint32_t k = 0; k < p->n_links; k++) {
			if (p->links[k].state != LINK_SILENT)
				return true;
		}
	}
	return false;
}

/* Ops they hold and we lack: by feed where the frontier is known, else by
 * the difference of counts. */
static uint64_t
lag(struct pcomp *pc)
{
	uint64_t n = 0;

	if (!pc->got_root || pc_equal(pc))
		return 0;
	for (uint32_t i = 0; i < pc->comp->n; i++) {
		uint64_t have = pc_have(pc, i);

		if (have > pc->comp->feeds[i].seq)
			n += have - pc->comp->feeds[i].seq;
	}
	if (n == 0 && pc->ops > pc->comp->ops)
		n = pc->ops - pc->comp->ops;
	return n;
}

/* A member that has not spoken is waited for a little, then passed over:
 * perhaps its admin never joined. */
static bool
link_in_sync(const struct repl *r, const struct link *l)
{
	const struct share *s = l->share;

	if (l->state == LINK_OFFERED)
		return r->now_ms - l->peer->up_ms >= REPL_GRACE_MS;
	if (l->state != LINK_LIVE)
		return !s->joining;
	if (l->peer_seq != member_seq(s->m))
		return s->halted;
	for (uint32_t i = 0; i < l->n_pc; i++) {
		if (!pc_equal(&l->pc[i]))
			return false;
	}
	return true;
}

void
repl_peer(const struct repl *r, uint32_t i, struct repl_peer_status *out)
{
	const struct peer *p;

	REQUIRE(i < r->n_peers);
	p = r->peers[i];
	*out = (struct repl_peer_status){ .conn = p->conn,
		.peer = p->pub,
		.in_sync = true,
		.bytes_rx = p->bytes_rx,
		.bytes_tx = p->bytes_tx,
		.chunks_rx = p->chunks_rx,
		.chunks_tx = p->chunks_tx,
		.rate_rx = p->ct.rx.rate,
		.rate_tx = p->ct.tx.rate,
		.rtt_ms = p->ct.rtt_ms,
		.busy = p->ct.busy_ms > r->now_ms };
	for (uint32_t k = 0; k < p->n_links; k++) {
		const struct link *l = &p->links[k];

		out->in_sync &= link_in_sync(r, l);
		for (uint32_t c = 0; c < l->n_pc; c++)
			out->lag_ops += lag(&l->pc[c]);
	}
}

/* --- why --- */

const char *
repl_why_text(enum repl_why why)
{
	static const char *const text[REPL_WHYS] = {
		[REPL_WHY_NONE] = "",
		[REPL_WHY_JOINING] = "our join waits for its grant",
		[REPL_WHY_NO_ANSWER] =
		    "it has not opened this share: not joined, or its "
		    "membership is older than ours",
		[REPL_WHY_CHAIN] = "membership records are on their way",
		[REPL_WHY_HALTED] = "membership is halted: two records with "
				    "one number were signed",
		[REPL_WHY_FORK] = "a feed is forked: two ops with one number "
				  "were signed",
		[REPL_WHY_NO_RIGHT] =
		    "it holds ops of a device that may not write here",
		[REPL_WHY_CREDIT] = "it takes nothing more from us for now",
		[REPL_WHY_DISK] = "what came is on its way to disk",
		[REPL_WHY_MOVING] = "ops are on their way",
	};

	return text[why];
}

static bool
no_right(const struct pcomp *pc)
{
	const struct comp *c = pc->comp;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct feed *f = &c->feeds[i];

		if (pc_have(pc, i) > f->seq &&
		    (f->held || bound_seq(c->share, &f->f) <= f->seq))
			return true;
	}
	return false;
}

static bool
on_its_way(const struct repl *r, const struct comp *c)
{
	for (const struct persist *ps = r->persists; ps != NULL;
	     ps = ps->next) {
		if (ps->kind == PERSIST_OPS && ps->comp == c)
			return true;
	}
	return false;
}

static enum repl_why
pc_why(const struct repl *r, const struct link *l, const struct pcomp *pc,
    uint32_t forked)
{
	const struct share *s = l->share;

	if (s->halted)
		return REPL_WHY_HALTED;
	if (l->peer_seq != member_seq(s->m))
		return REPL_WHY_CHAIN;
	if (on_its_way(r, pc->comp))
		return REPL_WHY_DISK;
	if (pc->comp->pulls > 0)
		return REPL_WHY_MOVING;
	if (forked > 0)
		return REPL_WHY_FORK;
	if (no_right(pc))
		return REPL_WHY_NO_RIGHT;
	if (!peer_can_send(l->peer, SESS_OPS))
		return REPL_WHY_CREDIT;
	return REPL_WHY_MOVING;
}

static void
pc_lag(const struct repl *r, const struct link *l, struct pcomp *pc,
    struct repl_lag *out)
{
	*out = (struct repl_lag){ .share = l->share->id,
		.compartment = pc->comp->no,
		.in_sync = pc_equal(pc) };
	for (uint32_t i = 0; i < pc->comp->n; i++)
		out->forked += pc->comp->feeds[i].forked;
	if (out->in_sync)
		return;
	out->lag_ops = lag(pc);
	/* what both hold is theirs without the lag, and ours without this */
	if (pc->comp->ops + out->lag_ops > pc->ops)
		out->ahead_ops = pc->comp->ops + out->lag_ops - pc->ops;
	out->why = pc_why(r, l, pc, out->forked);
}

/* A share that is not spoken of; false: it need not be. */
static bool
silent_lag(const struct link *l, struct repl_lag *out)
{
	const struct share *s = l->share;

	*out = (struct repl_lag){ .share = s->id };
	if (l->state == LINK_OFFERED)
		out->why = REPL_WHY_NO_ANSWER;
	else if (l->state == LINK_SILENT && s->joining)
		out->why = REPL_WHY_JOINING;
	return out->why != REPL_WHY_NONE;
}

uint32_t
repl_lags(const struct repl *r, uint32_t i, struct repl_lag *out, uint32_t max)
{
	const struct peer *p;
	struct repl_lag row;
	uint32_t n = 0;

	REQUIRE(i < r->n_peers);
	p = r->peers[i];
	for (uint32_t k = 0; k < p->n_links; k++) {
		const struct link *l = &p->links[k];
		bool live = l->state == LINK_LIVE;

		if (!live && silent_lag(l, &row) && n++ < max)
			out[n - 1] = row;
		for (uint32_t c = 0; live && c < l->n_pc; c++) {
			pc_lag(r, l, &l->pc[c], &row);
			if (n++ < max)
				out[n - 1] = row;
		}
	}
	return n;
}

uint64_t
repl_wanted(const struct repl *r, uint64_t *bytes)
{
	*bytes = r->want_bytes;
	return r->n_wants;
}

bool
repl_in_sync(const struct repl *r)
{
	if (r->n_wants > 0 || r->n_persists > 0)
		return false;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct repl_peer_status st;

		repl_peer(r, i, &st);
		if (!st.in_sync)
			return false;
	}
	return true;
}
