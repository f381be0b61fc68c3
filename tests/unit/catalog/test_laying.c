/* tests/unit/catalog/test_laying.c: the images of a large table come in small
 * jobs, and whatever happens between two of them, in the end there is what
 * one job would have made. */
#include "lib/catalog_lib.h"
#include "store/catalog/catalog_internal.h"
#include "store/catalog/images.h"

/* Two steps and a bit; fields make the table large. */
#define IMAGES (2 * CAT_LAY_STEP + 44)
#define LONG_BYTES 1000u

struct version {
	struct cl_put put;
	struct blob_batch *batch;
	struct content_done done;
};

static void
member_add(struct content_writer *w, const char *name, uint64_t place)
{
	struct content_add m = {
		.name = name, .header = slice_str(name), .len = strlen(name)
	};
	struct buf f = BUF_MAX(8192);
	char text[LONG_BYTES + 1];

	cry_hash(m.header, &m.hash);
	memset(text, 'x', LONG_BYTES);
	text[LONG_BYTES] = '\0';
	mp_w_map(&f, 5);
	mp_kv_cstr(&f, "SOPInstanceUID", name);
	mp_kv_cstr(&f, "EchoTime", "same");
	mp_kv_cstr(&f, "Comment", text);
	text[0] = (char)('a' + place % 20);
	mp_kv_cstr(&f, "Remark", text);
	mp_kv_u64(&f, "SliceLocation", place);
	m.fields = buf_slice(&f);
	assert_int_equal(content_writer_add(w, &m), ERR_OK);
	buf_fini(&f);
}

