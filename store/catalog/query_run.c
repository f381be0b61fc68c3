/* store/catalog/query_run.c: finding assets.
 *
 * Happy path: the plan's ranges give assets; since fields are inherited,
 * what lies below them is marked too; every marked asset is then tested
 * exactly, in the order of local numbers, so that results do not depend on
 * the plan.  A level or a tag alone is tested while walking the index.
 * Without a plan all assets are tested. */
#include "store/catalog/query_internal.h"

struct find {
	struct store *s;
	struct db_txn *t;
	const struct cat_query *q;
	const struct cat_find_opts *o;
	const char *level; /* of the options, canonical; or NULL */
	const char *must;  /* level every match has; or NULL */
	cat_find_fn fn;
	void *ctx;
	uint64_t given;
	uint32_t last; /* highest asset number */
	bool retired;  /* some asset is */
	uint32_t prev; /* walking an index: an asset may stand there twice */
	uint8_t *marked;
	uint8_t *opened; /* what lies below it is marked */
};

/* --- testing one --- */

/* all: also what queries do not look at by themselves; retired: something
 * is, so that the assets above are worth reading. */
static enum err
row_match(struct query_run *r, bool all, bool retired, bool *out)
{
	bool hidden = false;
	enum err e;

	r->n = 1;
	e = query_eval(r, r->q->root, out);
	if (e == ERR_OK && *out && !all)
		e = query_hidden(r, retired, &hidden);
	*out = *out && !hidden;
	return e;
}

static bool
row_wanted(const struct find *f, const struct asset_row *row)
{
	if (f->must != NULL && strcmp(f->must, row->level) != 0)
		return false;
	if (f->level != NULL && strcmp(f->level, row->level) != 0)
		return false;
	return f->o->share == NULL ||
	       memcmp(f->o->share, &row->share, sizeof(row->share)) == 0;
}

static int
find_give(struct find *f, uint32_t no, const struct asset_row *row)
{
	struct cat_asset a;
	enum err e = asset_fill(f->t, no, row, &a);
	int stop;

	if (e != ERR_OK)
		return e;
	f->given++;
	stop = f->fn(f->ctx, &a);
	if (stop != 0)
		return stop;
	return f->o->limit != 0 && f->given >= f->o->limit;
}

/* A query_range_fn; non-zero stops. */
static int
find_test(void *ctx, uint32_t no)
{
	struct find *f = ctx;
	struct query_run r = { .t = f->t, .q = f->q };
	bool yes = false;
	enum err e;

	if (no == f->prev)
		return 0;
	f->prev = no;
	e = row_asset_get(f->t, no, &r.rows[0]);
	if (e == ERR_NOTFOUND)
		return 0; /* a number that was given up */
	if (e != ERR_OK)
		return e;
	if (!row_wanted(f, &r.rows[0]))
		return 0;
	r.nos[0] = no;
	e = row_match(&r, f->o->retired, f->retired, &yes);
	if (e != ERR_OK)
		return e;
	return yes ? find_give(f, no, &r.rows[0]) : 0;
}

/* --- marking --- */

static bool
bit_set(uint8_t *bits, uint32_t no)
{
	uint8_t m = (uint8_t)(1u << (no % 8));
	bool was = (bits[no / 8] & m) != 0;

	bits[no / 8] |= m;
	return was;
}

static int
mark_one(void *ctx, uint32_t no)
{
	struct find *f = ctx;

	if (no > f->last)
		return ERR_CORRUPT;
	(void)bit_set(f->marked, no);
	return 0;
}

/* Children of these ranks cannot be, or have below them, what is sought. */
static bool
rank_useless(const struct find *f, uint8_t rank)
{
	const char *level = f->must != NULL ? f->must : f->level;

	if (level == NULL)
		return false;
	if (level_rank(level) == LEVEL_FREE)
		return rank == LEVEL_IMAGE;
	return rank > (uint8_t)level_rank(level);
}

static int mark_tree(void *ctx, uint32_t no);

