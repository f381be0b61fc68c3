/* store/catalog/content_reader.c: opening a content table and giving out
 * members.
 *
 * Happy path: join the table, check every bound, then for a member give its
 * header's bytes out of the bundle's pieces, then its body's parts.
 * Failure modes: a missing chunk is ERR_NOTFOUND; a table another site wrote
 * badly is ERR_MALFORMED or ERR_LIMIT; a member whose bytes do not have its
 * hash is ERR_CORRUPT, before its last part was given out. */
#include "store/catalog/catalog_internal.h"

static const struct mp_limits table_limits = {
	.bytes_max = CONTENT_TABLE_BYTES_MAX,
	.count_max = LIM_SERIES_MEMBERS,
	.depth_max = 3,
};

void
content_close(struct content *c)
{
	if (c == NULL)
		return;
	mp_doc_fini(&c->doc);
	buf_fini(&c->table);
	buf_fini(&c->piece);
	blob_manifest_fini(&c->bundle);
	mem_free(c->m);
	mem_free(c->names);
	(void)pthread_mutex_destroy(&c->mu);
	mem_free(c);
}

/* --- decoding --- */

static void
member_read(struct mp_doc *d, const struct mp_node *a, struct content_row *m,
    char *name)
{
	struct slice text = mp_str(d, mp_at(a, 0), CONTENT_NAME_MAX);

	content_name_clean(text, name);
	m->name = name;
	m->len = mp_u64(d, mp_at(a, 1), (uint64_t)1 << 40);
	mp_fixed(d, mp_at(a, 2), m->hash.b, sizeof(m->hash.b));
	m->head_n = mp_u64(d, mp_at(a, 3), CONTENT_BUNDLE_BYTES_MAX);
	m->body = mp_bin(d, mp_at(a, 4), CONTENT_TABLE_BYTES_MAX);
	m->fields = mp_bin(d, mp_at(a, 5), 64 * KIB);
	if (m->head_n > m->len && d->err == ERR_OK)
		d->err = ERR_MALFORMED;
}

static enum err
members_read(struct content *c, const struct mp_node *list)
{
	uint64_t off = 0;
	uint32_t i;

	if (mp_type(list) != MP_ARRAY)
		return ERR_MALFORMED;
	if (mp_len(list) == 0)
		return c->bundle.raw_len == 0 ? ERR_OK : ERR_MALFORMED;
	c->n = mp_len(list);
	c->m = mem_array(c->n, sizeof(*c->m));
	c->names = mem_array(c->n, CONTENT_NAME_MAX + 1);
	if (c->m == NULL || c->names == NULL)
		return ERR_NOMEM;
	for (i = 0; i < c->n && c->doc.err == ERR_OK; i++) {
		member_read(&c->doc, mp_at(list, i), &c->m[i],
		    c->names + (size_t)i * (CONTENT_NAME_MAX + 1));
		c->m[i].head_off = off;
		off += c->m[i].head_n;
	}
	if (c->doc.err == ERR_OK && off != c->bundle.raw_len)
		return ERR_MALFORMED;
	return c->doc.err;
}

static int
name_cmp(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;

	return strcmp(*x, *y);
}

/* Two members of one name would overwrite each other in an export. */
static enum err
names_unique(const struct content *c)
{
	const char **sorted;
	uint32_t i;
	enum err e = ERR_OK;

	if (c->n < 2)
		return ERR_OK;
	sorted = mem_array(c->n, sizeof(*sorted));
	if (sorted == NULL)
		return ERR_NOMEM;
	for (i = 0; i < c->n; i++)
		sorted[i] = c->m[i].name;
	qsort(sorted, c->n, sizeof(*sorted), name_cmp);
	for (i = 1; i < c->n && e == ERR_OK; i++) {
		if (strcmp(sorted[i - 1], sorted[i]) == 0)
			e = ERR_MALFORMED;
	}
	mem_free(sorted);
	return e;
}

static enum err
table_read(struct content *c)
{
	const struct mp_node *root;
	struct slice bundle;
	enum err e = mp_parse(buf_slice(&c->table), &table_limits, &c->doc);

	if (e != ERR_OK)
		return e;
	root = c->doc.root;
	if (mp_u64(&c->doc, mp_get(root, "v"), UINT32_MAX) != 1)
		return ERR_UNSUPPORTED;
	bundle = mp_bin(&c->doc, mp_get(root, "bundle"), MIB);
	if (c->doc.err != ERR_OK)
		return c->doc.err;
	if (bundle.n > 0)
		e = blob_manifest_decode(bundle, &c->bundle);
	if (e == ERR_OK && c->bundle.depth > 0)
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = members_read(c, mp_get(root, "members"));
	return e == ERR_OK ? names_unique(c) : e;
}

