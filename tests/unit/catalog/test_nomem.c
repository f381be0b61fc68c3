/* tests/unit/catalog/test_nomem.c: wherever memory ends, the answer is
 * ERR_NOMEM, nothing leaks and a job leaves nothing behind. */
#include "lib/catalog_lib.h"
#include "store/base/mem.h"

#define TRIES 2000

static struct slice
fields(struct buf *b)
{
	*b = BUF_MAX(4096);
	mp_w_map(b, 2);
	mp_kv_cstr(b, "Modality", "MR");
	mp_kv_array(b, "EchoTime", 2);
	mp_w_f64(b, 4.9);
	mp_w_u64(b, 9);
	return buf_slice(b);
}

static enum err
encode(struct buf *out, struct slice f)
{
	static const char *const tags[] = { "qc=passed" };
	struct cat_node path[2] = { { "exam", "2.25.1", f },
		{ "series", "2.25.2", f } };
	struct cat_put p = cl_put_of(path, 2);

	p.tags = tags;
	p.n_tags = 1;
	*out = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	return cat_put_encode(&p, out);
}

static void
test_encode(void **state)
{
	struct buf f, out;
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	(void)fields(&f);
	for (n = 0; n < TRIES && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = encode(&out, buf_slice(&f));
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		buf_fini(&out);
	}
	assert_true(n > 5 && n < TRIES);
	buf_fini(&f);
}

struct job {
	struct cl_put p;
	long fail_at;
};

static enum err
apply(struct store_txn *t, void *ctx)
{
	struct job *j = ctx;
	enum err e;

	mem_fail_at(j->fail_at);
	e = cl_put_job(t, &j->p);
	if (e == ERR_OK)
		e = cat_audit_append(t, "a", "b", "c", "d");
	mem_fail_at(-1);
	return e;
}

static void
test_apply_rolls_back(void **state)
{
	struct job j = { .p = { .o = { .share = cl_id("share", 1),
				    .lamport = 1,
				    .lseq = 1 } } };
	struct cl c;
	struct buf f;
	struct db_txn *t;
	uint64_t bytes, assets;
	enum err e = ERR_NOMEM;

	(void)state;
	cl_init(&c);
	assert_int_equal(encode(&j.p.payload, fields(&f)), ERR_OK);
	for (j.fail_at = 0; j.fail_at < TRIES && e != ERR_OK; j.fail_at++) {
		e = store_write(c.s, apply, &j);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		t = cl_read(&c);
		assert_int_equal(cat_totals(t, &bytes, &assets), ERR_OK);
		assert_int_equal(assets, e == ERR_OK ? 2 : 0);
		db_abort(t);
	}
	assert_true(j.fail_at > 20 && j.fail_at < TRIES);
	buf_fini(&j.p.payload);
	buf_fini(&f);
	cl_fini(&c);
}

static int
count_found(void *ctx, const struct cat_asset *a)
{
	(void)a;
	++*(uint32_t *)ctx;
	return 0;
}

static void
test_find(void **state)
{
	struct slice text =
	    SLICE_LIT("(Modality=MR or EchoTime>5) and tag:qc and not a=1");
	struct job j = { .p = { .o = { .share = cl_id("share", 1),
				    .lamport = 1,
				    .lseq = 1 } },
		.fail_at = -1 };
	struct cl c;
	struct buf f;
	struct db_txn *t;
	enum err e = ERR_NOMEM;
	uint32_t found = 0;
	long n;

	(void)state;
	cl_init(&c);
	assert_int_equal(encode(&j.p.payload, fields(&f)), ERR_OK);
	assert_int_equal(store_write(c.s, apply, &j), ERR_OK);
	t = cl_read(&c);
	for (n = 0; n < TRIES && e != ERR_OK; n++) {
		struct cat_query *q = NULL;

		found = 0;
		mem_fail_at(n);
		e = cat_query_parse(text, &q, NULL);
		if (e == ERR_OK)
			e = cat_find(c.s, t, q, NULL, count_found, &found);
		mem_fail_at(-1);
		cat_query_free(q);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(n > 5 && n < TRIES);
	assert_int_equal(found, 1);
	db_abort(t);
	buf_fini(&j.p.payload);
	buf_fini(&f);
	cl_fini(&c);
}

static enum err
write_content(struct blob_batch *b, struct content_done *done)
{
	struct content_writer *w = content_writer_new(b);
	struct content_add m = {
		.name = "a.dcm", .header = SLICE_LIT("header"), .len = 6
	};
	enum err e = w == NULL ? ERR_NOMEM : ERR_OK;

	cry_hash(m.header, &m.hash);
	if (e == ERR_OK)
		e = content_writer_add(w, &m);
	if (e == ERR_OK)
		e = content_writer_end(w, done);
	content_writer_free(w);
	return e;
}

static void
test_content_writer(void **state)
{
	struct cl c;
	struct content_done done = { 0 };
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	cl_init(&c);
	for (n = 0; n < TRIES && e != ERR_OK; n++) {
		struct blob_batch *b = blob_batch_new(c.s);

		assert_non_null(b);
		mem_fail_at(n);
		e = write_content(b, &done);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		blob_batch_free(b);
	}
	assert_true(n > 5 && n < TRIES);
	assert_int_equal(done.members, 1);
	content_done_fini(&done);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_apply_rolls_back),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_content_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
