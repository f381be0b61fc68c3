/* store/catalog/fact.c: facts at rest and the views of them.
 *
 * A fact lies in a place: asset, kind of thing, name (of a link: name and
 * target).  FACT key: asset BE u32, place, 8 bytes hash of the name, 1 live or
 * 0 ended, BE u64 lamport, first 16 bytes of the op id; so the last live key
 * of a place is the value that stands, and a place costs what lives there.
 *
 * Happy path: the edit ends what it saw, lays its fact, and the view of that
 * place is made anew.  An edit may come before what it ends: then a marker
 * waits where the ended fact will lie.  Every step is a set operation, so the
 * order of arrival does not matter; rows are never removed. */
#include "store/catalog/catalog_internal.h"

#define FACT_FORMAT 1u
#define FACT_ROW_BYTES 2040u
#define FACT_OP_BYTES 16u
#define FACT_LIVE 1u
#define FACT_ENDED 0u
#define FACT_BY_PUT 1u

static const uint8_t places[CAT_EDIT_KIND_MAX + 1] = {
	[CAT_FIELD_SET] = 'F',
	[CAT_TAG_ADD] = 'T',
	[CAT_TAG_REMOVE] = 'T',
	[CAT_LINK_ADD] = 'L',
	[CAT_LINK_REMOVE] = 'L',
	[CAT_NOTE] = 'N',
	[CAT_RETIRE] = 'R',
	[CAT_UNRETIRE] = 'R',
	[CAT_LOCK] = 'K',
	[CAT_UNLOCK] = 'K',
	[CAT_FIELD_TYPE] = 'Y',
	[CAT_CONTEXT] = 'C',
	[CAT_EXPECT] = 'E',
	[CAT_CONTACT] = 'A',
};

/* --- keys --- */

void
fact_at_edit(uint32_t no, enum cat_edit_kind kind, struct slice name,
    const struct asset_id *to, struct fact_at *out)
{
	bool link = kind == CAT_LINK_ADD || kind == CAT_LINK_REMOVE;
	struct slice parts[2] = { name,
		slice_of(to->b, link ? sizeof(to->b) : 0) };
	uint8_t h[16];

	cry_hash_parts(NULL, "psc.fact.1", parts, 2, h, sizeof(h));
	out->no = no;
	out->place = places[kind];
	memcpy(out->h.b, h, sizeof(out->h.b));
}

static struct key
place_key(const struct fact_at *at, uint8_t state)
{
	struct key k = { 0 };

	key_be32(&k, at->no);
	key_u8(&k, at->place);
	key_put(&k, at->h.b, sizeof(at->h.b));
	key_u8(&k, state);
	return k;
}

static struct key
fact_key(const struct fact_at *at, uint8_t state, const struct stamp *by)
{
	struct key k = place_key(at, state);

	key_be64(&k, by->lamport);
	key_put(&k, by->op.b, FACT_OP_BYTES);
	return k;
}

/* --- rows --- */

static void
text_put(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	REQUIRE(n <= UINT8_MAX);
	buf_u8(b, (uint8_t)n);
	buf_put(b, s, n);
}

static void
text_read(struct rd *r, char *out, size_t cap)
{
	struct slice s = rd_bytes(r, rd_u8(r));

	if (s.n >= cap) {
		rd_fail(r, ERR_LIMIT);
		s.n = 0;
	}
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}

static void
row_write(struct buf *b, const struct fact_new *f)
{
	const struct edit_view *v = f->v;

	buf_u8(b, FACT_FORMAT);
	buf_u8(b, (uint8_t)v->kind);
	buf_u8(b, f->by_put ? FACT_BY_PUT : 0);
	buf_u64(b, f->o->lseq);
	buf_u64(b, f->o->wall_ms);
	buf_put(b, f->o->op_id.b, sizeof(f->o->op_id.b));
	buf_u8(b, (uint8_t)v->type);
	buf_put(b, v->to.b, sizeof(v->to.b));
	buf_u64(b, v->until_ms);
	text_put(b, v->actor);
	text_put(b, v->site);
	text_put(b, v->reason);
	REQUIRE(v->name.n <= UINT8_MAX);
	buf_u8(b, (uint8_t)v->name.n);
	buf_put_slice(b, v->name);
	buf_put_slice(b, buf_slice(&v->value));
}

