/* Claims: a header that stands before known pixels is told by the header that
 * stood there before: its bundle adds a few bytes a file, joins bit for bit,
 * also after many edits of it; its bases stay while it is referred to and its
 * manifest alone says which they are; the same edited files again make no
 * chunk; a header that shares little is stored whole; steps that lie are
 * refused whatever they say. */
#include "content_world.h"

#include "store/blob/blob_internal.h"

#define FILES 40u
#define FILES_N(bytes) ((uint64_t)FILES * (bytes))
#define PIXELS 70000u
#define HEADER 20000u

struct dicom {
	uint8_t *b;
	size_t n;
	struct blob_piece plan[2];
};

/* A header of its own, with a value in three places, and its pixels. */
static void
dicom_make(struct dicom *d, uint32_t no, const char *value, uint32_t seed)
{
	struct prng p = { .s = 1 + no + seed };
	size_t i;

	d->b = malloc(HEADER + PIXELS + 1000);
	d->n = 0;
	for (i = 0; i < 3; i++) {
		prng_fill(&p, d->b + d->n, HEADER / 3);
		d->n += HEADER / 3;
		d->n += (size_t)snprintf(
		    (char *)d->b + d->n, 300, "%s %u.%zu", value, no, i);
	}
	d->plan[0] = (struct blob_piece){ .len = d->n };
	d->plan[1] = (struct blob_piece){
		.off = d->n, .len = PIXELS, .bits = 16, .w = 100, .apart = true
	};
	p.s = 100000 + no;
	prng_fill(&p, d->b + d->n, PIXELS);
	d->n += PIXELS;
}

struct series {
	struct dicom d[FILES];
	struct blob_file f[FILES];
	struct buf man[FILES];
	uint64_t added;
};

static struct series *
series_make(const char *value, uint32_t seed)
{
	struct series *s = calloc(1, sizeof(*s));
	uint32_t i;

	for (i = 0; i < FILES; i++) {
		dicom_make(&s->d[i], i, value, seed);
		s->f[i] = (struct blob_file){
			.bytes = slice_of(s->d[i].b, s->d[i].n),
			.plan = s->d[i].plan,
			.n_plan = 2,
		};
		s->man[i] = BUF_MAX(MIB);
	}
	return s;
}

static void
series_free(struct series *s)
{
	uint32_t i;

	for (i = 0; i < FILES; i++) {
		free(s->d[i].b);
		buf_fini(&s->man[i]);
	}
	free(s);
}

static void
series_expect(struct world *w, struct series *s)
{
	uint32_t i;

	for (i = 0; i < FILES; i++)
		expect_join(w, buf_slice(&s->man[i]), s->f[i].bytes);
}

