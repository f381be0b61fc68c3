/* node/api/fetch.c: content that is asked for and not here is fetched.
 *
 * The chunks that the version's op names and that are not here are wanted
 * of connected members, hubs first; the answer goes on when they are here.
 * Nothing for 10 s: the answer says who may hold them (rulings.md 27). */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

#define FETCH_QUIET_MS 10000u
#define FETCH_OP_BYTES ((size_t)64 << 20)

struct fetch_plan {
	struct net_fetch_opts o;
	struct op_chunk *chunk;
	bool nobody; /* it is here, or only metadata are kept here */
};

static enum err
fetch_missing(struct db_txn *t, struct slice packing, struct fetch_plan *p)
{
	uint32_t n = 0, i;
	enum err e = packing.n == 0 ? ERR_OK : op_packing_check(packing, &n);

	if (e != ERR_OK || n == 0)
		return e;
	if ((p->chunk = mem_array(n, sizeof(*p->chunk))) == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < n; i++) {
		struct op_chunk c = op_packing_at(packing, i);

		e = blob_chunk_have(t, &c.cid);
		if (e == ERR_NOTFOUND) {
			p->chunk[p->o.n++] = c;
			e = ERR_OK;
		}
	}
	return e;
}

static enum err
fetch_plan(struct api_call *c, const struct asset_id *id, struct fetch_plan *p)
{
	struct store *s = c->a->o.store;
	struct cat_asset *a = mem_new(sizeof(*a));
	struct op_view *v = mem_new(sizeof(*v));
	struct buf op = BUF_MAX(FETCH_OP_BYTES);
	struct db_txn *t = NULL;
	enum err e = a == NULL || v == NULL ? ERR_NOMEM : store_read(s, &t);

	if (e == ERR_OK)
		e = cat_asset_get(s, t, id, a);
	p->nobody = e != ERR_OK || a->n_versions == 0 || a->head.complete;
	if (e == ERR_OK && !p->nobody)
		e = oplog_op_get_lseq(s, t, a->head.lseq, &op);
	if (e == ERR_OK && !p->nobody)
		e = op_decode(buf_slice(&op), v);
	if (e == ERR_OK && !p->nobody)
		e = fetch_missing(t, v->packing, p);
	db_abort(t);
	if (e == ERR_OK && !p->nobody) {
		memcpy(p->o.share.b, a->share.b, sizeof(a->share.b));
		p->o.compartment = a->compartment;
		p->o.chunk = p->chunk;
		p->o.quiet_ms = FETCH_QUIET_MS;
		p->nobody =
		    p->o.n == 0 || shares_content(c->a->o.shares, &p->o.share,
				       p->o.compartment) == SHARE_NONE;
	}
	buf_fini(&op);
	mem_free(v);
	mem_free(a);
	return e;
}

/* Sites that may hold the compartment's content, but this one. */
static void
fetch_who(struct api_call *c, const struct fetch_plan *p, struct buf *out)
{
	const struct cry_sign_pk *me = &c->a->o.me->pub.sign;
	struct share_member_info *m = NULL;
	uint32_t n = 0, i;

	if (shares_holders(c->a->o.shares, &p->o.share, p->o.compartment, &m,
		&n) != ERR_OK)
		return;
	for (i = 0; i < n && out->n < 200; i++) {
		if (memcmp(&m[i].device.sign, me, sizeof(*me)) == 0)
			continue;
		buf_printf(out, "%s%s (%s)", out->n > 0 ? ", " : "", m[i].site,
		    m[i].role);
	}
	shares_members_free(m);
}

enum err
api_fetch(struct api_call *c, const struct asset_id *id)
{
	struct fetch_plan p = { .chunk = NULL };
	struct buf who = BUF_MAX(512);
	uint32_t left = 0;
	enum err e = fetch_plan(c, id, &p);

	if (e == ERR_OK && !p.nobody)
		e = net_fetch(c->a->o.net, &p.o, &left);
	if (e == ERR_TIMEOUT) {
		fetch_who(c, &p, &who);
		e = errmsg_set(&c->em, e,
		    "See `pesscara peer list`: one of them must be connected "
		    "and hold it.",
		    "the content is not here and nobody sent it: %u of %u "
		    "chunks are missing; it may be held by: %s",
		    left, p.o.n, who.n > 0 ? buf_cstr(&who) : "no other site");
	} else if (e == ERR_FULL) {
		e = errmsg_set(&c->em, e, "Raise the quota or free space.",
		    "there is no room for what would be fetched");
	}
	buf_fini(&who);
	mem_free(p.chunk);
	return e;
}