static enum err
mark_children(struct find *f, uint32_t no)
{
	struct key prefix = { 0 };
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e;
	int stop = 0;

	key_be32(&prefix, no);
	e = db_cur_open(f->t, DB_CHILD, key_slice(&prefix), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, key_slice(&prefix), &k, &v);
	while (e == ERR_OK && stop == 0) {
		struct key after = prefix;
		struct rd r = rd_init(k);

		(void)rd_be32(&r);
		if (k.n == 9 && rank_useless(f, k.p[4])) {
			if (k.p[4] == UINT8_MAX)
				break;
			key_u8(&after, (uint8_t)(k.p[4] + 1));
			e = db_cur_seek(c, key_slice(&after), &k, &v);
			continue;
		}
		(void)rd_u8(&r);
		stop = mark_tree(f, rd_be32(&r));
		if (stop == 0)
			e = db_cur_next(c, &k, &v);
	}
	db_cur_close(c);
	if (stop != 0)
		return (enum err)stop;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* Paths have at most PUT_PATH_MAX levels and ranks rise downwards, so the
 * recursion is shallow and ends. */
static int
mark_tree(void *ctx, uint32_t no)
{
	struct find *f = ctx;

	if (no == 0 || no > f->last)
		return ERR_CORRUPT;
	if (bit_set(f->opened, no))
		return 0;
	(void)bit_set(f->marked, no);
	return mark_children(f, no);
}

static enum err
find_marked(struct find *f, const struct query_plan *p)
{
	struct query_index x = { f->t, f->q, f->level };
	size_t bytes = (size_t)f->last / 8 + 1;
	uint32_t i;
	enum err e = ERR_OK;
	int stop = 0;

	f->marked = mem_new(bytes);
	f->opened = mem_new(bytes);
	if (f->marked == NULL || f->opened == NULL)
		e = ERR_NOMEM;
	for (i = 0; i < p->n && e == ERR_OK; i++)
		e = query_range_walk(&x, &p->r[i],
		    query_range_inherits(&p->r[i]) ? mark_tree : mark_one, f);
	for (i = 1; i <= f->last && e == ERR_OK && stop == 0; i++) {
		if ((f->marked[i / 8] & (1u << (i % 8))) != 0)
			stop = find_test(f, i);
	}
	mem_free(f->marked);
	mem_free(f->opened);
	return e == ERR_OK && stop < 0 ? (enum err)stop : e;
}

static enum err
find_all(struct find *f)
{
	uint32_t i;
	int stop = 0;

	for (i = 1; i <= f->last && stop == 0; i++)
		stop = find_test(f, i);
	return stop < 0 ? (enum err)stop : ERR_OK;
}

enum err
cat_find(struct store *s, struct db_txn *t, const struct cat_query *q,
    const struct cat_find_opts *o, cat_find_fn fn, void *ctx)
{
	static const struct cat_find_opts none = { 0 };
	struct find f = { .s = s,
		.t = t,
		.q = q,
		.o = o != NULL ? o : &none,
		.fn = fn,
		.ctx = ctx };
	struct query_plan p;
	char must[CAT_LEVEL_MAX + 1];
	enum err e;

	if (f.o->level != NULL)
		f.level = level_canonical(f.o->level);
	f.must = query_level(q, must);
	e = row_asset_last(t, &f.last);
	if (e == ERR_OK)
		e = query_any_retired(t, &f.retired);
	if (e == ERR_OK)
		e = query_plan(t, q, f.level, &p);
	if (e != ERR_OK)
		return e;
	if (!p.ok)
		return find_all(&f);
	if (p.n == 1 && !query_range_inherits(&p.r[0])) {
		struct query_index x = { t, q, f.level };

		/* One level or tag: its entries are in asset order. */
		return query_range_walk(&x, &p.r[0], find_test, &f);
	}
	return find_marked(&f, &p);
}

enum err
cat_match(struct store *s, struct db_txn *t, const struct cat_query *q,
    const struct asset_id *id, bool *out)
{
	struct query_run r = { .t = t, .q = q };
	enum err e = row_asset_no(t, id, &r.nos[0]);

	(void)s;
	if (e == ERR_OK)
		e = row_asset_get(t, r.nos[0], &r.rows[0]);
	return e == ERR_OK ? row_match(&r, false, true, out) : e;
}
