/* tests/unit/catalog/test_images.c: image rows are those of the latest
 * version whose content is here, whatever came first, and leave no trace
 * when they go. */
#include "lib/catalog_lib.h"
#include "store/catalog/edit.h"

struct version {
	struct cl_put put;
	struct blob_batch *batch;
	struct content_done done;
};

/* More than are dropped in one pass. */
#define MANY 150u

static void
member_add(struct content_writer *w, const char *name)
{
	struct content_add m = {
		.name = name, .header = slice_str(name), .len = strlen(name)
	};
	struct buf f;

	cry_hash(m.header, &m.hash);
	f = BUF_MAX(4096);
	mp_w_map(&f, 3);
	mp_kv_cstr(&f, "SOPInstanceUID", name);
	mp_kv_cstr(&f, "EchoTime", "same");
	mp_kv_u64(&f, "SliceLocation", (uint8_t)name[0]);
	m.fields = buf_slice(&f);
	assert_int_equal(content_writer_add(w, &m), ERR_OK);
	buf_fini(&f);
}

/* A series version whose members are files named by letters; "": many. */
static void
version_make(
    struct cl *c, struct version *v, uint64_t lamport, const char *letters)
{
	struct content_writer *w;
	struct cat_node path[2] = { { "exam", "E", { 0 } },
		{ "series", "R", { 0 } } };
	struct cat_put p = cl_put_of(path, 2);
	size_t i;

	memset(v, 0, sizeof(*v));
	v->batch = blob_batch_new(c->s);
	assert_non_null(v->batch);
	w = content_writer_new(v->batch);
	assert_non_null(w);
	for (i = 0; letters[i] != '\0'; i++)
		member_add(w, (char[2]){ letters[i], '\0' });
	for (i = 0; letters[0] == '\0' && i < MANY; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "many%zu", i);
		member_add(w, name);
	}
	assert_int_equal(content_writer_end(w, &v->done), ERR_OK);
	content_writer_free(w);
	p.manifest = buf_slice(&v->done.manifest);
	p.members = v->done.members;
	v->put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&p, &v->put.payload), ERR_OK);
	v->put.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = lamport,
		.lamport = lamport,
		.op_id = cl_id("op", lamport) };
}

static void
version_fini(struct version *v)
{
	blob_batch_free(v->batch);
	content_done_fini(&v->done);
	buf_fini(&v->put.payload);
}

static enum err
job_put(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;

	return cl_put_job(t, &v->put);
}

static enum err
job_complete(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;
	enum err e = blob_batch_put(t, v->batch);

	return e == ERR_OK ? cat_content_complete(t, &v->put.o, &v->put.asset)
			   : e;
}

static int
note_key(void *ctx, const struct cat_asset *a)
{
	char *out = ctx;
	size_t n = strlen(out);

	assert_true(a->is_member);
	assert_true(n < 60);
	out[n] = a->key[0];
	out[n + 1] = (char)('0' + a->member);
	out[n + 2] = '\0';
	return 0;
}

/* Keys and places of all images, by the index. */
static void
expect_images(struct cl *c, const char *want)
{
	struct cat_query *q = NULL;
	struct db_txn *t = cl_read(c);
	char got[64] = "";
	char field[64] = "";

	assert_int_equal(
	    cat_query_parse(SLICE_LIT("level=image"), &q, NULL), ERR_OK);
	assert_int_equal(cat_find(c->s, t, q, NULL, note_key, got), ERR_OK);
	assert_string_equal(got, want);
	cat_query_free(q);
	assert_int_equal(
	    cat_query_parse(
		SLICE_LIT("SOPInstanceUID>=A and level!=series"), &q, NULL),
	    ERR_OK);
	assert_int_equal(cat_find(c->s, t, q, NULL, note_key, field), ERR_OK);
	assert_string_equal(field, want);
	cat_query_free(q);
	db_abort(t);
}