static void
body_read(struct rd *r, struct cat_fact *f)
{
	f->by_put = rd_u8(r) == FACT_BY_PUT;
	f->lseq = rd_u64(r);
	f->created_ms = rd_u64(r);
	rd_copy(r, f->op.b, sizeof(f->op.b));
	f->type = (enum cat_type)rd_u8(r);
	rd_copy(r, f->to.b, sizeof(f->to.b));
	f->until_ms = rd_u64(r);
	text_read(r, f->actor, sizeof(f->actor));
	text_read(r, f->site, sizeof(f->site));
	text_read(r, f->reason, sizeof(f->reason));
	f->name = rd_bytes(r, rd_u8(r));
	f->value = rd_rest(r);
}

enum err
fact_row_read(struct slice key, struct slice value, struct fact_row *out)
{
	struct rd rk = rd_init(key), r = rd_init(value);
	uint8_t kind;

	memset(out, 0, sizeof(*out));
	(void)rd_be32(&rk);
	out->place = rd_u8(&rk);
	(void)rd_bytes(&rk, FIELD_HASH_BYTES);
	out->live = rd_u8(&rk) == FACT_LIVE;
	out->by.lamport = rd_be64(&rk);
	rd_copy(&rk, out->by.op.b, FACT_OP_BYTES);
	if (rd_end(&rk) != ERR_OK || rd_u8(&r) != FACT_FORMAT)
		return ERR_CORRUPT;
	kind = rd_u8(&r);
	out->marker = kind == 0;
	if (out->marker)
		return key_decoded(&r);
	if (kind > CAT_EDIT_KIND_MAX || places[kind] != out->place)
		return ERR_CORRUPT;
	body_read(&r, &out->f);
	out->f.kind = (enum cat_edit_kind)kind;
	out->f.live = out->live;
	out->f.lamport = out->by.lamport;
	out->by.op = out->f.op;
	return key_decoded(&r);
}

/* --- laying and ending --- */

/* A copy of a row's value, since writing moves the map. */
static enum err
row_copy(struct db_txn *t, const struct key *k, struct buf *out)
{
	struct slice v;
	enum err e = db_get(t, DB_FACT, key_slice(k), &v);

	if (e != ERR_OK)
		return e;
	buf_put_slice(out, v);
	return buf_err(out);
}

static enum err
fact_end(struct db_txn *t, const struct fact_at *at, const struct stamp *by)
{
	struct key live = fact_key(at, FACT_LIVE, by);
	struct key ended = fact_key(at, FACT_ENDED, by);
	struct buf b = BUF_MAX(FACT_ROW_BYTES);
	bool there = false;
	enum err e = row_copy(t, &live, &b);

	if (e == ERR_OK)
		e = db_del(t, DB_FACT, key_slice(&live));
	else if (e == ERR_NOTFOUND)
		e = key_there(t, DB_FACT, &ended, &there);
	if (e != ERR_OK || there) {
		buf_fini(&b);
		return e;
	}
	if (b.n == 0) { /* not here yet: it will be ended when it comes */
		buf_u8(&b, FACT_FORMAT);
		buf_u8(&b, 0);
	}
	return key_store(t, DB_FACT, &ended, &b);
}

/* What says no more than that something ended is ended itself. */
static bool
only_ends(enum cat_edit_kind k)
{
	return k == CAT_TAG_REMOVE || k == CAT_LINK_REMOVE || k == CAT_UNLOCK;
}

static enum err
fact_lay(const struct fact_new *f, const struct fact_at *at, bool *fresh)
{
	struct stamp by = { .lamport = f->o->lamport, .op = f->o->op_id };
	struct key live = fact_key(at, FACT_LIVE, &by);
	struct key ended = fact_key(at, FACT_ENDED, &by);
	struct buf b = BUF_MAX(FACT_ROW_BYTES), old = BUF_MAX(FACT_ROW_BYTES);
	bool there = false, end = only_ends(f->v->kind);
	enum err e = key_there(f->t, DB_FACT, &live, &there);

	if (e == ERR_OK && !there)
		e = row_copy(f->t, &ended, &old);
	if (e == ERR_OK && !there) {
		there = old.n > 1 && old.p[1] != 0;
		end = true; /* a marker waited for it */
	}
	buf_fini(&old);
	*fresh = (e == ERR_OK || e == ERR_NOTFOUND) && !there;
	if (!*fresh)
		return e;
	row_write(&b, f);
	return key_store(f->t, DB_FACT, end ? &ended : &live, &b);
}

