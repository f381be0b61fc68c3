/* node/api/sync_received.c: is what came what was sent?
 *
 * Each member signs how many ops it has written in a compartment (a witness
 * statement, docs/protocol.md 11.8); against it stand the ops and the content
 * that are here.  Without its statement nothing is proven: a sender that says
 * nothing may have sent more. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

struct received {
	struct api_call *c;
	struct api_shares shares;
	struct oplog_received *row;
	uint32_t n;
	struct repl_words_row *word;
	uint32_t n_words;
	struct share_member_info *member;
	uint32_t n_members;
};

static void
received_fini(struct received *r)
{
	api_shares_free(&r->shares);
	mem_free(r->row);
	net_words_free(r->word);
	shares_members_free(r->member);
}

static const struct repl_words_row *
word_of(const struct received *r, const struct share_info *i,
    const struct oplog_received *row)
{
	for (uint32_t k = 0; k < r->n_words; k++) {
		const struct repl_words_row *w = &r->word[k];

		if (w->no > 0 && w->compartment == row->compartment &&
		    memcmp(w->share.b, i->id.b, sizeof(i->id.b)) == 0 &&
		    memcmp(w->device.b, row->device, 32) == 0)
			return w;
	}
	return NULL;
}

static const char *
site_of(const struct received *r, const uint8_t device[32])
{
	for (uint32_t k = 0; k < r->n_members; k++)
		if (memcmp(r->member[k].device.sign.b, device, 32) == 0)
			return r->member[k].site;
	return NULL;
}

/* Not all of its content is to be here. */
static bool
by_choice(const struct share_info *i, uint16_t compartment)
{
	for (uint32_t k = 0; k < i->n_compartments; k++)
		if (i->c[k].no == compartment)
			return !i->c[k].content || i->c[k].lazy ||
			       i->c[k].where != NULL;
	return false;
}

static const char *
verdict(const struct share_info *i, const struct oplog_received *row,
    const struct repl_words_row *w)
{
	if (w != NULL && row->ops < w->own_ops)
		return "ops are missing";
	if (row->whole < row->versions && !i->hub &&
	    !by_choice(i, row->compartment))
		return "content is missing";
	if (w == NULL)
		return "unproven: it has not said what it sent";
	return row->whole < row->versions
		   ? "equal; content as the subscription has it"
		   : "equal";
}

static enum err
jw_received(struct received *r, struct jw *w, const struct share_info *i,
    const struct oplog_received *row)
{
	const struct repl_words_row *said = word_of(r, i, row);
	struct asset_id asset;
	struct db_txn *t;
	struct cry_id id;
	enum err e = ERR_OK;

	memcpy(id.b, i->id.b, sizeof(id.b));
	jw_str(w, "share", i->name);
	jw_str(w, "compartment",
	    api_compartment_name(&r->shares, &id, row->compartment));
	jw_str(w, "site", site_of(r, row->device));
	if (said != NULL) {
		jw_u64(w, "sent_ops", said->own_ops);
		api_jw_time(w, "said", said->wall_ms);
	} else {
		jw_null(w, "sent_ops");
		jw_null(w, "said");
	}
	jw_u64(w, "ops", row->ops);
	jw_u64(w, "versions", row->versions);
	jw_u64(w, "whole", row->whole);
	jw_str(w, "verdict", verdict(i, row, said));
	if (row->first == 0 || i->hub) {
		jw_null(w, "missing");
		return ERR_OK;
	}
	if ((e = store_read(r->c->a->o.store, &t)) != ERR_OK)
		return e;
	e = cat_asset_of_op(t, row->first, &asset);
	db_abort(t);
	if (e == ERR_OK)
		api_jw_b32(w, "missing", asset.b, sizeof(asset.b));
	else
		jw_null(w, "missing");
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
received_row(struct received *r, struct api_rows *rows,
    const struct share_info *i, const struct oplog_received *row)
{
	enum err e;

	if (memcmp(row->device, r->c->a->o.me->pub.sign.b, 32) == 0)
		return ERR_OK; /* we receive nothing from ourselves */
	e = jw_received(r, api_row(rows), i, row);
	api_row_end(rows);
	return e == ERR_OK ? api_rows_flush(rows) : e;
}

static bool
any_came(const struct received *r, const struct share_info *i,
    const struct repl_words_row *w)
{
	for (uint32_t k = 0; k < r->n; k++) {
		if (r->row[k].share == i->no &&
		    r->row[k].compartment == w->compartment &&
		    memcmp(r->row[k].device, w->device.b, 32) == 0)
			return true;
	}
	return false;
}

/* Who says that it wrote, and nothing of it is here. */
static enum err
received_nothing(struct received *r, struct api_rows *rows,
    const struct share_info *i, const struct repl_words_row *w)
{
	struct oplog_received none = { .share = i->no,
		.compartment = w->compartment };

	if (w->no == 0 || w->own_ops == 0 ||
	    memcmp(w->share.b, i->id.b, sizeof(i->id.b)) != 0 ||
	    any_came(r, i, w))
		return ERR_OK;
	memcpy(none.device, w->device.b, sizeof(none.device));
	return received_row(r, rows, i, &none);
}

static enum err
received_share(
    struct received *r, struct api_rows *rows, const struct share_info *i)
{
	enum err e;

	shares_members_free(r->member);
	r->member = NULL;
	r->n_members = 0;
	e = shares_members(
	    r->c->a->o.shares, &i->id, &r->member, &r->n_members);
	for (uint32_t k = 0; e == ERR_OK && k < r->n; k++) {
		if (r->row[k].share == i->no)
			e = received_row(r, rows, i, &r->row[k]);
	}
	for (uint32_t k = 0; e == ERR_OK && k < r->n_words; k++)
		e = received_nothing(r, rows, i, &r->word[k]);
	return e;
}

enum err
api_h_received(struct api_call *c)
{
	struct received r = { .c = c };
	struct api_rows rows;
	enum err e = api_shares_load(c, &r.shares);

	api_rows_init(&rows, c, API_ROW_BYTES);
	if (e == ERR_OK)
		e = oplog_received(c->a->o.store, &r.row, &r.n);
	if (e == ERR_OK)
		e = net_words(c->a->o.net, &r.word, &r.n_words);
	for (uint32_t i = 0; e == ERR_OK && i < r.shares.n; i++)
		e = received_share(&r, &rows, &r.shares.list[i]);
	if (e == ERR_OK)
		e = api_rows_flush(&rows);
	api_rows_fini(&rows);
	received_fini(&r);
	return e;
}
