/* store/catalog/content_writer.c: members in, a content table out.
 *
 * Happy path: each member's header goes to the bundle and one entry to the
 * table; the bundle is stored a piece of whole headers at a time, the table
 * at the end, and every chunk of bodies, bundle and table makes the packing
 * list.  Pieces of little less than 1 MiB make headers of a series compress
 * together; a longer series begins with the same pieces.
 *
 * Failure modes: lengths that do not add up or an unclean name are
 * ERR_MALFORMED, two members of one name ERR_EXISTS, a body with pieces in a
 * bundle of other files ERR_DENIED.
 *
 * Table (msgpack): {v: 1, bundle: bin, members: [[name, len, hash,
 * header bytes, body manifest, fields], ...]}; headers lie in the bundle in
 * member order. */
#include "store/catalog/catalog_internal.h"

#define PACKING_BYTES_MAX (256 * MIB)
#define BUNDLE_PIECE_BYTES (768 * KIB) /* a piece ends once it has this */

struct packed {
	struct cry_id cid;
	uint32_t c_len;
};

struct content_writer {
	struct blob_batch *batch;
	struct blob_reader *reader;   /* of inner manifests */
	struct buf bundle;            /* the end of it */
	struct blob_manifest bundled; /* what is in the batch of it */
	struct buf members;
	struct packed *packed;
	size_t n_packed, cap_packed;
	char **names;
	uint32_t n, cap_names;
	struct cry_hasher hasher;
	uint64_t bytes;
	enum err err; /* sticky: a half-added member spoils the table */
};

struct content_writer *
content_writer_new(struct blob_batch *batch)
{
	struct content_writer *w = mem_new(sizeof(*w));

	if (w == NULL)
		return NULL;
	w->batch = batch;
	w->reader = blob_reader_over(batch);
	if (w->reader == NULL) {
		mem_free(w);
		return NULL;
	}
	w->bundle = BUF_MAX(CONTENT_BUNDLE_BYTES_MAX);
	w->members = BUF_MAX(CONTENT_TABLE_BYTES_MAX - 64 * KIB);
	cry_hasher_init(&w->hasher);
	return w;
}

void
content_writer_free(struct content_writer *w)
{
	uint32_t i;

	if (w == NULL)
		return;
	for (i = 0; i < w->n; i++)
		mem_free(w->names[i]);
	mem_free(w->names);
	blob_reader_free(w->reader);
	mem_free(w->packed);
	buf_fini(&w->bundle);
	blob_manifest_fini(&w->bundled);
	buf_fini(&w->members);
	mem_free(w);
}

/* --- adding --- */

