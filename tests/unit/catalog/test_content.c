/* tests/unit/catalog/test_content.c: the content table refuses what would
 * mislead an export. */
#include "lib/catalog_lib.h"

static void
test_content_refuses_unclean_and_double_names(void **state)
{
	static const char *const bad[] = { "", "a/b", "..", "-rf", "a\nb" };
	char clean[CONTENT_NAME_MAX + 1];
	struct content_done done;
	struct cl c;
	size_t i;

	(void)state;
	cl_init(&c);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct blob_batch *b = blob_batch_new(c.s);
		struct content_writer *w = content_writer_new(b);
		struct content_add m = { .name = bad[i] };

		assert_int_equal(content_writer_add(w, &m), ERR_MALFORMED);
		content_name_clean(slice_str(bad[i]), clean);
		content_writer_free(w);
		w = content_writer_new(b);
		m.name = clean;
		assert_int_equal(content_writer_add(w, &m), ERR_OK);
		assert_int_equal(content_writer_add(w, &m), ERR_OK);
		assert_int_equal(content_writer_end(w, &done), ERR_EXISTS);
		content_writer_free(w);
		blob_batch_free(b);
	}
	cl_fini(&c);
}

static void
test_content_refuses_lengths_that_do_not_add_up(void **state)
{
	struct cl c;
	struct blob_batch *b;
	struct content_writer *w;
	struct content_add m = {
		.name = "x", .header = SLICE_LIT("head"), .len = 5
	};

	(void)state;
	cl_init(&c);
	b = blob_batch_new(c.s);
	w = content_writer_new(b);
	assert_int_equal(content_writer_add(w, &m), ERR_MALFORMED);
	content_writer_free(w);
	blob_batch_free(b);
	cl_fini(&c);
}

static enum err
batch_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

/* A bundle of the vault holds what other files have. */
static void
test_content_refuses_a_body_that_lies_in_a_bundle(void **state)
{
	struct cl c;
	struct blob_batch *b;
	struct content_writer *w;
	struct blob_file f[2] = { { .bytes = SLICE_LIT("released") },
		{ .bytes = SLICE_LIT("never released") } };
	struct buf body = BUF_MAX(1 << 20);
	struct content_add m = { .name = "x", .len = 8 };

	(void)state;
	cl_init(&c);
	b = blob_batch_new(c.s);
	w = content_writer_new(b);
	assert_int_equal(blob_batch_add_many(b, f, 2), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(blob_batch_manifest(b, f[0].no, &body), ERR_OK);
	m.body = buf_slice(&body);
	assert_int_equal(content_writer_add(w, &m), ERR_DENIED);
	content_writer_free(w);
	w = content_writer_new(b);
	f[0].apart = true;
	buf_reset(&body);
	assert_int_equal(blob_batch_add_many(b, f, 1), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(blob_batch_manifest(b, f[0].no, &body), ERR_OK);
	m.body = buf_slice(&body);
	assert_int_equal(content_writer_add(w, &m), ERR_OK);
	content_writer_free(w);
	blob_batch_free(b);
	buf_fini(&body);
	cl_fini(&c);
}

/* And every member has its own again. */
static void
test_headers_of_a_series_compress_together(void **state)
{
	static char head[300][6000];
	struct cl c;
	struct blob_batch *b;
	struct content_writer *w;
	struct content_done done = { 0 };
	struct content *content = NULL;
	struct buf out = BUF_MAX(1 << 20);
	uint32_t i, k;

	(void)state;
	cl_init(&c);
	b = blob_batch_new(c.s);
	w = content_writer_new(b);
	for (i = 0; i < 300; i++) {
		struct content_add m = { .len = 6000,
			.header = slice_of(head[i], 6000) };
		char name[16];

		for (k = 0; k + 40 < 6000; k += 40)
			(void)snprintf(head[i] + k, 41,
			    "element %04u of the header is %8u ", k,
			    k % 400 == 0 ? i * 7919 : k * k);
		(void)snprintf(name, sizeof(name), "%u", i);
		m.name = name;
		cry_hash(m.header, &m.hash);
		assert_int_equal(content_writer_add(w, &m), ERR_OK);
	}
	assert_true(blob_batch_new_bytes(b) > 0); /* not all held till now */
	assert_int_equal(content_writer_end(w, &done), ERR_OK);
	/* 1.8 MB of headers; the table is 300 hashes and names */
	assert_true(blob_batch_new_bytes(b) < 60000);
	assert_int_equal(store_write(c.s, batch_job, b), ERR_OK);
	assert_int_equal(
	    content_open(c.s, buf_slice(&done.manifest), &content), ERR_OK);
	for (i = 0; i < 300; i += 13) {
		buf_reset(&out);
		assert_int_equal(content_read(content, i, &out), ERR_OK);
		assert_true(slice_eq(buf_slice(&out), slice_of(head[i], 6000)));
	}
	content_close(content);
	content_done_fini(&done);
	content_writer_free(w);
	blob_batch_free(b);
	buf_fini(&out);
	cl_fini(&c);
}

static enum err
part_count(void *ctx, struct slice part)
{
	*(size_t *)ctx += part.n;
	return ERR_OK;
}

static void
test_lying_hash_is_corrupt_before_the_last_part(void **state)
{
	static uint8_t file[70000];
	struct cl c;
	struct blob_batch *b;
	struct content_writer *w;
	struct content_done done = { 0 };
	struct content *content = NULL;
	struct buf body = BUF_MAX(1 << 20);
	struct content_add m = { .name = "x", .len = sizeof(file) };
	size_t given = 0;

	(void)state;
	cl_init(&c);
	b = blob_batch_new(c.s);
	w = content_writer_new(b);
	assert_int_equal(
	    blob_batch_add(b, slice_of(file, sizeof(file)), NULL, 0, &body),
	    ERR_OK);
	m.body = buf_slice(&body);
	m.hash = cl_id("not the hash", 1);
	assert_int_equal(content_writer_add(w, &m), ERR_OK);
	assert_int_equal(content_writer_end(w, &done), ERR_OK);
	assert_int_equal(store_write(c.s, batch_job, b), ERR_OK);
	assert_int_equal(
	    content_open(c.s, buf_slice(&done.manifest), &content), ERR_OK);
	assert_int_equal(
	    content_stream(content, 0, part_count, &given), ERR_CORRUPT);
	assert_true(given < sizeof(file));
	content_close(content);
	content_done_fini(&done);
	content_writer_free(w);
	blob_batch_free(b);
	buf_fini(&body);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_refuses_unclean_and_double_names),
		cmocka_unit_test(
		    test_content_refuses_lengths_that_do_not_add_up),
		cmocka_unit_test(
		    test_content_refuses_a_body_that_lies_in_a_bundle),
		cmocka_unit_test(test_headers_of_a_series_compress_together),
		cmocka_unit_test(
		    test_lying_hash_is_corrupt_before_the_last_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
