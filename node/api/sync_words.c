/* node/api/sync_words.c: where what members signed that they hold does not
 * fit what is here (docs/protocol.md 11.8), by the names of sites. */
#include "node/api/api_internal.h"

struct view {
	const struct api_shares *shares;
	struct repl_words_row *row;
	uint32_t n;
	struct net_lag *lag;
	uint32_t n_lags;
	/* of the share at hand */
	const struct share_id *share;
	struct share_member_info *member;
	uint32_t n_members;
};

static void
view_fini(struct view *v)
{
	net_words_free(v->row);
	net_lags_free(v->lag);
	shares_members_free(v->member);
}

static enum err
members_of(struct api_call *c, struct view *v, const struct share_id *share)
{
	if (v->share != NULL && memcmp(v->share, share, sizeof(*share)) == 0)
		return ERR_OK;
	shares_members_free(v->member);
	v->member = NULL;
	v->n_members = 0;
	v->share = share;
	return shares_members(c->a->o.shares, share, &v->member, &v->n_members);
}

/* NULL: a member no more. */
static const char *
site_of(const struct view *v, const struct cry_sign_pk *device)
{
	for (uint32_t i = 0; i < v->n_members; i++) {
		if (memcmp(&v->member[i].device.sign, device,
			sizeof(*device)) == 0)
			return v->member[i].site;
	}
	return NULL;
}

/* Who holds the same as we do: what is withheld, is withheld by them too. */
static void
jw_level(struct jw *w, const struct view *v, const struct repl_words_row *row)
{
	jw_arr(w, "level_with");
	for (uint32_t i = 0; i < v->n_lags; i++) {
		const struct repl_lag *l = &v->lag[i].lag;

		if (l->in_sync && l->compartment == row->compartment &&
		    memcmp(&l->share, &row->share, sizeof(l->share)) == 0)
			jw_str(w, NULL, site_of(v, &v->lag[i].device.sign));
	}
	jw_end(w);
}

static void
jw_row(struct jw *w, const struct view *v, const struct repl_words_row *row)
{
	struct cry_id id;

	memcpy(id.b, row->share.b, sizeof(id.b));
	jw_obj(w, NULL);
	jw_str(w, "share", api_share_name(v->shares, &id));
	jw_str(w, "compartment",
	    api_compartment_name(v->shares, &id, row->compartment));
	jw_str(w, "site", site_of(v, &row->device));
	jw_str(w, "finding", repl_word_text(row->what));
	jw_u64(w, "missing", row->n);
	if (row->no > 0)
		api_jw_time(w, "said", row->wall_ms);
	else
		jw_null(w, "said");
	jw_level(w, v, row);
	jw_end(w);
}

enum err
api_jw_words(struct api_call *c, struct jw *w, const struct api_shares *shares)
{
	struct view v = { .shares = shares };
	uint64_t said = 0;
	enum err e = net_words(c->a->o.net, &v.row, &v.n);

	if (e == ERR_OK)
		e = net_lags(c->a->o.net, &v.lag, &v.n_lags);
	jw_arr(w, "findings");
	for (uint32_t i = 0; i < v.n && e == ERR_OK; i++) {
		said += v.row[i].no > 0;
		if (v.row[i].what == REPL_WORD_OK)
			continue;
		e = members_of(c, &v, &v.row[i].share);
		if (e == ERR_OK)
			jw_row(w, &v, &v.row[i]);
	}
	jw_end(w);
	jw_u64(w, "statements", said);
	view_fini(&v);
	return e;
}