static void
both_orders(bool late_first)
{
	struct version one, two;
	struct version *first, *second;
	struct asset_id a;
	struct cat_asset got;
	struct cry_id share = cl_id("share", 1);
	struct db_txn *t;
	struct cl c;

	cl_init(&c);
	version_make(&c, &one, 1, "ABC");
	version_make(&c, &two, 2, "BD");
	first = late_first ? &two : &one;
	second = late_first ? &one : &two;
	assert_int_equal(store_write(c.s, job_put, &one), ERR_OK);
	assert_int_equal(store_write(c.s, job_put, &two), ERR_OK);
	expect_images(&c, "");
	assert_int_equal(store_write(c.s, job_complete, first), ERR_OK);
	expect_images(&c, late_first ? "B0D1" : "A0B1C2");
	assert_int_equal(store_write(c.s, job_complete, second), ERR_OK);
	expect_images(&c, "B0D1");
	cat_asset_id(&share, 1, "image", "A", &a);
	t = cl_read(&c);
	assert_int_equal(cat_asset_get(c.s, t, &a, &got), ERR_NOTFOUND);
	cat_asset_id(&share, 1, "image", "D", &a);
	assert_int_equal(cat_asset_get(c.s, t, &a, &got), ERR_OK);
	assert_int_equal(got.head.bytes, 1);
	assert_int_equal(got.n_versions, 1);
	db_abort(t);
	version_fini(&one);
	version_fini(&two);
	cl_fini(&c);
}

static void
test_latest_complete_version_shows(void **state)
{
	(void)state;
	both_orders(false);
	both_orders(true);
}

static void
test_image_that_ops_name_stays(void **state)
{
	struct version one, two;
	struct cl_put img = { .payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES) };
	struct cat_node path[3] = { { "exam", "E", { 0 } },
		{ "series", "R", { 0 } }, { "image", "A", { 0 } } };
	struct cat_put p = cl_put_of(path, 3);
	struct cat_asset got;
	struct db_txn *t;
	struct cl c;

	(void)state;
	cl_init(&c);
	version_make(&c, &one, 1, "AB");
	version_make(&c, &two, 2, "B");
	assert_int_equal(cat_put_encode(&p, &img.payload), ERR_OK);
	img.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = 3,
		.lamport = 3,
		.op_id = cl_id("op", 3) };
	assert_int_equal(store_write(c.s, job_put, &one), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &one), ERR_OK);
	assert_int_equal(store_write(c.s, cl_put_job, &img), ERR_OK);
	assert_int_equal(store_write(c.s, job_put, &two), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &two), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_asset_get(c.s, t, &img.asset, &got), ERR_OK);
	assert_false(got.is_member);
	assert_int_equal(got.head.lamport, 3);
	db_abort(t);
	buf_fini(&img.payload);
	version_fini(&one);
	version_fini(&two);
	cl_fini(&c);
}

static void
test_many_images_go_at_once(void **state)
{
	struct version one, two;
	struct db_txn *t;
	struct cl c;
	uint64_t bytes, assets;

	(void)state;
	cl_init(&c);
	version_make(&c, &one, 1, "");
	version_make(&c, &two, 2, "B");
	assert_int_equal(store_write(c.s, job_put, &one), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &one), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_totals(t, &bytes, &assets), ERR_OK);
	assert_int_equal(assets, 2 + MANY);
	db_abort(t);
	assert_int_equal(store_write(c.s, job_put, &two), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &two), ERR_OK);
	expect_images(&c, "B0");
	t = cl_read(&c);
	assert_int_equal(cat_totals(t, &bytes, &assets), ERR_OK);
	assert_int_equal(assets, 3);
	db_abort(t);
	version_fini(&one);
	version_fini(&two);
	cl_fini(&c);
}

/* --- a table that its author wrote badly --- */

