/* node/api/audit.c: who did what, and whether the record of it is whole.
 *
 * Every row is checked against the chain (21 CFR 11.10(e)) as it is read: what
 * is shown was not changed, removed or moved since it was written. */
#include "node/api/api_internal.h"

#include "store/base/enc.h"

#define AUDIT_BYTES (API_LIST_BYTES - 64 * KIB)

struct audit_run {
	struct api_rows rows;
	uint64_t after, n, first_ms, last_ms;
	const char *asset; /* text of its id; NULL: all */
	char id[ASSET_ID_TEXT + 1];
	bool full;
};

static int
audit_row(void *ctx, const struct cat_audit *a)
{
	struct audit_run *r = ctx;
	struct jw *w;

	if (a->no <= r->after ||
	    (r->asset != NULL && strstr(a->object, r->asset) == NULL))
		return 0;
	if (r->rows.b.n > AUDIT_BYTES) {
		r->full = true;
		return 1;
	}
	w = api_row(&r->rows);
	jw_u64(w, "no", a->no);
	api_jw_time(w, "time", a->wall_ms);
	jw_str(w, "actor", a->actor);
	jw_str(w, "act", a->act);
	jw_str(w, "object", a->object);
	jw_str(w, "reason", a->reason[0] != '\0' ? a->reason : NULL);
	api_row_end(&r->rows);
	return 0;
}

static enum err
audit_broken(struct api_call *c, enum err e, uint64_t whole)
{
	if (e != ERR_CORRUPT)
		return e;
	return errmsg_set(&c->em, e,
	    "Keep this home as it is and compare with a backup: "
	    "`pesscara restore` and `audit verify` there.",
	    "a row of the audit was changed, removed or moved: the %llu before "
	    "it are whole",
	    (unsigned long long)whole);
}

/* The asset in question; it may be given by the beginning of its id. */
static enum err
audit_asset(struct api_call *c, struct db_txn *t, struct audit_run *r)
{
	const char *text = api_arg(c, "asset");
	struct asset_id id;
	enum err e;

	if (text == NULL)
		return ERR_OK;
	if ((e = api_resolve(c, t, text, &id)) != ERR_OK)
		return e;
	enc_b32(slice_of(id.b, sizeof(id.b)), r->id);
	r->asset = r->id;
	return ERR_OK;
}

enum err
api_h_audit(struct api_call *c)
{
	struct store *s = c->a->o.store;
	struct audit_run r = { .after = 0 };
	struct db_txn *t = NULL;
	enum err e = api_arg_u64(c, "after", UINT64_MAX, &r.after);

	if (e != ERR_OK)
		return e;
	api_rows_init(&r.rows, c, API_LIST_BYTES);
	if ((e = store_read(s, &t)) == ERR_OK) {
		e = audit_asset(c, t, &r);
		if (e == ERR_OK)
			e = cat_audit_each(s, t, audit_row, &r);
		db_abort(t);
	}
	if (e == ERR_OK && r.full)
		e = errmsg_set(&c->em, ERR_LIMIT,
		    "Ask for less: --after N, or --asset.",
		    "the audit is longer than one answer");
	e = e == ERR_OK ? api_rows_flush(&r.rows) : audit_broken(c, e, 0);
	api_rows_fini(&r.rows);
	return e;
}

static int
audit_count(void *ctx, const struct cat_audit *a)
{
	struct audit_run *r = ctx;

	if (r->n++ == 0)
		r->first_ms = a->wall_ms;
	r->last_ms = a->wall_ms;
	return 0;
}

enum err
api_h_audit_verify(struct api_call *c)
{
	struct store *s = c->a->o.store;
	struct audit_run r = { .after = 0 };
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct db_txn *t = NULL;
	struct jw w;
	enum err e = store_read(s, &t);

	if (e == ERR_OK) {
		e = cat_audit_each(s, t, audit_count, &r);
		db_abort(t);
	}
	if (e != ERR_OK)
		return audit_broken(c, e, r.n);
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_u64(&w, "rows", r.n);
	api_jw_time(&w, "first", r.first_ms);
	api_jw_time(&w, "last", r.last_ms);
	jw_bool(&w, "whole", true);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