/* Inner manifests are chunks like others and are named too. */
static enum err
packed_add(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct content_writer *w = ctx;

	(void)depth;
	/* Who gets the rest of that bundle was never asked. */
	if (blob_entry_is_part(e))
		return ERR_DENIED;
	if (w->n_packed == w->cap_packed) {
		size_t cap = 2 * w->cap_packed + 64;
		struct packed *p = mem_grow(w->packed, cap, sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		w->packed = p;
		w->cap_packed = cap;
	}
	w->packed[w->n_packed].cid = e->cid;
	w->packed[w->n_packed++].c_len = e->c_len;
	return ERR_OK;
}

static enum err
manifest_pack(struct content_writer *w, struct slice manifest, uint64_t *raw)
{
	struct blob_manifest m = { 0 };
	enum err e;

	*raw = 0;
	if (manifest.n == 0)
		return ERR_OK;
	e = blob_manifest_decode(manifest, &m);
	if (e != ERR_OK)
		return e;
	*raw = m.raw_len;
	e = blob_reader_each(w->reader, NULL, &m, packed_add, w);
	blob_manifest_fini(&m);
	return e;
}

static enum err
name_keep(struct content_writer *w, const char *name)
{
	char clean[CONTENT_NAME_MAX + 1];
	char *copy;

	content_name_clean(slice_str(name), clean);
	if (strcmp(clean, name) != 0)
		return ERR_MALFORMED;
	if (w->n == w->cap_names) {
		uint32_t cap = 2 * w->cap_names + 64;
		char **p = mem_grow(w->names, cap, sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		w->names = p;
		w->cap_names = cap;
	}
	copy = mem_strdup(name);
	if (copy == NULL)
		return ERR_NOMEM;
	w->names[w->n++] = copy;
	return ERR_OK;
}

/* --- the header bundle --- */

static enum err
bundled_add(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct blob_manifest *m = ctx;
	struct blob_entry *p;

	if (depth > 0 || m->n == LIM_MANIFEST_ENTRIES)
		return ERR_LIMIT;
	p = mem_grow(m->e, m->n + 1, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	m->e = p;
	m->e[m->n++] = *e;
	m->raw_len += e->raw_len;
	return ERR_OK;
}

/* What has gathered becomes a piece. */
static enum err
bundle_cut(struct content_writer *w)
{
	struct blob_piece whole = { .len = w->bundle.n };
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m = { 0 };
	enum err e;

	if (w->bundle.n == 0)
		return ERR_OK;
	e = blob_batch_add(w->batch, buf_slice(&w->bundle), &whole, 1, &man);
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_reader_each(
		    w->reader, NULL, &m, bundled_add, &w->bundled);
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_reset(&w->bundle);
	return e;
}

static enum err
bundle_add(struct content_writer *w, struct slice header)
{
	if (w->bundled.raw_len + w->bundle.n >
	    CONTENT_BUNDLE_BYTES_MAX - header.n)
		return ERR_LIMIT;
	buf_put_slice(&w->bundle, header);
	if (buf_err(&w->bundle) != ERR_OK)
		return buf_err(&w->bundle);
	return w->bundle.n < BUNDLE_PIECE_BYTES ? ERR_OK : bundle_cut(w);
}

/* The manifest of all headers; empty if there are none. */
static enum err
bundle_end(struct content_writer *w, struct buf *manifest)
{
	uint64_t raw;
	enum err e = bundle_cut(w);

	if (e == ERR_OK && w->bundled.n > 0)
		e = blob_manifest_encode(&w->bundled, manifest);
	return e == ERR_OK ? manifest_pack(w, buf_slice(manifest), &raw) : e;
}

static enum err
member_add(struct content_writer *w, const struct content_add *m)
{
	uint64_t raw = 0;
	enum err e;

	if (w->n >= LIM_SERIES_MEMBERS)
		return ERR_LIMIT;
	e = manifest_pack(w, m->body, &raw);
	if (e == ERR_OK && (m->len < raw || m->len - raw != m->header.n))
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = name_keep(w, m->name);
	if (e == ERR_OK)
		e = bundle_add(w, m->header);
	if (e != ERR_OK)
		return e;
	mp_w_array(&w->members, 6);
	mp_w_cstr(&w->members, m->name);
	mp_w_u64(&w->members, m->len);
	mp_w_bin(&w->members, slice_of(m->hash.b, sizeof(m->hash.b)));
	mp_w_u64(&w->members, m->header.n);
	mp_w_bin(&w->members, m->body);
	mp_w_bin(&w->members, m->fields);
	cry_hasher_add(&w->hasher, slice_of(m->hash.b, sizeof(m->hash.b)));
	w->bytes += m->len;
	return buf_err(&w->members);
}

enum err
content_writer_add(struct content_writer *w, const struct content_add *m)
{
	if (w->err == ERR_OK)
		w->err = member_add(w, m);
	return w->err;
}

/* --- ending --- */

static int
name_cmp(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;

	return strcmp(*x, *y);
}

static enum err
names_unique(struct content_writer *w)
{
	uint32_t i;

	if (w->n > 1)
		qsort(w->names, w->n, sizeof(*w->names), name_cmp);
	for (i = 1; i < w->n; i++) {
		if (strcmp(w->names[i - 1], w->names[i]) == 0)
			return ERR_EXISTS;
	}
	return ERR_OK;
}

static int
packed_cmp(const void *a, const void *b)
{
	const struct packed *x = a, *y = b;

	return memcmp(x->cid.b, y->cid.b, sizeof(x->cid.b));
}

static enum err
packing_write(struct content_writer *w, struct buf *out)
{
	size_t i;

	if (w->n_packed > 1)
		qsort(w->packed, w->n_packed, sizeof(*w->packed), packed_cmp);
	for (i = 0; i < w->n_packed; i++) {
		if (i > 0 && packed_cmp(&w->packed[i - 1], &w->packed[i]) == 0)
			continue;
		buf_put(out, w->packed[i].cid.b, sizeof(w->packed[i].cid.b));
		buf_u32(out, w->packed[i].c_len);
	}
	return buf_err(out);
}

static enum err
content_put(struct content_writer *w, struct slice bytes, struct buf *manifest)
{
	uint64_t raw;
	enum err e;

	if (bytes.n == 0)
		return ERR_OK;
	e = blob_batch_add(w->batch, bytes, NULL, 0, manifest);
	return e == ERR_OK ? manifest_pack(w, buf_slice(manifest), &raw) : e;
}

static enum err
table_write(struct content_writer *w, struct slice bundle, struct buf *out)
{
	mp_w_map(out, 3);
	mp_kv_u64(out, "v", 1);
	mp_kv_bin(out, "bundle", bundle);
	mp_kv_array(out, "members", w->n);
	buf_put_slice(out, buf_slice(&w->members));
	return buf_err(out);
}

enum err
content_writer_end(struct content_writer *w, struct content_done *out)
{
	struct content_done done = { 0 };
	struct buf bundle = BUF_MAX(MIB), table;
	enum err e = w->err;

	table = BUF_MAX(CONTENT_TABLE_BYTES_MAX);
	done.manifest = BUF_MAX(LIM_OP_PAYLOAD_BYTES / 2);
	done.packing = BUF_MAX(PACKING_BYTES_MAX);
	if (e == ERR_OK)
		e = names_unique(w);
	if (e == ERR_OK)
		e = bundle_end(w, &bundle);
	if (e == ERR_OK)
		e = table_write(w, buf_slice(&bundle), &table);
	if (e == ERR_OK)
		e = content_put(w, buf_slice(&table), &done.manifest);
	if (e == ERR_OK)
		e = packing_write(w, &done.packing);
	buf_fini(&bundle);
	buf_fini(&table);
	if (e != ERR_OK) {
		content_done_fini(&done);
		return e;
	}
	cry_hasher_end(&w->hasher, &done.hash);
	done.bytes = w->bytes;
	done.members = w->n;
	*out = done;
	return ERR_OK;
}

void
content_done_fini(struct content_done *d)
{
	buf_fini(&d->manifest);
	buf_fini(&d->packing);
}