static int
note_event(void *ctx, const struct cat_event *e)
{
	char *out = ctx;
	size_t n = strlen(out);

	(void)snprintf(out + n, 100 - n, "%s ", e->type);
	return 0;
}

static int
note_field(void *ctx, struct slice name, struct slice value)
{
	char *out = ctx;
	size_t n = strlen(out);

	(void)value;
	(void)snprintf(
	    out + n, 128 - n, "%.*s ", (int)name.n, (const char *)name.p);
	return 0;
}

static void
expect_fields(struct cl *c, const char *level, const char *key, bool echo,
    const char *want)
{
	struct buf value = BUF_MAX(64);
	struct cry_id share = cl_id("share", 1);
	struct db_txn *t = cl_read(c);
	struct asset_id id;
	char got[128] = "";

	cat_asset_id(&share, 1, level, key, &id);
	assert_int_equal(cat_fields_each(t, &id, note_field, got), ERR_OK);
	assert_string_equal(got, want);
	assert_int_equal(
	    cat_field_original(t, &id, SLICE_LIT("EchoTime"), &value),
	    echo ? ERR_OK : ERR_NOTFOUND);
	assert_true(!echo || slice_eq(buf_slice(&value), SLICE_LIT("\xa4"
								   "same")));
	buf_fini(&value);
	db_abort(t);
}

/* It lies once, but each image has it and the series has not. */
static void
test_what_images_have_alike_is_theirs(void **state)
{
	struct version one, two;
	struct cl c;

	(void)state;
	cl_init(&c);
	version_make(&c, &one, 1, "AB");
	version_make(&c, &two, 2, "B");
	assert_int_equal(store_write(c.s, job_put, &one), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &one), ERR_OK);
	expect_fields(
	    &c, "image", "A", true, "EchoTime SOPInstanceUID SliceLocation ");
	expect_fields(&c, "series", "R", false, "");
	assert_int_equal(store_write(c.s, job_put, &two), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &two), ERR_OK);
	expect_fields(
	    &c, "image", "B", true, "EchoTime SOPInstanceUID SliceLocation ");
	expect_fields(&c, "series", "R", false, "");
	version_fini(&one);
	version_fini(&two);
	cl_fini(&c);
}

static void
test_bad_table_is_an_event_and_no_images(void **state)
{
	struct version v = { 0 };
	struct cat_node path[1] = { { "series", "R", { 0 } } };
	struct cat_put p = cl_put_of(path, 1);
	struct buf manifest = BUF_MAX(4096);
	struct cat_asset got;
	struct db_txn *t;
	struct cl c;
	char events[100] = "";

	(void)state;
	cl_init(&c);
	v.batch = blob_batch_new(c.s);
	assert_int_equal(blob_batch_add(v.batch, SLICE_LIT("no table at all"),
			     NULL, 0, &manifest),
	    ERR_OK);
	p.manifest = buf_slice(&manifest);
	v.put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&p, &v.put.payload), ERR_OK);
	v.put.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = 1,
		.lamport = 1,
		.op_id = cl_id("op", 1) };
	assert_int_equal(store_write(c.s, job_put, &v), ERR_OK);
	assert_int_equal(store_write(c.s, job_complete, &v), ERR_OK);
	expect_images(&c, "");
	t = cl_read(&c);
	assert_int_equal(cat_asset_get(c.s, t, &v.put.asset, &got), ERR_OK);
	assert_true(got.head.complete);
	assert_int_equal(
	    cat_events_each(c.s, t, 0, note_event, events), ERR_OK);
	assert_string_equal(events, "asset.put content.bad ");
	db_abort(t);
	buf_fini(&manifest);
	version_fini(&v);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_latest_complete_version_shows),
		cmocka_unit_test(test_many_images_go_at_once),
		cmocka_unit_test(test_image_that_ops_name_stays),
		cmocka_unit_test(test_what_images_have_alike_is_theirs),
		cmocka_unit_test(test_bad_table_is_an_event_and_no_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
