/* tests/unit/catalog/test_catalog.c: puts become assets, versions, fields
 * and events; a series' content reads back byte for byte. */
#include "lib/catalog_lib.h"
#include "store/base/enc.h"

#define HEADER_BYTES 1000u
#define BODY_BYTES 100000u
#define MEMBERS 3u

/* --- a series with real content --- */

struct series {
	struct cl *c;
	struct blob_batch *batch;
	struct content_done done;
	uint8_t file[MEMBERS][HEADER_BYTES + BODY_BYTES];
	struct cl_put put;
	struct cat_put cat;
	bool skip_batch;
};

static void
series_member(struct series *x, struct content_writer *w, uint32_t i)
{
	struct buf body = BUF_MAX(1 << 20), fields = BUF_MAX(1000);
	struct content_add m = { .len = HEADER_BYTES + BODY_BYTES };
	char name[32], uid[32];
	size_t k;

	for (k = 0; k < sizeof(x->file[i]); k++)
		x->file[i][k] = (uint8_t)(k * k / 7 + i * 13);
	(void)snprintf(name, sizeof(name), "IM%04u.dcm", i);
	(void)snprintf(uid, sizeof(uid), "2.25.%u", i);
	mp_w_map(&fields, 2);
	mp_kv_cstr(&fields, "SOPInstanceUID", uid);
	mp_kv_u64(&fields, "InstanceNumber", i + 1);
	m.name = name;
	m.header = slice_of(x->file[i], HEADER_BYTES);
	assert_int_equal(blob_batch_add(x->batch,
			     slice_of(x->file[i] + HEADER_BYTES, BODY_BYTES),
			     NULL, 0, &body),
	    ERR_OK);
	m.body = buf_slice(&body);
	m.fields = buf_slice(&fields);
	cry_hash(slice_of(x->file[i], sizeof(x->file[i])), &m.hash);
	assert_int_equal(content_writer_add(w, &m), ERR_OK);
	buf_fini(&body);
	buf_fini(&fields);
}

static void
series_content(struct series *x)
{
	struct content_writer *w;
	uint32_t i;

	x->batch = blob_batch_new(x->c->s);
	assert_non_null(x->batch);
	w = content_writer_new(x->batch);
	assert_non_null(w);
	for (i = 0; i < MEMBERS; i++)
		series_member(x, w, i);
	assert_int_equal(content_writer_end(w, &x->done), ERR_OK);
	assert_int_equal(x->done.members, MEMBERS);
	assert_int_equal(x->done.bytes, MEMBERS * sizeof(x->file[0]));
	content_writer_free(w);
}

static enum err
series_job(struct store_txn *t, void *ctx)
{
	struct series *x = ctx;
	enum err e = ERR_OK;

	if (!x->skip_batch)
		e = blob_batch_put(t, x->batch);
	if (e == ERR_OK)
		e = cl_put_job(t, &x->put);
	if (e == ERR_OK && !x->skip_batch)
		e = cat_content_complete(t, &x->put.o, &x->put.asset);
	return e;
}

static void
series_put(struct series *x, uint64_t lamport)
{
	struct buf f1, f2, f3;
	struct cat_node path[3] = {
		{ "subject", "003-0142",
		    cl_map1(&f1, "PatientID", "003-0142") },
		{ "exam", "2.25.10", cl_map1(&f2, "StudyDate", "20240131") },
		{ "series", "2.25.11", cl_map1(&f3, "Modality", "MR") },
	};
	static const char *const tags[] = { "qc=passed", "new" };

	x->cat = cl_put_of(path, 3);
	x->cat.manifest = buf_slice(&x->done.manifest);
	x->cat.hash = x->done.hash;
	x->cat.bytes = x->done.bytes;
	x->cat.members = x->done.members;
	x->cat.tags = tags;
	x->cat.n_tags = 2;
	x->put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&x->cat, &x->put.payload), ERR_OK);
	x->put.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = lamport,
		.lamport = lamport,
		.wall_ms = 1000 + lamport,
		.op_id = cl_id("op", lamport) };
	assert_int_equal(store_write(x->c->s, series_job, x), ERR_OK);
	buf_fini(&f1);
	buf_fini(&f2);
	buf_fini(&f3);
}