/* Stores files first to first + n - 1, and reads them again. */
static void
series_store(struct world *w, struct series *s, uint32_t first, uint32_t n)
{
	struct blob_batch *b = blob_batch_new(w->s);
	uint32_t i;

	assert_int_equal(blob_batch_add_many(b, s->f + first, n), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	s->added += blob_batch_new_bytes(b);
	for (i = first; i < first + n; i++) {
		buf_reset(&s->man[i]);
		assert_int_equal(
		    blob_batch_manifest(b, s->f[i].no, &s->man[i]), ERR_OK);
	}
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	blob_batch_free(b);
	for (i = first; i < first + n; i++)
		expect_join(w, buf_slice(&s->man[i]), s->f[i].bytes);
}

static struct blob_manifest
manifest_of(const struct series *s, uint32_t i)
{
	struct blob_manifest m;

	assert_int_equal(
	    blob_manifest_decode(buf_slice(&s->man[i]), &m), ERR_OK);
	return m;
}

static void
test_edited_headers_cost_a_few_bytes(void **state)
{
	struct world *w = *state;
	struct series *s = series_make("name", 0);
	struct series *longer = series_make("a much longer name", 0);
	struct series *empty = series_make("", 0);

	series_store(w, s, 0, FILES);
	assert_true(s->added > FILES_N(HEADER + PIXELS));
	series_store(w, longer, 0, FILES);
	assert_true(longer->added < FILES_N(60));
	/* an edit of an edited one is told by the first, not by the second */
	series_store(w, empty, 0, FILES);
	assert_true(empty->added < FILES_N(60));
	series_expect(w, s);
	series_expect(w, longer);
	/* again: nothing, and the same manifests */
	longer->added = 0;
	series_store(w, longer, 0, FILES);
	assert_int_equal(longer->added, 0);
	series_free(s);
	series_free(longer);
	series_free(empty);
}

/* Former versions lie in many bundles; edits come in another order. */
static void
test_former_versions_in_many_bundles(void **state)
{
	struct world *w = *state;
	struct series *s = series_make("name", 0);
	struct series *longer = series_make("a much longer name", 0);
	struct blob_manifest m;
	uint32_t i;

	for (i = 0; i < FILES; i++)
		series_store(w, s, i, 1);
	for (i = FILES; i > 0; i -= FILES / 2)
		series_store(w, longer, i - FILES / 2, FILES / 2);
	assert_true(longer->added < FILES_N(120));
	m = manifest_of(longer, 0);
	assert_int_equal(m.n, BLOB_BASES_MAX + 2);
	for (i = 0; i < BLOB_BASES_MAX; i++)
		assert_true(blob_entry_is_base(&m.e[i]));
	assert_int_equal(m.e[i].codec, BLOB_DELTA);
	assert_true(blob_entry_is_part(&m.e[i]));
	blob_manifest_fini(&m);
	series_free(s);
	series_free(longer);
}

static void
test_header_of_another_kind_is_stored_whole(void **state)
{
	struct world *w = *state;
	struct series *s = series_make("name", 0);
	struct series *other = series_make("name", 7777);
	struct blob_manifest m;

	series_store(w, s, 0, FILES);
	series_store(w, other, 0, FILES);
	assert_true(other->added > FILES_N(HEADER));
	m = manifest_of(other, 3);
	assert_int_equal(m.n, 2);
	assert_int_not_equal(m.e[0].codec, BLOB_DELTA);
	blob_manifest_fini(&m);
	series_free(s);
	series_free(other);
}

/* Each form is told by the header of its own form. */
static void
test_two_forms_of_the_same_pixels(void **state)
{
	struct world *w = *state;
	struct series *one[2] = { series_make("name", 0),
		series_make("a much longer name", 0) };
	struct series *two[2] = { series_make("subject", 5555),
		series_make("another subject", 5555) };
	uint32_t i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < FILES; i++)
			two[k]->f[i].form = 1;
		series_store(w, one[k], 0, FILES);
		series_store(w, two[k], 0, FILES);
	}
	assert_true(one[1]->added < FILES_N(60));
	assert_true(two[0]->added > FILES_N(HEADER));
	assert_true(two[1]->added < FILES_N(60));
	for (k = 0; k < 2; k++) {
		series_expect(w, one[k]);
		series_free(one[k]);
		series_free(two[k]);
	}
}

static enum err
learn_job(struct store_txn *t, void *ctx)
{
	const struct series *s = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < FILES && e == ERR_OK; i++)
		e = blob_manifest_learn(t, buf_slice(&s->man[i]), true);
	return e;
}

