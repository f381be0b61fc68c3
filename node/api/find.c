/* node/api/find.c: the query, streamed.
 *
 * Happy path: one read transaction collects the ids that match (bounded by
 * API_FIND_MAX), then rows are read in batches, each in a transaction of its
 * own that ends before the batch is written: a slow client holds no reader.
 * What changed in between shows as it is when its batch is read. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

struct find_run {
	struct api_call *c;
	struct api_shares shares;
	struct cry_id share;
	bool has_share;
	struct asset_id *ids;
	uint64_t n, cap;
	bool count_only;
	enum err e;
	char field[API_FIELDS_MAX][CAT_FIELD_MAX + 1];
	bool seen[API_FIELDS_MAX];
	uint32_t n_fields;
	struct jw *w;
};

static const char *const find_base[] = { "id", "level", "key", "share",
	"compartment", "version", "created", "tags", "parent", "source",
	"derived", "bytes", "members", "complete", "retired" };
#define N_FIND_BASE (sizeof(find_base) / sizeof(find_base[0]))

static bool
find_is_base(const char *name)
{
	size_t i;

	for (i = 0; i < N_FIND_BASE; i++) {
		if (strcmp(find_base[i], name) == 0)
			return true;
	}
	return false;
}

static enum err
find_fields(struct find_run *f)
{
	const char *s = api_arg(f->c, "fields");

	while (s != NULL && *s != '\0') {
		size_t n = strcspn(s, ",");

		if (n > CAT_FIELD_MAX || f->n_fields == API_FIELDS_MAX)
			return errmsg_set(&f->c->em, ERR_LIMIT, "Ask for less.",
			    "at most %u fields of at most %u characters",
			    API_FIELDS_MAX, CAT_FIELD_MAX);
		memcpy(f->field[f->n_fields], s, n);
		f->field[f->n_fields][n] = '\0';
		if (n > 0 && !find_is_base(f->field[f->n_fields]))
			f->n_fields++;
		s += n;
		s += *s == ',';
	}
	return ERR_OK;
}

static int
find_id(void *ctx, const struct cat_asset *a)
{
	struct find_run *f = ctx;

	if (f->count_only) {
		f->n++;
		return 0;
	}
	if (f->n == API_FIND_MAX) {
		f->e = errmsg_set(&f->c->em, ERR_LIMIT,
		    "Narrow the query or give --limit.",
		    "more than %u assets match", API_FIND_MAX);
		return 1;
	}
	if (f->n == f->cap) {
		uint64_t cap = f->cap == 0 ? 256 : f->cap * 2;
		void *p = mem_grow(f->ids, cap, sizeof(*f->ids));

		if (p == NULL) {
			f->e = ERR_NOMEM;
			return 1;
		}
		f->ids = p;
		f->cap = cap;
	}
	f->ids[f->n++] = a->id;
	return 0;
}

static int
find_field(void *ctx, struct slice name, struct slice value)
{
	struct find_run *f = ctx;
	uint32_t i;

	for (i = 0; i < f->n_fields; i++) {
		if (f->seen[i] || !slice_eq(slice_str(f->field[i]), name))
			continue;
		jw_mp(f->w, f->field[i], value);
		f->seen[i] = true;
		break;
	}
	return 0;
}

static int
find_tag(void *ctx, struct slice tag)
{
	struct find_run *f = ctx;

	jw_strn(f->w, NULL, tag);
	return 0;
}

static enum err
find_row(struct find_run *f, struct db_txn *t, const struct asset_id *id,
    struct jw *w)
{
	struct store *s = f->c->a->o.store;
	struct cat_asset a;
	uint32_t i;
	enum err e = cat_asset_get(s, t, id, &a);

	if (e != ERR_OK)
		return e;
	f->w = w;
	api_jw_asset(w, "id", &a.id);
	jw_str(w, "level", a.level);
	jw_str(w, "key", a.key);
	jw_str(w, "share", api_share_name(&f->shares, &a.share));
	jw_str(w, "compartment",
	    api_compartment_name(&f->shares, &a.share, a.compartment));
	if (a.n_versions > 0)
		api_jw_id32(w, "version", a.head.op_id.b);
	else
		jw_null(w, "version");
	api_jw_time(w, "created", a.created_ms);
	jw_arr(w, "tags");
	e = cat_tags_each(t, id, find_tag, f);
	jw_end(w);
	api_jw_asset(w, "parent", &a.parent);
	api_jw_asset(w, "source", &a.source);
	jw_bool(w, "derived", a.head.derived);
	jw_u64(w, "bytes", a.head.bytes);
	jw_u64(w, "members", a.head.members);
	jw_bool(w, "complete", a.head.complete);
	jw_bool(w, "retired", a.retired);
	memset(f->seen, 0, sizeof(f->seen));
	if (e == ERR_OK && f->n_fields > 0)
		e = cat_fields_each(t, id, find_field, f);
	for (i = 0; i < f->n_fields; i++) {
		if (!f->seen[i])
			jw_null(w, f->field[i]);
	}
	return e;
}

static enum err
find_batch(struct find_run *f, struct api_rows *rows, uint64_t from)
{
	struct db_txn *t = NULL;
	uint64_t i;
	enum err e = store_read(f->c->a->o.store, &t);

	if (e != ERR_OK)
		return e;
	for (i = from; i < f->n && i < from + API_BATCH && e == ERR_OK; i++) {
		size_t mark = rows->b.n;

		e = find_row(f, t, &f->ids[i], api_row(rows));
		api_row_end(rows);
		if (e == ERR_NOTFOUND) { /* gone since the query */
			rows->b.n = mark;
			e = ERR_OK;
		}
	}
	db_abort(t);
	return e;
}