enum err
content_table_take(struct buf *table, struct content **out)
{
	struct content *c = mem_new(sizeof(*c));
	enum err e;

	if (c == NULL)
		return ERR_NOMEM;
	c->table = *table;
	*table = BUF_EMPTY;
	c->piece = BUF_MAX(LIM_PIECE_BYTES);
	(void)pthread_mutex_init(&c->mu, NULL);
	e = table_read(c);
	if (e != ERR_OK)
		content_close(c);
	else
		*out = c;
	return e;
}

static enum err
table_join(struct store *s, struct db_txn *t, const struct blob_manifest *m,
    struct buf *out)
{
	uint32_t i;
	enum err e = ERR_OK;

	if (m->raw_len > CONTENT_TABLE_BYTES_MAX || m->depth > 0)
		return ERR_LIMIT;
	for (i = 0; i < m->n && e == ERR_OK; i++)
		e = blob_read(s, t, &m->e[i], out);
	return e;
}

enum err
content_open_in(struct store *s, struct db_txn *t, struct slice manifest,
    struct content **out)
{
	struct blob_manifest m = { 0 };
	struct buf table = BUF_MAX(CONTENT_TABLE_BYTES_MAX);
	struct content *c = NULL;
	enum err e = blob_manifest_decode(manifest, &m);

	if (e == ERR_OK)
		e = table_join(s, t, &m, &table);
	if (e == ERR_OK)
		e = content_table_take(&table, &c);
	if (e == ERR_OK) {
		c->s = s;
		*out = c;
	}
	buf_fini(&table);
	blob_manifest_fini(&m);
	return e;
}

enum err
content_open(struct store *s, struct slice manifest, struct content **out)
{
	struct db_txn *t = NULL;
	enum err e = store_read(s, &t);

	if (e == ERR_OK)
		e = content_open_in(s, t, manifest, out);
	db_abort(t);
	return e;
}

uint32_t
content_n(const struct content *c)
{
	return c->n;
}

void
content_member(const struct content *c, uint32_t i, struct content_member *out)
{
	const struct content_row *m;

	REQUIRE(i < c->n);
	m = &c->m[i];
	*out = (struct content_member){ .name = m->name,
		.len = m->len,
		.hash = m->hash,
		.fields = m->fields };
}

uint32_t
content_find(const struct content *c, const char *name, uint32_t hint)
{
	uint32_t i, at;

	for (i = 0; i < c->n; i++) {
		at = (uint32_t)(((uint64_t)hint + i) % c->n);
		if (strcmp(c->m[at].name, name) == 0)
			return at;
	}
	return UINT32_MAX;
}

static enum err
read_part(void *ctx, struct slice part)
{
	struct buf *out = ctx;

	buf_put_slice(out, part);
	return buf_err(out);
}

/* --- giving out: the last part is held back until the hash fits --- */

struct gate {
	struct buf held;
	struct cry_hasher hasher;
	uint64_t left;
	blob_part_fn fn;
	void *ctx;
};

static enum err
gate_part(void *ctx, struct slice part)
{
	struct gate *g = ctx;
	enum err e = ERR_OK;

	if (part.n > g->left)
		return ERR_CORRUPT;
	g->left -= part.n;
	cry_hasher_add(&g->hasher, part);
	if (g->held.n > 0)
		e = g->fn(g->ctx, buf_slice(&g->held));
	buf_reset(&g->held);
	buf_put_slice(&g->held, part);
	return e == ERR_OK ? buf_err(&g->held) : e;
}

static enum err
gate_end(struct gate *g, const struct cry_id *want)
{
	struct cry_id got;

	cry_hasher_end(&g->hasher, &got);
	if (g->left != 0 || memcmp(&got, want, sizeof(got)) != 0)
		return ERR_CORRUPT;
	return g->held.n > 0 ? g->fn(g->ctx, buf_slice(&g->held)) : ERR_OK;
}

static enum err
piece_load(struct content *c, uint32_t i)
{
	struct db_txn *t = NULL;
	enum err e;

	if (c->piece_no == i + 1)
		return ERR_OK;
	c->piece_no = 0;
	buf_reset(&c->piece);
	e = store_read(c->s, &t);
	if (e == ERR_OK)
		e = blob_read(c->s, t, &c->bundle.e[i], &c->piece);
	db_abort(t);
	if (e == ERR_OK)
		c->piece_no = i + 1;
	return e;
}

enum err
content_header(
    struct content *c, const struct content_row *m, blob_part_fn fn, void *ctx)
{
	uint64_t at = 0, end = m->head_off + m->head_n;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < c->bundle.n && at < end && e == ERR_OK; i++) {
		uint64_t n = c->bundle.e[i].raw_len;
		uint64_t from = m->head_off > at ? m->head_off - at : 0;
		uint64_t to = end - at < n ? end - at : n;

		at += n;
		if (from >= to)
			continue;
		e = piece_load(c, i);
		if (e == ERR_OK)
			e = fn(ctx,
			    slice_of(c->piece.p + from, (size_t)(to - from)));
	}
	return e;
}