static enum err
forget_job(struct store_txn *t, void *ctx)
{
	struct db_txn *txn = store_txn_db(t);
	struct db_cur *c;
	struct slice k, v;
	uint8_t key[16];
	enum err e = ERR_OK;

	(void)ctx;
	while (e == ERR_OK) {
		e = db_cur_open(txn, DB_PIDX, slice_of(NULL, 0), &c);
		assert_int_equal(e, ERR_OK);
		e = db_cur_last(c, &k, &v);
		if (e == ERR_OK)
			memcpy(key, k.p, sizeof(key));
		db_cur_close(c);
		if (e == ERR_OK)
			e = db_del(txn, DB_PIDX, slice_of(key, sizeof(key)));
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* A rebuild has the manifests only. */
static void
test_what_manifests_say_is_learnt_again(void **state)
{
	struct world *w = *state;
	struct series *s = series_make("name", 0);
	struct series *longer = series_make("a much longer name", 0);
	struct series *third = series_make("third", 0);

	series_store(w, s, 0, FILES);
	series_store(w, longer, 0, FILES);
	assert_int_equal(store_write(w->s, forget_job, NULL), ERR_OK);
	assert_int_equal(store_write(w->s, learn_job, s), ERR_OK);
	assert_int_equal(store_write(w->s, learn_job, longer), ERR_OK);
	longer->added = 0;
	series_store(w, longer, 0, FILES);
	assert_int_equal(longer->added, 0);
	series_store(w, third, 0, FILES);
	assert_true(third->added < FILES_N(60));
	series_free(s);
	series_free(longer);
	series_free(third);
}

static enum err
lose_job(struct store_txn *t, void *ctx)
{
	const struct cry_id *cid = ctx;
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(store_txn_db(t), cid, &no, &row);

	row.loc.seg = 0;
	return e == ERR_OK ? blob_chunk_row_put(store_txn_db(t), no, &row) : e;
}

/* A base that is gone: what was told by it cannot be read, and says so; new
 * headers are stored whole and are the ones to be known from then on. */
static void
test_base_that_is_gone(void **state)
{
	struct world *w = *state;
	struct series *s = series_make("name", 0);
	struct series *longer = series_make("a much longer name", 0);
	struct series *third = series_make("third", 0);
	struct series *fourth = series_make("fourth", 0);
	struct blob_manifest m;
	struct buf out = BUF_MAX(MIB);

	series_store(w, s, 0, FILES);
	series_store(w, longer, 0, FILES);
	m = manifest_of(longer, 0);
	assert_int_equal(store_write(w->s, lose_job, &m.e[0].cid), ERR_OK);
	assert_int_equal(blob_join(w->s, &m, &out), ERR_NOTFOUND);
	blob_manifest_fini(&m);
	series_store(w, third, 0, FILES);
	assert_true(third->added > FILES_N(HEADER));
	series_store(w, fourth, 0, FILES);
	assert_true(fourth->added < FILES_N(60));
	buf_fini(&out);
	series_free(s);
	series_free(longer);
	series_free(third);
	series_free(fourth);
}

/* The number of bases is a peer's word: the reader walks so many of its own,
 * also to let them go when the head was refused. */
static void
test_number_of_bases_is_never_more_than_there_is_room_for(void **state)
{
	struct blob_entry base[BLOB_BASES_MAX];
	uint8_t head[KIB] = { 1 };
	uint32_t said, n;

	(void)state;
	for (said = 0; said < 256; said++) {
		struct rd r = rd_init(slice_of(head, sizeof(head)));

		head[1] = (uint8_t)said;
		n = 0;
		assert_int_not_equal(delta_head_read(&r, base, &n), ERR_OK);
		assert_true(n <= BLOB_BASES_MAX);
	}
}

/* Any change of the steps yields an error or other bytes of bounded length,
 * never anything outside the base. */
static void
test_steps_that_lie(void **state)
{
	struct world *w = *state;
	struct delta *d = calloc(1, sizeof(*d));
	uint8_t was[3000], now[3100];
	struct delta_base base = { 10, slice_of(was, sizeof(was)) };
	struct buf out = BUF_MAX(sizeof(now));
	uint32_t i, k;

	d->steps = BUF_MAX(MIB);
	prng_fill(&w->p, was, sizeof(was));
	memcpy(now, was, 1000);
	memset(now + 1000, 'x', 100);
	memcpy(now + 1100, was + 1000, 2000);
	delta_part(d, base.bytes, 10, slice_of(now, sizeof(now)));
	assert_int_equal(d->copied, 3000);
	assert_int_equal(
	    delta_apply(buf_slice(&d->steps), 0, &base, 1, &out), ERR_OK);
	assert_true(slice_eq(buf_slice(&out), slice_of(now, sizeof(now))));
	for (i = 0; i < 20000; i++) {
		uint8_t lie[300];
		size_t n = d->steps.n < 300 ? d->steps.n : 300;

		memcpy(lie, d->steps.p, n);
		for (k = 0; k <= prng_below(&w->p, 3); k++)
			lie[prng_below(&w->p, (uint32_t)n)] =
			    (uint8_t)prng_next(&w->p);
		buf_reset(&out);
		if (delta_apply(slice_of(lie, n), 0, &base, 1, &out) != ERR_OK)
			continue;
		assert_true(out.n <= sizeof(now));
	}
	buf_fini(&out);
	buf_fini(&d->steps);
	free(d);
}

/* Empty, equal, swapped, cut short, repeating: each yields what it should. */
static void
test_steps_of_odd_pairs(void **state)
{
	static const struct {
		const char *was, *now;
	} pairs[] = { { "", "" }, { "a", "" }, { "", "b" }, { "same", "same" },
		{ "0123456789abcdefghijklmnop", "ghijklmnop0123456789abcdef" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" },
		{ "0123456789abcdef0123456789abcdef", "89abcdef" } };
	struct delta *d = calloc(1, sizeof(*d));
	struct buf out = BUF_MAX(KIB);
	size_t i;

	(void)state;
	d->steps = BUF_MAX(MIB);
	for (i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct delta_base base = { 0, slice_str(pairs[i].was) };

		buf_reset(&out);
		buf_reset(&d->steps);
		d->at = 0;
		delta_part(d, base.bytes, 0, slice_str(pairs[i].now));
		assert_int_equal(
		    delta_apply(buf_slice(&d->steps), 0, &base, 1, &out),
		    ERR_OK);
		assert_true(slice_eq(buf_slice(&out), slice_str(pairs[i].now)));
	}
	buf_fini(&out);
	buf_fini(&d->steps);
	free(d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_edited_headers_cost_a_few_bytes),
		T(test_former_versions_in_many_bundles),
		T(test_header_of_another_kind_is_stored_whole),
		T(test_two_forms_of_the_same_pixels),
		T(test_what_manifests_say_is_learnt_again),
		T(test_base_that_is_gone),
		T(test_number_of_bases_is_never_more_than_there_is_room_for),
		T(test_steps_that_lie),
		T(test_steps_of_odd_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
