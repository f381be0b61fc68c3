/* node/share/share_undo.c: a new version with the content of an earlier one.
 *
 * History only grows: the heads there are become parents, and the earlier
 * version's manifest and packing list are named again, so no byte moves. */
#include "node/share/share_internal.h"
#include "store/base/enc.h"
#include "store/base/num.h"

#define UNDO_SOFTWARE "pesscara " PSC_VERSION
#define UNDO_PREFIX_MIN 8u /* characters of an id that name a version */

struct undo {
	struct share_act *act;
	const char *to; /* number or prefix; NULL: what the head replaced */
	uint64_t number;
	struct cat_version v;
	uint32_t found;
	struct cry_id heads[4];
	uint32_t n_heads;
	struct buf provenance;
};

static bool
undo_is(const struct undo *u, const struct cat_version *v)
{
	const struct cat_version *head = &u->act->a.head;
	char hex[ENC_HEX_LEN(32) + 1];

	if (u->to == NULL)
		return head->n_parents > 0 &&
		       memcmp(&v->op_id, &head->parents[0], sizeof(v->op_id)) ==
			   0;
	if (u->number != 0)
		return v->number == u->number;
	enc_hex(slice_of(v->op_id.b, 32), hex);
	return strlen(u->to) >= UNDO_PREFIX_MIN &&
	       strncmp(hex, u->to, strlen(u->to)) == 0;
}

static int
undo_visit(void *ctx, const struct cat_version *v)
{
	struct undo *u = ctx;

	if (undo_is(u, v)) {
		u->v = *v;
		u->found++;
	}
	return 0;
}

static enum err
undo_find(struct undo *u, const struct asset_id *id)
{
	struct store *s = u->act->sh->store;
	struct errmsg *em = u->act->em;
	struct db_txn *t = NULL;
	enum err e;

	if (u->act->a.is_member)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "undo the series it lies in",
		    "an image has no versions "
		    "of its own");
	if (u->to != NULL && strlen(u->to) < UNDO_PREFIX_MIN &&
	    num_u64(slice_str(u->to), 1, UINT32_MAX, &u->number) != ERR_OK)
		return errmsg_set(em, ERR_MALFORMED,
		    "see `pesscara show ASSET --history`",
		    "a version is named by its number or 8 or more "
		    "characters of its id");
	if ((e = store_read(s, &t)) != ERR_OK)
		return e;
	e = cat_versions_each(s, t, id, undo_visit, u);
	if (e == ERR_OK)
		e = cat_heads(s, t, id, u->heads, 4, &u->n_heads);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	if (u->found != 1)
		return errmsg_set(em, u->found == 0 ? ERR_NOTFOUND : ERR_LIMIT,
		    "see `pesscara show ASSET --history`",
		    u->found > 0    ? "several versions begin so"
		    : u->to == NULL ? "the asset has no version before this"
				    : "the asset has no such version");
	if (memcmp(&u->v.op_id, &u->act->a.head.op_id, 32) == 0)
		return errmsg_set(em, ERR_EXISTS,
		    "see `pesscara show ASSET --history`",
		    "this is the version that stands");
	return ERR_OK;
}

static enum err
undo_job(struct store_txn *t, void *ctx)
{
	struct undo *u = ctx;
	struct share_act *act = u->act;
	struct cat_again again = { .actor = act->by->actor,
		.site = act->sh->site,
		.parents = u->heads,
		.n_parents = u->n_heads,
		.provenance = buf_slice(&u->provenance) };
	char id[ASSET_ID_TEXT + 1], object[ASSET_ID_TEXT + 32];
	enum err e =
	    shares_append_again(t, act->sh, u->v.lseq, &again, &act->out);

	if (e != ERR_OK)
		return e;
	enc_b32(slice_of(act->out.b, sizeof(act->out.b)), id);
	(void)snprintf(
	    object, sizeof(object), "%s to version %u", id, u->v.number);
	return cat_audit_append(
	    t, act->by->actor, "asset.undo", object, act->by->reason);
}

static void
undo_provenance(struct undo *u)
{
	struct buf *b = &u->provenance;
	const char *reason = u->act->by->reason;

	mp_w_map(b, 5);
	mp_kv_cstr(b, "act", "undo");
	mp_kv_bin(b, "version", slice_of(u->v.op_id.b, 32));
	mp_kv_cstr(b, "by", u->act->by->actor);
	mp_kv_cstr(b, "reason", reason != NULL ? reason : "");
	mp_kv_cstr(b, "software", UNDO_SOFTWARE);
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_undo(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const char *to, struct cry_id *was,
    struct errmsg *em)
{
	struct undo *u = mem_new(sizeof(*u));
	enum err e;

	if (u == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = share_act_new(sh, by, em, &u->act);
	if (e == ERR_OK) {
		u->to = to;
		u->provenance = BUF_MAX(4 * KIB);
		e = share_act_load(u->act, id, "undo");
	}
	if (e == ERR_OK)
		e = undo_find(u, id);
	if (e == ERR_OK) {
		undo_provenance(u);
		e = store_write(sh->store, undo_job, u);
		if (e == ERR_DENIED)
			e = share_act_denied(u->act);
		else if (e != ERR_OK)
			e = errmsg_set(em, e, "try again",
			    "nothing was changed: %s", err_text(e));
		*was = u->v.op_id;
	}
	buf_fini(&u->provenance);
	share_act_free(u->act);
	mem_free(u);
	return e;
}