/* In a copy: nothing waits for a reader with the lock held. */
static enum err
header_give(struct content *c, const struct content_row *m, struct gate *g)
{
	struct buf head = BUF_MAX(CONTENT_BUNDLE_BYTES_MAX);
	size_t at, n;
	enum err e;

	(void)pthread_mutex_lock(&c->mu);
	e = content_header(c, m, read_part, &head);
	(void)pthread_mutex_unlock(&c->mu);
	for (at = 0; e == ERR_OK && at < head.n; at += n) {
		n = head.n - at;
		n = n < LIM_PIECE_BYTES ? n : LIM_PIECE_BYTES;
		e = gate_part(g, slice_of(head.p + at, n));
	}
	buf_fini(&head);
	return e;
}

static enum err
body_stream(struct content *c, const struct content_row *m, struct gate *g)
{
	struct blob_manifest body = { 0 };
	enum err e;

	if (m->body.n == 0)
		return ERR_OK;
	e = blob_manifest_decode(m->body, &body);
	if (e == ERR_OK)
		e = blob_stream(c->s, &body, gate_part, g);
	blob_manifest_fini(&body);
	return e;
}

enum err
content_stream(struct content *c, uint32_t i, blob_part_fn fn, void *ctx)
{
	struct gate g = {
		.held = BUF_MAX(LIM_PIECE_BYTES), .fn = fn, .ctx = ctx
	};
	struct store_lease lease; /* what is let go meanwhile stays so long */
	const struct content_row *m;
	enum err e;

	if (i >= c->n)
		return ERR_NOTFOUND;
	m = &c->m[i];
	g.left = m->len;
	store_lease_begin(c->s, &lease);
	cry_hasher_init(&g.hasher);
	e = header_give(c, m, &g);
	if (e == ERR_OK)
		e = body_stream(c, m, &g);
	if (e == ERR_OK)
		e = gate_end(&g, &m->hash);
	store_lease_end(c->s, &lease);
	buf_fini(&g.held);
	return e;
}

enum err
content_read(struct content *c, uint32_t i, struct buf *out)
{
	size_t start = out->n;
	enum err e = content_stream(c, i, read_part, out);

	if (e != ERR_OK && out->n > start)
		out->n = start;
	return e;
}

enum err
content_copy(struct content *c, uint32_t i, struct content_writer *to)
{
	struct buf header = BUF_MAX(CONTENT_BUNDLE_BYTES_MAX);
	struct gate g = { .held = BUF_MAX(LIM_PIECE_BYTES),
		.fn = read_part,
		.ctx = &header };
	const struct content_row *m;
	enum err e;

	if (i >= c->n)
		return ERR_NOTFOUND;
	m = &c->m[i];
	g.left = m->head_n;
	cry_hasher_init(&g.hasher);
	e = header_give(c, m, &g);
	if (e == ERR_OK && g.held.n > 0)
		e = read_part(&header, buf_slice(&g.held));
	if (e == ERR_OK && g.left != 0)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		e = content_writer_add(to, &(struct content_add){
					       .name = m->name,
					       .header = buf_slice(&header),
					       .body = m->body,
					       .len = m->len,
					       .hash = m->hash,
					       .fields = m->fields,
					   });
	buf_fini(&g.held);
	buf_fini(&header);
	return e;
}

/* --- in a rebuild --- */

static enum err
content_learn(struct store_txn *t, struct slice manifest)
{
	struct content *c = NULL;
	struct slice bundle;
	uint32_t i;
	enum err e =
	    content_open_in(store_txn_store(t), store_txn_db(t), manifest, &c);

	if (e != ERR_OK)
		return e;
	bundle = mp_bin(&c->doc, mp_get(c->doc.root, "bundle"), MIB);
	e = blob_manifest_learn(t, bundle, false);
	for (i = 0; e == ERR_OK && i < c->n; i++)
		e = blob_manifest_learn(t, c->m[i].body, false);
	content_close(c);
	return e;
}

enum err
cat_version_learn(struct store_txn *t, struct slice row)
{
	struct slice manifest;
	enum err e = row_body_read(row, &manifest, NULL);

	if (e == ERR_OK)
		e = blob_manifest_learn(t, manifest, false);
	if (e == ERR_OK && manifest.n > 0)
		e = content_learn(t, manifest);
	/* Only for finding duplicates: content that is not (all) here, or
	 * badly made by its author, is learnt no further. */
	return e == ERR_NOMEM || e == ERR_IO || e == ERR_FULL ? e : ERR_OK;
}