/* n images img0, img1, ... from first on. */
static void
version_make(struct cl *c, struct version *v, uint64_t lamport, uint32_t first,
    uint32_t n)
{
	struct cat_node path[2] = { { "exam", "E", { 0 } },
		{ "series", "R", { 0 } } };
	struct cat_put p = cl_put_of(path, 2);
	struct content_writer *w;
	char name[16];

	memset(v, 0, sizeof(*v));
	v->batch = blob_batch_new(c->s);
	assert_non_null(v->batch);
	w = content_writer_new(v->batch);
	assert_non_null(w);
	for (uint32_t i = first; i < first + n; i++) {
		(void)snprintf(name, sizeof(name), "img%u", i);
		member_add(w, name, i);
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
job_whole(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;
	enum err e = cl_put_job(t, &v->put);

	if (e == ERR_OK)
		e = blob_batch_put(t, v->batch);
	return e == ERR_OK ? cat_content_complete(t, &v->put.o, &v->put.asset)
			   : e;
}

static enum err
job_gone(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;

	return cat_content_gone(t, &v->put.o, &v->put.asset);
}

static enum err
job_again(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;

	return cat_content_complete(t, &v->put.o, &v->put.asset);
}

/* In one job, as small tables are. */
static enum err
job_at_once(struct store_txn *t, void *ctx)
{
	struct version *v = ctx;
	struct stamp by = { v->put.o.lamport, v->put.o.op_id };
	struct db_txn *db = store_txn_db(t);
	struct asset_row row = { 0 };
	struct content *c = NULL;
	uint32_t no;
	enum err e = row_asset_no(db, &v->put.asset, &no);

	if (e == ERR_OK)
		e = row_asset_get(db, no, &row);
	if (e == ERR_OK)
		e = content_open_in(
		    store_txn_store(t), db, buf_slice(&v->done.manifest), &c);
	if (e == ERR_OK)
		e = image_index(db, no, &row, c, &by);
	content_close(c);
	return e;
}

struct step {
	struct cat_laying *l;
	bool more;
};

static enum err
job_step(struct store_txn *t, void *ctx)
{
	struct step *s = ctx;

	return cat_laying_step(t, s->l, &s->more);
}

static bool
one_step(struct cl *c, struct cat_laying *l)
{
	struct step s = { .l = l };

	assert_int_equal(store_write(c->s, job_step, &s), ERR_OK);
	return s.more;
}

/* Everything that waits; how many steps it took. */
static uint32_t
lay_all(struct cl *c)
{
	struct cat_laying *l = NULL;
	uint32_t n = 0;
	bool more;
	enum err e;

	while ((e = cat_laying_open(c->s, &l)) == ERR_OK) {
		do {
			more = one_step(c, l);
			n++;
		} while (more);
		cat_laying_close(l);
	}
	assert_int_equal(e, ERR_NOTFOUND);
	return n;
}

struct seen {
	uint32_t n;
	uint64_t places;
};

static int
note_image(void *ctx, const struct cat_asset *a)
{
	struct seen *s = ctx;

	assert_true(a->is_member);
	s->n++;
	s->places += a->member;
	return 0;
}

static struct seen
images(struct cl *c, const char *query)
{
	struct cat_query *q = NULL;
	struct db_txn *t = cl_read(c);
	struct seen s = { 0 };

	assert_int_equal(cat_query_parse(slice_str(query), &q, NULL), ERR_OK);
	assert_int_equal(cat_find(c->s, t, q, NULL, note_image, &s), ERR_OK);
	cat_query_free(q);
	db_abort(t);
	return s;
}

static int
note_event(void *ctx, const struct cat_event *e)
{
	uint32_t *n = ctx;

	*n += strcmp(e->type, "content.complete") == 0;
	return 0;
}

static uint32_t
completes(struct cl *c)
{
	struct db_txn *t = cl_read(c);
	uint32_t n = 0;

	assert_int_equal(cat_events_each(c->s, t, 0, note_event, &n), ERR_OK);
	db_abort(t);
	return n;
}

/* Images first .. first + n, as all queries see them. */
static void
expect(struct cl *c, uint32_t first, uint32_t n)
{
	uint64_t places = (uint64_t)n * (n - 1) / 2;
	char query[64];
	struct seen s = images(c, "level=image");

	assert_int_equal(s.n, n);
	assert_int_equal(s.places, places);
	assert_int_equal(images(c, "EchoTime=same and level=image").n, n);
	(void)snprintf(query, sizeof(query), "level=image and SliceLocation=%u",
	    first + n - 1);
	assert_int_equal(images(c, query).n, 1);
	(void)snprintf(query, sizeof(query), "level=image and SliceLocation=%u",
	    first + n);
	assert_int_equal(images(c, query).n, 0);
}

static void
test_large_table_is_complete_with_its_last_step(void **state)
{
	struct version v;
	struct cl c;

	(void)state;
	cl_init(&c);
	version_make(&c, &v, 1, 0, IMAGES);
	assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
	assert_int_equal(images(&c, "level=image").n, 0);
	assert_int_equal(completes(&c), 0);
	/* One finds nothing to drop, three lay, one ends it. */
	assert_int_equal(lay_all(&c), 5);
	expect(&c, 0, IMAGES);
	assert_int_equal(completes(&c), 1);
	assert_int_equal(lay_all(&c), 0);
	version_fini(&v);
	cl_fini(&c);
}

static void
test_steps_make_what_one_job_makes(void **state)
{
	struct version v;
	struct cl c;
	uint64_t bytes[2], assets[2];
	struct db_txn *t;

	(void)state;
	for (int at_once = 0; at_once < 2; at_once++) {
		cl_init(&c);
		version_make(&c, &v, 1, 0, IMAGES);
		assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
		if (at_once)
			assert_int_equal(
			    store_write(c.s, job_at_once, &v), ERR_OK);
		(void)lay_all(&c);
		expect(&c, 0, IMAGES);
		t = cl_read(&c);
		assert_int_equal(
		    cat_totals(t, &bytes[at_once], &assets[at_once]), ERR_OK);
		db_abort(t);
		version_fini(&v);
		cl_fini(&c);
	}
	assert_int_equal(bytes[0], bytes[1]);
	assert_int_equal(assets[0], assets[1]);
}

static void
test_cut_short_it_begins_again(void **state)
{
	struct cat_laying *l = NULL;
	struct version v;
	struct cl c;

	(void)state;
	cl_init(&c);
	version_make(&c, &v, 1, 0, IMAGES);
	assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
	assert_int_equal(cat_laying_open(c.s, &l), ERR_OK);
	assert_true(one_step(&c, l));
	assert_true(one_step(&c, l));
	assert_int_equal(images(&c, "level=image").n, CAT_LAY_STEP);
	assert_int_equal(completes(&c), 0);
	cat_laying_close(l);
	version_fini(&v);
	store_close(c.s);
	cl_open(&c);
	(void)lay_all(&c);
	expect(&c, 0, IMAGES);
	assert_int_equal(completes(&c), 1);
	cl_fini(&c);
}

/* Between two steps of the second version another one comes whole: before it
 * in order, or after it. */
static void
other_between(uint64_t lamport, uint32_t first, uint32_t n)
{
	struct cat_laying *l = NULL;
	struct version v, small;
	struct cl c;

	cl_init(&c);
	version_make(&c, &v, 2, 0, IMAGES);
	version_make(&c, &small, lamport, 1000, 3);
	assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
	assert_int_equal(cat_laying_open(c.s, &l), ERR_OK);
	assert_true(one_step(&c, l));
	assert_true(one_step(&c, l));
	assert_int_equal(store_write(c.s, job_whole, &small), ERR_OK);
	if (lamport > 2)
		expect(&c, 1000, 3);
	else /* whose version is the later one */
		assert_int_equal(images(&c, "level=image").n, CAT_LAY_STEP);
	while (one_step(&c, l))
		;
	cat_laying_close(l);
	expect(&c, first, n);
	assert_int_equal(completes(&c), 2);
	assert_int_equal(lay_all(&c), 0);
	version_fini(&v);
	version_fini(&small);
	cl_fini(&c);
}

static void
test_the_latest_version_shows_whoever_ends_first(void **state)
{
	(void)state;
	other_between(1, 0, IMAGES);
	other_between(3, 1000, 3);
}

static void
test_content_that_goes_is_not_complete(void **state)
{
	struct cat_laying *l = NULL;
	struct version v;
	struct cl c;

	(void)state;
	cl_init(&c);
	version_make(&c, &v, 1, 0, IMAGES);
	assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
	assert_int_equal(cat_laying_open(c.s, &l), ERR_OK);
	assert_true(one_step(&c, l));
	assert_int_equal(store_write(c.s, job_gone, &v), ERR_OK);
	assert_false(one_step(&c, l));
	cat_laying_close(l);
	assert_int_equal(lay_all(&c), 0);
	assert_int_equal(completes(&c), 0);
	assert_int_equal(store_write(c.s, job_again, &v), ERR_OK);
	(void)lay_all(&c);
	expect(&c, 0, IMAGES);
	assert_int_equal(completes(&c), 1);
	version_fini(&v);
	cl_fini(&c);
}

static int
note_bad(void *ctx, const struct cat_event *e)
{
	uint32_t *n = ctx;

	*n += strcmp(e->type, "content.bad") == 0;
	return 0;
}

static void
test_a_large_table_written_badly_is_an_event(void **state)
{
	struct version v = { 0 };
	struct cat_node path[1] = { { "series", "R", { 0 } } };
	struct cat_put p = cl_put_of(path, 1);
	struct buf manifest = BUF_MAX(64 * KIB);
	uint8_t *junk = mem_new(2 * CAT_TABLE_NOW);
	struct db_txn *t;
	uint32_t n = 0;
	struct cl c;

	(void)state;
	cl_init(&c);
	assert_non_null(junk);
	v.batch = blob_batch_new(c.s);
	assert_int_equal(
	    blob_batch_add(
		v.batch, slice_of(junk, 2 * CAT_TABLE_NOW), NULL, 0, &manifest),
	    ERR_OK);
	p.manifest = buf_slice(&manifest);
	v.put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&p, &v.put.payload), ERR_OK);
	v.put.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = 1,
		.lamport = 1,
		.op_id = cl_id("op", 1) };
	assert_int_equal(store_write(c.s, job_whole, &v), ERR_OK);
	assert_int_equal(lay_all(&c), 1);
	assert_int_equal(images(&c, "level=image").n, 0);
	t = cl_read(&c);
	assert_int_equal(cat_events_each(c.s, t, 0, note_bad, &n), ERR_OK);
	assert_int_equal(n, 1);
	db_abort(t);
	mem_free(junk);
	buf_fini(&manifest);
	version_fini(&v);
	cl_fini(&c);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_large_table_is_complete_with_its_last_step),
		cmocka_unit_test(test_steps_make_what_one_job_makes),
		cmocka_unit_test(test_cut_short_it_begins_again),
		cmocka_unit_test(
		    test_the_latest_version_shows_whoever_ends_first),
		cmocka_unit_test(test_content_that_goes_is_not_complete),
		cmocka_unit_test(test_a_large_table_written_badly_is_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