static void
series_fini(struct series *x)
{
	blob_batch_free(x->batch);
	content_done_fini(&x->done);
	buf_fini(&x->put.payload);
}

static struct series *
series_new(struct cl *c)
{
	struct series *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->c = c;
	return x;
}

/* --- what the fields say --- */

struct seen {
	char text[512];
};

static int
see_field(void *ctx, struct slice name, struct slice value)
{
	struct seen *s = ctx;
	size_t n = strlen(s->text);

	(void)value;
	(void)snprintf(s->text + n, sizeof(s->text) - n, "%.*s ", (int)name.n,
	    (const char *)name.p);
	return 0;
}

static int
see_tag(void *ctx, struct slice tag)
{
	return see_field(ctx, tag, tag);
}

static int
count_child(void *ctx, const struct asset_id *child)
{
	(void)child;
	++*(uint32_t *)ctx;
	return 0;
}

struct last_child {
	uint32_t n;
	struct asset_id id;
};

static int
take_child(void *ctx, const struct asset_id *child)
{
	struct last_child *l = ctx;

	l->n++;
	l->id = *child;
	return 0;
}

static void
test_series_put_makes_the_path_and_inherits(void **state)
{
	struct cl c;
	struct series *x;
	struct cat_asset a, exam;
	struct seen s = { "" }, tags = { "" };
	struct db_txn *t;
	uint64_t bytes = 0, assets = 0;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(cat_asset_get(c.s, t, &x->put.asset, &a), ERR_OK);
	assert_string_equal(a.level, "series");
	assert_string_equal(a.key, "2.25.11");
	assert_int_equal(a.n_versions, 1);
	assert_int_equal(a.head.number, 1);
	assert_int_equal(a.head.lamport, 5);
	assert_true(a.head.complete);
	assert_string_equal(a.head.actor, "ada@north");
	assert_int_equal(cat_asset_get(c.s, t, &a.parent, &exam), ERR_OK);
	assert_string_equal(exam.level, "exam");
	assert_int_equal(exam.n_versions, 0);
	assert_int_equal(cat_fields_each(t, &a.id, see_field, &s), ERR_OK);
	assert_string_equal(s.text, "Modality PatientID StudyDate ");
	assert_int_equal(cat_tags_each(t, &a.id, see_tag, &tags), ERR_OK);
	assert_string_equal(tags.text, "new qc=passed ");
	assert_int_equal(cat_totals(t, &bytes, &assets), ERR_OK);
	assert_int_equal(bytes, x->done.bytes);
	assert_int_equal(assets, 3 + MEMBERS);
	db_abort(t);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

static void
test_complete_content_shows_images_and_reads_back(void **state)
{
	struct cl c;
	struct series *x;
	struct last_child l = { 0 };
	struct cat_asset img;
	struct seen s = { "" };
	struct buf manifest = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
	struct content *content = NULL;
	struct db_txn *t;
	uint32_t i;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(
	    cat_children_each(t, &x->put.asset, take_child, &l), ERR_OK);
	assert_int_equal(l.n, MEMBERS);
	assert_int_equal(cat_asset_get(c.s, t, &l.id, &img), ERR_OK);
	assert_string_equal(img.level, "image");
	assert_true(img.is_member);
	assert_string_equal(img.key, "2.25.2");
	assert_int_equal(img.head.bytes, sizeof(x->file[0]));
	assert_int_equal(cat_fields_each(t, &l.id, see_field, &s), ERR_OK);
	assert_string_equal(s.text, "InstanceNumber Modality PatientID "
				    "SOPInstanceUID StudyDate ");
	assert_int_equal(cat_manifest(c.s, t, &l.id, &manifest), ERR_OK);
	db_abort(t);
	assert_int_equal(
	    content_open(c.s, buf_slice(&manifest), &content), ERR_OK);
	assert_int_equal(content_n(content), MEMBERS);
	for (i = 0; i < MEMBERS; i++) {
		struct content_member m;

		content_member(content, i, &m);
		buf_reset(&out);
		assert_int_equal(content_read(content, i, &out), ERR_OK);
		assert_int_equal(out.n, m.len);
		assert_memory_equal(out.p, x->file[i], out.n);
	}
	assert_int_equal(content_read(content, MEMBERS, &out), ERR_NOTFOUND);
	content_close(content);
	buf_fini(&manifest);
	buf_fini(&out);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

static void
test_packing_lists_every_chunk_sorted_and_once(void **state)
{
	struct cl c;
	struct series *x;
	struct db_txn *t;
	size_t i;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	assert_int_equal(x->done.packing.n % 36, 0);
	assert_true(x->done.packing.n >= 36 * 2);
	t = cl_read(&c);
	for (i = 0; i < x->done.packing.n; i += 36) {
		struct cry_id cid;

		memcpy(cid.b, x->done.packing.p + i, 32);
		assert_int_equal(blob_chunk_have(t, &cid), ERR_OK);
	}
	for (i = 36; i < x->done.packing.n; i += 36)
		assert_true(memcmp(x->done.packing.p + i - 36,
				x->done.packing.p + i, 32) < 0);
	db_abort(t);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

static void
test_missing_content_is_not_found_and_no_crash(void **state)
{
	struct cl c;
	struct series *x;
	struct cat_asset a;
	struct content *content = NULL;
	struct db_txn *t;
	uint32_t n = 0;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	x->skip_batch = true;
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(cat_asset_get(c.s, t, &x->put.asset, &a), ERR_OK);
	assert_false(a.head.complete);
	assert_int_equal(cat_children_each(t, &a.id, count_child, &n), ERR_OK);
	assert_int_equal(n, 0);
	db_abort(t);
	assert_int_equal(
	    content_open(c.s, buf_slice(&x->done.manifest), &content),
	    ERR_NOTFOUND);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

static void
test_same_op_twice_changes_nothing(void **state)
{
	struct cl c;
	struct series *x;
	struct cat_asset a;
	struct cry_id before, after;
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(cat_hash(c.s, t, 1, 1, &before), ERR_OK);
	db_abort(t);
	buf_fini(&x->put.payload);
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(cat_hash(c.s, t, 1, 1, &after), ERR_OK);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(cat_asset_get(c.s, t, &x->put.asset, &a), ERR_OK);
	assert_int_equal(a.n_versions, 1);
	db_abort(t);
	buf_fini(&x->put.payload);
	series_put(x, 6); /* another op: a new version, another hash */
	t = cl_read(&c);
	assert_int_equal(cat_hash(c.s, t, 1, 1, &after), ERR_OK);
	assert_memory_not_equal(&before, &after, sizeof(before));
	db_abort(t);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

struct logged {
	struct cl_put put;
	struct oplog_op op;
	uint64_t lseq;
};

static enum err
logged_job(struct store_txn *t, void *ctx)
{
	struct logged *x = ctx;
	uint32_t missing;
	enum err e = oplog_op_put(t, &x->op, &x->lseq, &missing);

	x->put.o.lseq = x->lseq;
	return e == ERR_OK ? cl_put_job(t, &x->put) : e;
}

static void
test_op_tells_its_asset_and_provenance_is_kept(void **state)
{
	struct cat_node path[1] = { { "series", "R", { 0 } } };
	struct cat_put p = cl_put_of(path, 1);
	struct logged x = { .op = { .share = 1,
				.feed = 1,
				.seq = 1,
				.id = cl_id("op", 1),
				.bytes = SLICE_LIT("op bytes") } };
	struct buf prov, out = BUF_MAX(1000);
	struct asset_id id;
	struct db_txn *t;
	struct cl c;

	(void)state;
	cl_init(&c);
	p.provenance = cl_map1(&prov, "method", "dcm2nii");
	x.put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&p, &x.put.payload), ERR_OK);
	x.put.o = (struct cat_origin){
		.share = cl_id("share", 1), .lamport = 1, .op_id = x.op.id
	};
	assert_int_equal(store_write(c.s, logged_job, &x), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_asset_of_op(t, x.lseq, &id), ERR_OK);
	assert_memory_equal(&id, &x.put.asset, sizeof(id));
	assert_int_equal(cat_asset_of_op(t, 2, &id), ERR_NOTFOUND);
	assert_int_equal(cat_provenance(c.s, t, &x.put.asset, &out), ERR_OK);
	assert_true(slice_eq(buf_slice(&out), buf_slice(&prov)));
	db_abort(t);
	buf_fini(&prov);
	buf_fini(&out);
	buf_fini(&x.put.payload);
	cl_fini(&c);
}

/* --- puts that must not come in --- */

static void
encode_bad(struct cat_put p, enum err want)
{
	struct buf b = BUF_MAX(LIM_OP_PAYLOAD_BYTES);

	assert_int_equal(cat_put_encode(&p, &b), want);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void
test_malformed_puts_are_refused(void **state)
{
	struct cat_node up[2] = { { .level = "series", .key = "a" },
		{ .level = "exam", .key = "b" } };
	struct cat_node free_mid[2] = { { .level = "nifti", .key = "a" },
		{ .level = "nifti", .key = "b" } };
	struct cat_node bad_key = { .level = "exam", .key = "a\001" };
	struct cat_node bad_level = { .level = "Exam", .key = "a" };
	struct cat_node empty_key = { .level = "exam", .key = "" };
	char text[CAT_VALUE_MAX + 2];
	struct buf f;
	struct cat_node long_value = { .level = "exam", .key = "a" };
	struct buf out = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct cat_put p;
	static const char *const bad_tag[] = { "=x" };

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	encode_bad(cl_put_of(up, 2), ERR_MALFORMED);
	encode_bad(cl_put_of(free_mid, 2), ERR_MALFORMED);
	encode_bad(cl_put_of(&bad_key, 1), ERR_MALFORMED);
	encode_bad(cl_put_of(&bad_level, 1), ERR_MALFORMED);
	encode_bad(cl_put_of(&empty_key, 1), ERR_MALFORMED);
	encode_bad(cl_put_of(up, 0), ERR_MALFORMED);
	memset(text, 'x', sizeof(text));
	text[CAT_VALUE_MAX + 1] = '\0';
	long_value.fields = cl_map1(&f, "A", text);
	encode_bad(cl_put_of(&long_value, 1), ERR_MALFORMED);
	buf_fini(&f);
	long_value.fields = cl_map1(&f, "no blank", "v");
	encode_bad(cl_put_of(&long_value, 1), ERR_MALFORMED);
	buf_fini(&f);
	text[CAT_VALUE_MAX] = '\0'; /* the longest that fits */
	long_value.fields = cl_map1(&f, "A", text);
	p = cl_put_of(&long_value, 1);
	assert_int_equal(cat_put_encode(&p, &out), ERR_OK);
	buf_fini(&out);
	p.tags = bad_tag;
	p.n_tags = 1;
	encode_bad(p, ERR_MALFORMED);
	buf_fini(&f);
}

static void
test_malformed_payload_leaves_nothing(void **state)
{
	struct cl c;
	struct cl_put p = { .o = { .share = cl_id("share", 1) } };
	struct db_txn *t;
	uint64_t bytes = 1, assets = 1;

	(void)state;
	cl_init(&c);
	p.payload = BUF_MAX(100);
	buf_put_str(&p.payload, "\x81\xa1v\x01");
	assert_int_equal(store_write(c.s, cl_put_job, &p), ERR_MALFORMED);
	t = cl_read(&c);
	assert_int_equal(cat_totals(t, &bytes, &assets), ERR_OK);
	assert_int_equal(bytes + assets, 0);
	db_abort(t);
	buf_fini(&p.payload);
	cl_fini(&c);
}

/* The same put as tests/fuzz/corpus/fuzz_put/put, which was written byte by
 * byte from docs/store-format.md (its first byte chooses the decoder). */
static void
golden_put(struct buf *out)
{
	struct buf f1, f2 = BUF_MAX(1000), prov;
	static const char *const tags[] = { "qc=passed" };
	struct cry_id parent = { { 0 } };
	struct cat_node path[2] = { { .level = "subject", .key = "S1" },
		{ .level = "series", .key = "2.25.1" } };
	struct cat_put p = cl_put_of(path, 2);

	path[0].fields = cl_map1(&f1, "PatientID", "S1");
	mp_w_map(&f2, 2);
	mp_kv_array(&f2, "EchoTime", 2);
	mp_w_u64(&f2, 1);
	mp_w_f64(&f2, 2.5);
	mp_kv_cstr(&f2, "Modality", "MR");
	path[1].fields = buf_slice(&f2);
	p.parents = &parent;
	p.n_parents = 1;
	p.tags = tags;
	p.n_tags = 1;
	p.derived = true;
	p.bytes = 1000;
	p.members = 1;
	p.actor = "a@b";
	p.site = "b";
	p.provenance = cl_map1(&prov, "k", "v");
	assert_int_equal(cat_put_encode(&p, out), ERR_OK);
	buf_fini(&f1);
	buf_fini(&f2);
	buf_fini(&prov);
}

static void
test_put_has_the_bytes_of_the_format(void **state)
{
	struct buf out = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	uint8_t want[1000];
	FILE *f = fopen(PSC_SOURCE_DIR "/tests/fuzz/corpus/fuzz_put/put", "rb");
	size_t n;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	assert_non_null(f);
	n = fread(want, 1, sizeof(want), f);
	(void)fclose(f);
	golden_put(&out);
	assert_int_equal(out.n + 1, n);
	assert_memory_equal(out.p, want + 1, out.n);
	buf_fini(&out);
}

static int
parents_seen(void *ctx, const struct cat_version *v)
{
	uint32_t *n = ctx;
	struct cry_id first = cl_id("op", 1);

	n[v->n_parents]++;
	if (v->n_parents == 1)
		assert_memory_equal(&v->parents[0], &first, sizeof(first));
	return 0;
}

static void
second_version(struct cl *c, struct cl_put *put, uint64_t lamport)
{
	struct cry_id parent = cl_id("op", lamport - 1);
	struct buf f;
	struct cat_node path[1] = { { "series", "2.25.9",
	    cl_map1(&f, "Modality", "MR") } };
	struct cat_put p = cl_put_of(path, 1);

	p.parents = &parent;
	p.n_parents = lamport > 1 ? 1 : 0;
	put->payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&p, &put->payload), ERR_OK);
	put->o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = lamport,
		.lamport = lamport,
		.wall_ms = 1000,
		.op_id = cl_id("op", lamport) };
	assert_int_equal(store_write(c->s, cl_put_job, put), ERR_OK);
	buf_fini(&put->payload);
	buf_fini(&f);
}

static void
test_version_with_a_parent_reads_back_with_it(void **state)
{
	struct cl c;
	struct cl_put put = { 0 };
	uint32_t n[5] = { 0 };
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	second_version(&c, &put, 1);
	second_version(&c, &put, 2);
	t = cl_read(&c);
	assert_int_equal(
	    cat_versions_each(c.s, t, &put.asset, parents_seen, n), ERR_OK);
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 1);
	db_abort(t);
	cl_fini(&c);
}

