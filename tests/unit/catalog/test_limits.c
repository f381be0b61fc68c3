/* tests/unit/catalog/test_limits.c: each bound at its value and one above.
 */
#include "lib/catalog_lib.h"

#define SAME_CHUNK_OPS 150u

/* --- puts --- */

struct shape {
	uint32_t path, tags, parents, fields;
	size_t value;
};

static void
shape_fields(const struct shape *s, struct buf *f)
{
	static char text[4096];
	char name[16];
	uint32_t i;

	memset(text, 'x', sizeof(text));
	*f = BUF_MAX(64 * 1024);
	mp_w_map(f, s->fields);
	for (i = 0; i < s->fields; i++) {
		(void)snprintf(name, sizeof(name), "F%u", i);
		mp_w_cstr(f, name);
		mp_w_str(f, slice_of(text, i == 0 ? s->value : 1));
	}
}

static enum err
shape_encode(const struct shape *s)
{
	static const char *const levels[] = { "project", "subject", "exam",
		"series", "image", "nifti" };
	struct cat_node path[6];
	struct cry_id parents[5] = { { { 0 } } };
	const char *all_tags[70];
	struct cat_put p = cl_put_of(path, s->path);
	struct buf out = BUF_MAX(LIM_OP_PAYLOAD_BYTES), f;
	uint32_t i;
	enum err e;

	shape_fields(s, &f);
	for (i = 0; i < 70; i++)
		all_tags[i] = "a";
	for (i = 0; i < 6; i++)
		path[i] = (struct cat_node){ levels[i], "k", { 0 } };
	path[s->path - 1].fields = buf_slice(&f);
	p.tags = all_tags;
	p.n_tags = s->tags;
	p.parents = parents;
	p.n_parents = s->parents;
	e = cat_put_encode(&p, &out);
	buf_fini(&out);
	buf_fini(&f);
	return e;
}

static void
test_put_bounds(void **state)
{
	static const struct {
		struct shape s;
		enum err e;
	} cases[] = {
		{ { 5, 64, 4, 512, 1024 }, ERR_OK },
		{ { 6, 0, 0, 0, 0 }, ERR_MALFORMED },
		{ { 1, 65, 0, 0, 0 }, ERR_MALFORMED },
		{ { 1, 0, 5, 0, 0 }, ERR_MALFORMED },
		{ { 1, 0, 0, 513, 0 }, ERR_MALFORMED },
		{ { 1, 0, 0, 1, 1025 }, ERR_MALFORMED },
	};
	size_t i;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(shape_encode(&cases[i].s), cases[i].e);
}

/* --- content --- */

static void
test_members_of_a_series(void **state)
{
	struct cl c;
	struct blob_batch *b;
	struct content_writer *w;
	char name[16];
	uint32_t i;

	(void)state;
	cl_init(&c);
	b = blob_batch_new(c.s);
	w = content_writer_new(b);
	assert_non_null(w);
	for (i = 0; i <= LIM_SERIES_MEMBERS; i++) {
		struct content_add m = { .name = name };

		(void)snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(content_writer_add(w, &m),
		    i < LIM_SERIES_MEMBERS ? ERR_OK : ERR_LIMIT);
	}
	content_writer_free(w);
	blob_batch_free(b);
	cl_fini(&c);
}

/* --- op log --- */

static enum err
many_shares(struct store_txn *t, void *ctx)
{
	uint32_t i, no = 0;
	enum err e = ERR_OK;

	(void)ctx;
	for (i = 1; i <= LIM_SHARES + 1 && e == ERR_OK; i++) {
		struct cry_id id = cl_id("share", i);

		e = oplog_share_add(t, &id, &no);
		assert_int_equal(e, i <= LIM_SHARES ? ERR_OK : ERR_LIMIT);
	}
	assert_int_equal(no, LIM_SHARES);
	return ERR_OK;
}

static void
test_shares(void **state)
{
	struct cl c;

	(void)state;
	cl_init(&c);
	assert_int_equal(store_write(c.s, many_shares, NULL), ERR_OK);
	cl_fini(&c);
}

static void
count_complete(void *ctx, uint64_t lseq)
{
	uint64_t *sum = ctx;

	*sum += lseq;
}

/* More ops wait for one chunk than are settled in one pass. */
static enum err
many_ops(struct store_txn *t, void *ctx)
{
	static const uint8_t chunk[] = "one chunk of many ops";
	struct buf b = BUF_MAX(100);
	struct cry_id cid;
	uint64_t lseq = 0;
	uint32_t missing = 0, i;
	enum err e = ERR_OK;

	cry_hash(slice_of(chunk, sizeof(chunk)), &cid);
	buf_put(&b, cid.b, sizeof(cid.b));
	buf_u32(&b, sizeof(chunk));
	for (i = 1; i <= 3 && e == ERR_OK; i++) {
		struct cry_id share = cl_id("share", i);
		uint32_t no;

		e = oplog_share_add(t, &share, &no);
	}
	for (i = 1; i <= SAME_CHUNK_OPS && e == ERR_OK; i++) {
		struct oplog_op op = { .share = 1 + i % 3,
			.compartment = 1,
			.feed = 1,
			.seq = i,
			.id = cl_id("op", i),
			.bytes = buf_slice(&b),
			.packing = buf_slice(&b),
			.want_content = true };

		e = oplog_op_put(t, &op, &lseq, &missing);
	}
	assert_int_equal(missing, 1);
	for (i = 1; i <= 3 && e == ERR_OK; i++) {
		struct oplog_arrival a = { .share = i,
			.compartment = 1,
			.cid = cid,
			.ciphertext = slice_of(chunk, sizeof(chunk)) };

		e = oplog_chunk_put(t, &a, count_complete, ctx);
	}
	buf_fini(&b);
	return e;
}

static void
test_many_ops_wait_for_one_chunk(void **state)
{
	struct cl c;
	uint64_t sum = 0;

	(void)state;
	cl_init(&c);
	assert_int_equal(store_write(c.s, many_ops, &sum), ERR_OK);
	assert_int_equal(sum, SAME_CHUNK_OPS * (SAME_CHUNK_OPS + 1) / 2);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_bounds),
		cmocka_unit_test(test_members_of_a_series),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_many_ops_wait_for_one_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