/* --- what lives in a place --- */

static enum err
last_live(struct db_txn *t, const struct fact_at *at, struct buf *value,
    struct stamp *by)
{
	struct key prefix = place_key(at, FACT_LIVE);
	struct db_cur *c = NULL;
	struct fact_row row;
	struct slice k, v;
	enum err e = db_cur_open(t, DB_FACT, key_slice(&prefix), &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_OK)
		e = fact_row_read(k, v, &row);
	if (e == ERR_OK) {
		*by = row.by;
		buf_put_slice(value, v);
		e = buf_err(value);
	}
	db_cur_close(c);
	return e;
}

enum err
fact_stands(struct db_txn *t, const struct fact_at *at, struct buf *out,
    struct fact_row *row)
{
	struct stamp by;
	struct key k;
	enum err e = last_live(t, at, out, &by);

	if (e != ERR_OK)
		return e;
	k = fact_key(at, FACT_LIVE, &by);
	return fact_row_read(key_slice(&k), buf_slice(out), row);
}

enum err
fact_row_stands(struct db_txn *t, struct slice key, bool *out)
{
	size_t n = 4 + 1 + FIELD_HASH_BYTES + 1; /* a place, and its state */
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e;

	REQUIRE(key.n > n);
	e = db_cur_open(t, DB_FACT, slice_of(key.p, n), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_last(c, &k, &v);
	*out = e == ERR_OK && slice_eq(k, key);
	db_cur_close(c);
	return e;
}

static int
seen_visit(void *ctx, struct slice k, struct slice v)
{
	struct cat_seen *s = ctx;
	struct fact_row row;
	enum err e = fact_row_read(k, v, &row);

	if (e != ERR_OK)
		return e;
	/* In the order of stamps: the latest stay. */
	if (s->n == CAT_SEEN_MAX) {
		memmove(s->v, s->v + 1, (CAT_SEEN_MAX - 1) * sizeof(s->v[0]));
		s->n--;
	}
	s->v[s->n++] = row.by;
	return 0;
}

enum err
fact_seen(struct db_txn *t, const struct fact_at *at, struct cat_seen *out)
{
	struct key prefix = place_key(at, FACT_LIVE);

	out->n = 0;
	return key_walk(t, DB_FACT, key_slice(&prefix), seen_visit, out);
}

/* --- views --- */

struct numbers { /* collected while walking, to write after it */
	struct db_txn *t;
	uint32_t *v;
	uint32_t n, cap;
};

static int
numbers_add(struct numbers *l, uint32_t no)
{
	if (l->n == l->cap) {
		uint32_t cap = 2 * l->cap + 32;
		uint32_t *p = mem_grow(l->v, cap, sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		l->v = p;
		l->cap = cap;
	}
	l->v[l->n++] = no;
	return 0;
}

static int
member_visit(void *ctx, struct slice k, struct slice v)
{
	struct numbers *l = ctx;
	struct fact_row row;
	uint32_t no;
	enum err e = fact_row_read(k, v, &row);

	if (e != ERR_OK)
		return e;
	if (!row.live || !slice_eq(row.f.name, SLICE_LIT(CAT_LINK_MEMBER)))
		return 0;
	e = row_asset_no(l->t, &row.f.to, &no);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? 0 : (int)e;
	return numbers_add(l, no);
}

static enum err
members_of(struct numbers *l, uint32_t group)
{
	struct key prefix = { 0 };

	key_be32(&prefix, group);
	key_u8(&prefix, 'L');
	return key_walk(l->t, DB_FACT, key_slice(&prefix), member_visit, l);
}

/* The index may name more than what matches (field.c): entries for members
 * are made and not taken away. */
static enum err
member_tag(struct db_txn *t, uint32_t member, struct slice tag)
{
	struct slice name, value;
	struct field_hash ix;
	struct ix_code c;

	(void)field_tag_split(tag, &name, &value);
	field_hash_pseudo("tag", &ix);
	ix_code_text(name, &c);
	return ix_put(t, &ix, &c, member, FIELD_GROUP);
}

struct group_tags {
	struct buf names; /* u8 length, bytes */
};

static int
group_tag_visit(void *ctx, struct slice tag)
{
	struct group_tags *g = ctx;

	buf_u8(&g->names, (uint8_t)tag.n);
	buf_put_slice(&g->names, tag);
	return buf_err(&g->names);
}

/* All tags of a group hold for a member. */
static enum err
member_tags(struct db_txn *t, uint32_t group, uint32_t member)
{
	struct group_tags g = { BUF_MAX(4 * MIB) };
	struct rd r;
	enum err e = field_tags(t, group, group_tag_visit, &g);

	r = rd_init(buf_slice(&g.names));
	while (e == ERR_OK && r.left > 0)
		e = member_tag(t, member, rd_bytes(&r, rd_u8(&r)));
	buf_fini(&g.names);
	return e;
}

static enum err
view_field(const struct fact_new *f, const struct fact_at *at)
{
	struct buf b = BUF_MAX(FACT_ROW_BYTES);
	struct fact_row row;
	enum err e = fact_stands(f->t, at, &b, &row);

	if (e == ERR_OK)
		e = field_set_raw(
		    f->t, f->no, FIELD_EDIT, &row.by, row.f.name, row.f.value);
	else if (e == ERR_NOTFOUND)
		e = field_unset(f->t, f->no, FIELD_EDIT, f->v->name);
	buf_fini(&b);
	return e;
}

static enum err
place_lives(struct db_txn *t, const struct fact_at *at, bool *out)
{
	struct key prefix = place_key(at, FACT_LIVE), k;
	enum err e = key_first(t, DB_FACT, key_slice(&prefix), NULL, &k);

	*out = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
view_tag(const struct fact_new *f, const struct fact_at *at)
{
	struct numbers l = { .t = f->t };
	bool live = false;
	uint32_t i;
	enum err e = place_lives(f->t, at, &live);

	if (e != ERR_OK)
		return e;
	if (!live)
		return field_tag_remove(f->t, f->no, f->v->name);
	e = field_tag_add(f->t, f->no, f->v->name);
	if (e == ERR_OK && strcmp(f->v->level, CAT_LEVEL_GROUP) == 0)
		e = members_of(&l, f->no);
	for (i = 0; i < l.n && e == ERR_OK; i++)
		e = member_tag(f->t, l.v[i], f->v->name);
	mem_free(l.v);
	return e;
}

static enum err
view_link(const struct fact_new *f, const struct fact_at *at)
{
	struct buf b = BUF_MAX(CAT_LINK_NAME_MAX + 2);
	struct key k = { 0 };
	uint32_t member;
	bool live = false;
	enum err e = place_lives(f->t, at, &live);

	if (e != ERR_OK)
		return e;
	key_put(&k, f->v->to.b, sizeof(f->v->to.b));
	key_be32(&k, f->no);
	key_put(&k, at->h.b, sizeof(at->h.b));
	if (!live) {
		e = db_del(f->t, DB_LINKX, key_slice(&k));
		return e == ERR_NOTFOUND ? ERR_OK : e;
	}
	buf_u8(&b, FACT_FORMAT);
	buf_put_slice(&b, f->v->name);
	e = key_store(f->t, DB_LINKX, &k, &b);
	if (e != ERR_OK || strcmp(f->v->level, CAT_LEVEL_GROUP) != 0 ||
	    !slice_eq(f->v->name, SLICE_LIT(CAT_LINK_MEMBER)))
		return e;
	e = row_asset_no(f->t, &f->v->to, &member);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	return member_tags(f->t, f->no, member);
}

/* A flag of the index: pseudo field `what` is "true" for this asset. */
static enum err
flag_set(struct db_txn *t, uint32_t no, const char *what, bool on)
{
	struct field_hash h;
	struct ix_code c;

	field_hash_pseudo(what, &h);
	ix_code_text(SLICE_LIT("true"), &c);
	return on ? ix_put(t, &h, &c, no, FIELD_EDIT)
		  : ix_del(t, &h, &c, no, FIELD_EDIT);
}

static enum err
view_retired(const struct fact_new *f, const struct fact_at *at)
{
	struct asset_row row = { 0 };
	struct buf b = BUF_MAX(FACT_ROW_BYTES);
	struct fact_row fact;
	bool retired;
	enum err e = fact_stands(f->t, at, &b, &fact);

	retired = e == ERR_OK && fact.f.kind == CAT_RETIRE;
	buf_fini(&b);
	if (e == ERR_OK || e == ERR_NOTFOUND)
		e = row_asset_get(f->t, f->no, &row);
	if (e != ERR_OK || row.retired == retired)
		return e;
	row.retired = retired;
	e = row_asset_put(f->t, f->no, &row, false);
	return e == ERR_OK ? flag_set(f->t, f->no, "retired", retired) : e;
}

static int
lives_visit(void *ctx, struct slice k, struct slice v)
{
	struct fact_row row;
	enum err e = fact_row_read(k, v, &row);

	if (e != ERR_OK)
		return e;
	*(bool *)ctx = row.live;
	return row.live;
}

static enum err
view_locked(const struct fact_new *f, const struct fact_at *at)
{
	struct key prefix = { 0 };
	bool live = false;
	enum err e;

	key_be32(&prefix, f->no);
	key_u8(&prefix, at->place);
	e = key_walk(f->t, DB_FACT, key_slice(&prefix), lives_visit, &live);
	return e == ERR_OK ? flag_set(f->t, f->no, "locked", live) : e;
}

static enum err
view_make(const struct fact_new *f, const struct fact_at *at)
{
	switch (at->place) {
	case 'F': return view_field(f, at);
	case 'T': return view_tag(f, at);
	case 'L': return view_link(f, at);
	case 'R': return view_retired(f, at);
	case 'K': return view_locked(f, at);
	default: return ERR_OK; /* read where they lie */
	}
}

enum err
fact_apply(const struct fact_new *f, bool *fresh)
{
	struct fact_at at;
	uint32_t i;
	enum err e;

	fact_at_edit(f->no, f->v->kind, f->v->name, &f->v->to, &at);
	e = fact_lay(f, &at, fresh);
	if (e != ERR_OK || !*fresh)
		return e;
	for (i = 0; i < f->v->seen.n && e == ERR_OK; i++)
		e = fact_end(f->t, &at, &f->v->seen.v[i]);
	return e == ERR_OK ? view_make(f, &at) : e;
}

/* --- links the other way --- */

struct links_walk {
	struct db_txn *t;
	struct slice only;
	fact_link_fn fn;
	void *ctx;
};

static int
links_visit(void *ctx, struct slice k, struct slice v)
{
	struct links_walk *w = ctx;
	struct asset_row row = { 0 };
	struct slice name;
	struct rd r = rd_init(k);
	uint32_t no;
	enum err e;

	(void)rd_bytes(&r, sizeof(row.id.b));
	no = rd_be32(&r);
	(void)rd_bytes(&r, FIELD_HASH_BYTES);
	if (key_decoded(&r) != ERR_OK || v.n < 1)
		return ERR_CORRUPT;
	name = slice_of(v.p + 1, v.n - 1);
	if (w->only.n > 0 && !slice_eq(name, w->only))
		return 0;
	e = row_asset_get(w->t, no, &row);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return w->fn(w->ctx, &row, no, name);
}

enum err
fact_links(struct db_txn *t, const struct asset_id *id, struct slice only,
    fact_link_fn fn, void *ctx)
{
	struct links_walk w = { t, only, fn, ctx };

	return key_walk(
	    t, DB_LINKX, slice_of(id->b, sizeof(id->b)), links_visit, &w);
}

struct groups_walk {
	fact_group_fn fn;
	void *ctx;
};

static int
group_visit(
    void *ctx, const struct asset_row *from, uint32_t no, struct slice name)
{
	struct groups_walk *w = ctx;

	(void)name;
	return strcmp(from->level, CAT_LEVEL_GROUP) == 0 ? w->fn(w->ctx, no)
							 : 0;
}

enum err
fact_groups(
    struct db_txn *t, const struct asset_id *id, fact_group_fn fn, void *ctx)
{
	struct groups_walk w = { fn, ctx };

	return fact_links(t, id, SLICE_LIT(CAT_LINK_MEMBER), group_visit, &w);
}

static int
adopt_visit(void *ctx, uint32_t group)
{
	return numbers_add(ctx, group);
}

enum err
fact_adopt(struct db_txn *t, uint32_t no, const struct asset_id *id)
{
	struct numbers l = { .t = t };
	uint32_t i;
	enum err e = fact_groups(t, id, adopt_visit, &l);

	for (i = 0; i < l.n && e == ERR_OK; i++)
		e = member_tags(t, l.v[i], no);
	mem_free(l.v);
	return e;
}