/* --- ids --- */

static void
test_ids_resolve_by_unique_prefix(void **state)
{
	struct cl c;
	struct series *x;
	struct asset_id id;
	char text[ASSET_ID_TEXT + 1];
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	enc_b32(slice_of(x->put.asset.b, 20), text);
	t = cl_read(&c);
	assert_int_equal(cat_asset_resolve(t, slice_str(text), &id), ERR_OK);
	assert_memory_equal(&id, &x->put.asset, sizeof(id));
	assert_int_equal(cat_asset_resolve(t, slice_of(text, 9), &id), ERR_OK);
	assert_memory_equal(&id, &x->put.asset, sizeof(id));
	assert_int_equal(
	    cat_asset_resolve(t, slice_of(text, 7), &id), ERR_NOTFOUND);
	text[8] = text[8] == 'a' ? 'b' : 'a';
	assert_int_equal(
	    cat_asset_resolve(t, slice_of(text, 9), &id), ERR_NOTFOUND);
	db_abort(t);
	series_fini(x);
	free(x);
	cl_fini(&c);
}

static void
test_asset_id_keeps_its_value(void **state)
{
	struct cry_id share = { { 1, 2, 3 } };
	struct asset_id a, b;
	char text[ASSET_ID_TEXT + 1];

	(void)state;
	cat_asset_id(&share, 7, "study", "x", &a);
	cat_asset_id(&share, 7, "project", "x", &b);
	assert_memory_equal(&a, &b, sizeof(a)); /* an alias */
	cat_asset_id(&share, 7, "series", "1.2.3", &a);
	enc_b32(slice_of(a.b, 20), text);
	assert_string_equal(text, "b4cobeysre7kv6ffqteewxb422rk67iy");
	cat_asset_id(&share, 8, "series", "1.2.3", &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
}

/* --- events, cursors, audit --- */

struct events {
	char text[256];
	uint64_t last;
};

static int
see_event(void *ctx, const struct cat_event *e)
{
	struct events *s = ctx;
	size_t n = strlen(s->text);

	s->last = e->no;
	(void)snprintf(s->text + n, sizeof(s->text) - n, "%s ", e->type);
	return 0;
}

static enum err
cursor_job(struct store_txn *t, void *ctx)
{
	return cat_cursor_put(t, "workflow", *(uint64_t *)ctx);
}

static void
test_events_follow_puts_and_cursors_keep(void **state)
{
	struct cl c;
	struct series *x;
	struct events s = { "", 0 };
	uint64_t at = 9;
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	x = series_new(&c);
	series_content(x);
	series_put(x, 5);
	t = cl_read(&c);
	assert_int_equal(cat_events_each(c.s, t, 0, see_event, &s), ERR_OK);
	assert_string_equal(s.text, "asset.put content.complete ");
	assert_int_equal(s.last, 2);
	s.text[0] = '\0';
	assert_int_equal(cat_events_each(c.s, t, 1, see_event, &s), ERR_OK);
	assert_string_equal(s.text, "content.complete ");
	assert_int_equal(cat_cursor_get(c.s, t, "workflow", &at), ERR_OK);
	assert_int_equal(at, 0);
	db_abort(t);
	at = 2;
	assert_int_equal(store_write(c.s, cursor_job, &at), ERR_OK);
	series_fini(x);
	free(x);
	store_close(c.s);
	cl_open(&c); /* still there after a restart */
	t = cl_read(&c);
	at = 0;
	assert_int_equal(cat_cursor_get(c.s, t, "workflow", &at), ERR_OK);
	assert_int_equal(at, 2);
	db_abort(t);
	cl_fini(&c);
}

static enum err
audit_job(struct store_txn *t, void *ctx)
{
	return cat_audit_append(t, "ada@north", ctx, "asset", "because");
}

static enum err
audit_forge_job(struct store_txn *t, void *ctx)
{
	static const uint8_t no[8] = { 0, 0, 0, 0, 0, 0, 0, 2 };

	(void)ctx;
	return store_row_put(
	    t, "audit", slice_of(no, 8), SLICE_LIT("another story"));
}

static int
see_audit(void *ctx, const struct cat_audit *a)
{
	return see_tag(ctx, slice_str(a->act));
}

static void
test_audit_chain_notices_an_edit(void **state)
{
	static char one[] = "one", two[] = "two", three[] = "three";
	struct cl c;
	struct seen s = { "" };
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	assert_int_equal(store_write(c.s, audit_job, one), ERR_OK);
	assert_int_equal(store_write(c.s, audit_job, two), ERR_OK);
	assert_int_equal(store_write(c.s, audit_job, three), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_audit_each(c.s, t, see_audit, &s), ERR_OK);
	assert_string_equal(s.text, "one two three ");
	db_abort(t);
	assert_int_equal(store_write(c.s, audit_forge_job, NULL), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_audit_each(c.s, t, NULL, NULL), ERR_CORRUPT);
	db_abort(t);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_series_put_makes_the_path_and_inherits),
		cmocka_unit_test(
		    test_complete_content_shows_images_and_reads_back),
		cmocka_unit_test(
		    test_packing_lists_every_chunk_sorted_and_once),
		cmocka_unit_test(
		    test_missing_content_is_not_found_and_no_crash),
		cmocka_unit_test(test_same_op_twice_changes_nothing),
		cmocka_unit_test(
		    test_op_tells_its_asset_and_provenance_is_kept),
		cmocka_unit_test(test_malformed_puts_are_refused),
		cmocka_unit_test(test_malformed_payload_leaves_nothing),
		cmocka_unit_test(test_put_has_the_bytes_of_the_format),
		cmocka_unit_test(test_version_with_a_parent_reads_back_with_it),
		cmocka_unit_test(test_ids_resolve_by_unique_prefix),
		cmocka_unit_test(test_asset_id_keeps_its_value),
		cmocka_unit_test(test_events_follow_puts_and_cursors_keep),
		cmocka_unit_test(test_audit_chain_notices_an_edit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