static enum err
find_rows(struct find_run *f)
{
	struct api_rows rows;
	uint64_t at;
	enum err e = ERR_OK;

	api_rows_init(&rows, f->c, API_LIST_BYTES);
	for (at = 0; at < f->n && e == ERR_OK; at += API_BATCH) {
		e = find_batch(f, &rows, at);
		if (e == ERR_OK)
			e = api_rows_flush(&rows);
	}
	if (e == ERR_OK)
		e = api_rows_flush(&rows);
	api_rows_fini(&rows);
	return e;
}

static enum err
find_count(struct find_run *f)
{
	struct buf b = BUF_MAX(64);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_u64(&w, "count", f->n);
	jw_end(&w);
	e = api_answer(f->c, &b);
	buf_fini(&b);
	return e;
}

static enum err
find_share(struct find_run *f)
{
	const char *name = api_arg(f->c, "share");
	struct share_info i = { 0 };
	enum err e;

	if (name == NULL)
		return ERR_OK;
	e = shares_find(f->c->a->o.shares, name, &i, &f->c->em);
	if (e != ERR_OK)
		return e;
	memcpy(f->share.b, i.id.b, sizeof(f->share.b));
	f->has_share = true;
	share_info_fini(&i);
	return ERR_OK;
}

static enum err
find_run(struct find_run *f)
{
	struct store *s = f->c->a->o.store;
	const char *text = api_arg(f->c, "query");
	struct cat_find_opts o = { .level = api_arg(f->c, "level") };
	struct cat_query *q = NULL;
	struct db_txn *t = NULL;
	enum err e;

	if (text == NULL)
		return errmsg_set(&f->c->em, ERR_MALFORMED,
		    "For example: level=series and Modality=MR",
		    "the query is missing");
	if ((e = api_arg_u64(f->c, "limit", UINT64_MAX, &o.limit)) != ERR_OK ||
	    (e = find_fields(f)) != ERR_OK || (e = find_share(f)) != ERR_OK)
		return e;
	o.share = f->has_share ? &f->share : NULL;
	o.retired = api_arg_flag(f->c, "retired");
	f->count_only = api_arg_flag(f->c, "count");
	e = cat_query_parse(slice_str(text), &q, &f->c->em);
	if (e != ERR_OK)
		return e;
	e = store_read(s, &t);
	if (e == ERR_OK)
		e = cat_find(s, t, q, &o, find_id, f);
	db_abort(t);
	cat_query_free(q);
	return f->e != ERR_OK ? f->e : e;
}

enum err
api_h_find(struct api_call *c)
{
	struct find_run *f = mem_new(sizeof(*f));
	enum err e;

	if (f == NULL)
		return ERR_NOMEM;
	f->c = c;
	e = find_run(f);
	if (e == ERR_OK && f->count_only)
		e = find_count(f);
	else if (e == ERR_OK && (e = api_shares_load(c, &f->shares)) == ERR_OK)
		e = find_rows(f);
	api_shares_free(&f->shares);
	mem_free(f->ids);
	mem_free(f);
	return e;
}
