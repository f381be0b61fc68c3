/* Claims: content that went in comes out bit for bit; identical content makes
 * no new chunk; a re-tagged copy of an image costs less than 1 %; a plan that
 * does not tile is refused; entries that lie are refused. */
#include "content_world.h"

#include <fcntl.h>
#include <unistd.h>

static void
round_trip(struct world *w, struct slice data, struct put how)
{
	struct buf man = BUF_MAX(2 * MIB);

	put_file(w, data, how, &man);
	expect_join(w, buf_slice(&man), data);
	buf_fini(&man);
}

static void
test_round_trip_of_every_size(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 63, 64, 65, 4095, 65535,
		65536, 65537, 300001, 1048576, 3000003 };
	struct world *w = *state;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint8_t *data = malloc(sizes[i] + 1);

		prng_fill(&w->p, data, sizes[i]);
		round_trip(w, slice_of(data, sizes[i]), (struct put){ 0 });
		memset(data, 'x', sizes[i]);
		round_trip(w, slice_of(data, sizes[i]), (struct put){ 0 });
		free(data);
	}
}

static void
test_pixels_of_both_signs_and_odd_sizes_join(void **state)
{
	static const size_t sizes[] = { 100, 1001, 131072, 131073, 600001 };
	static const uint8_t bits[] = { 0, 8, 16, 32 };
	struct world *w = *state;
	size_t i, k;

	for (i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i / 2];
		uint8_t *data = malloc(n);

		prng_image(&w->p, data, n, 256, i % 2 != 0);
		for (k = 0; k < sizeof(bits); k++) {
			struct blob_piece p = { 0, n, bits[k], 256 };

			round_trip(w, slice_of(data, n), (struct put){ &p, 1 });
			prng_fill(&w->p, data, 16); /* no dedup next time */
		}
		free(data);
	}
}

static void
test_pixels_are_coded_as_rows(void **state)
{
	struct world *w = *state;
	size_t n = 512 * 512 * 2;
	uint8_t *data = malloc(n);
	struct blob_piece p = { 0, n, 16, 512 };
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m;

	prng_image(&w->p, data, n, 512, 1);
	put_file(w, slice_of(data, n), (struct put){ &p, 1 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.e[0].codec, BLOB_WAVE);
	assert_int_equal(m.e[0].row, 0);
	assert_true(m.e[0].c_len < n / 2);
	blob_manifest_fini(&m);
	buf_fini(&man);
	free(data);
}

static void
test_identical_content_makes_no_new_chunk(void **state)
{
	struct world *w = *state;
	struct buf a = BUF_MAX(MIB), b = BUF_MAX(MIB);
	uint8_t *data = malloc(900000);
	struct store_stats before, after;

	prng_fill(&w->p, data, 900000);
	assert_true(put_file(w, slice_of(data, 900000), (struct put){ 0 }, &a) >
		    900000);
	assert_int_equal(store_stats(w->s, &before), ERR_OK);
	assert_int_equal(
	    put_file(w, slice_of(data, 900000), (struct put){ 0 }, &b), 0);
	assert_int_equal(store_stats(w->s, &after), ERR_OK);
	assert_true(before.chunks > 1);
	assert_int_equal(before.chunks, after.chunks);
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
	free(data);
}

/* Bytes as a DICOM header has them: tags, lengths, text; salt changes it. */
static void
header_fill(uint8_t *out, size_t n, unsigned salt)
{
	size_t at = 0;
	unsigned i;
	char one[64];

	for (i = 0; at < n; i++) {
		int k = snprintf(one, sizeof(one), "%c%cPN value %u of %u^",
		    (int)(8 + i % 32), (int)(i % 96), i * salt, salt);
		size_t m = n - at < (size_t)k ? n - at : (size_t)k;

		memcpy(out + at, one, m);
		at += m;
	}
}

static void
test_retagged_copy_adds_less_than_one_percent(void **state)
{
	struct world *w = *state;
	size_t px = 512 * 512 * 2;
	uint8_t *data = malloc(px + 4000);
	struct blob_piece plan[2] = { { 0, 1500, 0, 0 },
		{ 1500, px, 16, 512 } };
	struct buf man = BUF_MAX(MIB);
	uint64_t first, second;

	header_fill(data, 1500, 7);
	prng_image(&w->p, data + 1500, px, 512, 0);
	first = put_file(
	    w, slice_of(data, 1500 + px), (struct put){ plan, 2 }, &man);
	memmove(data + 1633, data + 1500, px); /* another header length */
	header_fill(data, 1633, 11);
	plan[0].len = plan[1].off = 1633;
	buf_reset(&man);
	second = put_file(
	    w, slice_of(data, 1633 + px), (struct put){ plan, 2 }, &man);
	expect_join(w, buf_slice(&man), slice_of(data, 1633 + px));
	assert_true(second * 100 < first);
	buf_fini(&man);
	free(data);
}

static void
expect_refused(struct world *w, struct blob_piece *plan, uint32_t n)
{
	static const uint8_t data[1000];
	struct blob_batch *b = blob_batch_new(w->s);
	struct buf man = BUF_MAX(MIB);

	assert_int_equal(
	    blob_batch_add(b, slice_of(data, sizeof(data)), plan, n, &man),
	    ERR_MALFORMED);
	assert_int_equal(man.n, 0);
	assert_int_equal(blob_batch_new_bytes(b), 0);
	buf_fini(&man);
	blob_batch_free(b);
}

static void
test_plan_that_does_not_tile_is_refused(void **state)
{
	struct world *w = *state;
	struct blob_piece gap[] = { { 0, 400, 0, 0 }, { 401, 599, 0, 0 } };
	struct blob_piece overlap[] = { { 0, 400, 0, 0 }, { 399, 601, 0, 0 } };
	struct blob_piece few[] = { { 0, 999, 0, 0 } };
	struct blob_piece many[] = { { 0, 1001, 0, 0 } };
	struct blob_piece empty[] = { { 0, 0, 0, 0 }, { 0, 1000, 0, 0 } };
	struct blob_piece late[] = { { 1, 999, 0, 0 } };
	struct blob_piece huge[] = { { 0, 400, 0, 0 },
		{ 400, UINT64_MAX - 399, 0, 0 } };

	expect_refused(w, gap, 2);
	expect_refused(w, overlap, 2);
	expect_refused(w, few, 1);
	expect_refused(w, many, 1);
	expect_refused(w, empty, 2);
	expect_refused(w, late, 1);
	expect_refused(w, huge, 2);
}

static void
test_large_piece_is_cut_at_rows(void **state)
{
	struct world *w = *state;
	size_t width = 1000, n = LIM_PIECE_BYTES + 2 * width;
	uint8_t *data = malloc(n);
	struct blob_piece p = { 0, n, 16, 1000 };
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m;
	uint32_t i;

	prng_image(&w->p, data, n, width, 0);
	put_file(w, slice_of(data, n), (struct put){ &p, 1 }, &man);
	expect_join(w, buf_slice(&man), slice_of(data, n));
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_true(m.n >= 4);
	for (i = 0; i + 1 < m.n; i++)
		assert_int_equal(m.e[i].raw_len % (2 * width), 0);
	/* At the limit it is one piece still. */
	buf_reset(&man);
	blob_manifest_fini(&m);
	p.len = LIM_PIECE_BYTES;
	data[0] ^= 1;
	put_file(
	    w, slice_of(data, LIM_PIECE_BYTES), (struct put){ &p, 1 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(m.n, 1);
	blob_manifest_fini(&m);
	buf_fini(&man);
	free(data);
}

static void
test_content_is_found_again_after_reopen(void **state)
{
	struct world *w = *state;
	struct buf man = BUF_MAX(MIB), again = BUF_MAX(MIB);
	uint8_t *data = malloc(500000);
	struct errmsg em;

	prng_fill(&w->p, data, 500000);
	put_file(w, slice_of(data, 500000), (struct put){ 0 }, &man);
	store_close(w->s);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
	expect_join(w, buf_slice(&man), slice_of(data, 500000));
	assert_int_equal(
	    put_file(w, slice_of(data, 500000), (struct put){ 0 }, &again), 0);
	buf_fini(&man);
	buf_fini(&again);
	free(data);
}

static void
test_insertion_leaves_most_chunks_of_plain_files(void **state)
{
	struct world *w = *state;
	size_t n = 6 * MIB;
	uint8_t *data = malloc(n + 100);
	struct buf man = BUF_MAX(MIB);
	uint64_t first, second;

	prng_fill(&w->p, data + 100, n);
	first = put_file(w, slice_of(data + 100, n), (struct put){ 0 }, &man);
	prng_fill(&w->p, data, 100);
	buf_reset(&man);
	second = put_file(w, slice_of(data, n + 100), (struct put){ 0 }, &man);
	expect_join(w, buf_slice(&man), slice_of(data, n + 100));
	assert_true(second < first / 4);
	buf_fini(&man);
	free(data);
}

static enum err
read_entry(struct world *w, const struct blob_entry *e)
{
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	struct db_txn *t;
	enum err err;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	err = blob_read(w->s, t, e, &out);
	db_abort(t);
	if (err != ERR_OK)
		assert_int_equal(out.n, 0);
	buf_fini(&out);
	return err;
}

static void
test_entry_that_lies_is_refused(void **state)
{
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data)), bad;

	assert_int_equal(e.codec, BLOB_ZSTD);
	assert_int_equal(read_entry(w, &e), ERR_OK);
	bad = e;
	bad.ck.b[3] ^= 1;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.hp.b[31] ^= 1;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.raw_len++;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.raw_len = ++bad.p_len;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.raw_len--; /* a part, with the hash of the whole */
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad.off = 2; /* beyond the end */
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.z_len--;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.codec = BLOB_SHUFFLE2_ZSTD;
	assert_int_equal(read_entry(w, &bad), ERR_AUTH);
	bad = e;
	bad.cid.b[0] ^= 1;
	assert_int_equal(read_entry(w, &bad), ERR_NOTFOUND);
	bad = e;
	bad.cid.b[31] ^= 1; /* same place in the index, another chunk */
	assert_int_equal(read_entry(w, &bad), ERR_NOTFOUND);
}

static void
test_entry_of_a_part_yields_that_range(void **state)
{
	static const struct {
		uint32_t off, n;
	} ranges[] = { { 0, 1 }, { 0, 19999 }, { 19999, 1 }, { 9000, 2000 } };
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data));
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	struct db_txn *t;
	size_t i;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		struct slice want = slice_of(data + ranges[i].off, ranges[i].n);

		e.off = ranges[i].off;
		e.raw_len = ranges[i].n;
		cry_hash(want, &e.hp);
		buf_reset(&out);
		assert_int_equal(blob_read(w->s, t, &e, &out), ERR_OK);
		assert_true(slice_eq(buf_slice(&out), want));
	}
	db_abort(t);
	e.off--; /* right hash, wrong range */
	assert_int_equal(read_entry(w, &e), ERR_AUTH);
	buf_fini(&out);
}

struct received {
	struct cry_id cid;
	struct slice c;
};

static enum err
receive_job(struct store_txn *t, void *ctx)
{
	struct received *r = ctx;

	return blob_chunk_put(t, &r->cid, r->c);
}

static enum err
learn_job(struct store_txn *t, void *ctx)
{
	return blob_entry_learn(t, ctx);
}

/* A part is known as a part only: bundles never serve what is stored whole. */
static void
test_part_is_learnt_apart_from_whole_pieces(void **state)
{
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data)), got;
	struct db_txn *t;

	e.off = 100;
	e.raw_len = 50;
	cry_hash(slice_of(data + 100, 50), &e.hp);
	assert_int_equal(store_write(w->s, learn_job, &e), ERR_OK);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(
	    blob_pidx_get(w->s, t, &e.hp, BLOB_PIDX_WHOLE, &got), ERR_NOTFOUND);
	assert_int_equal(
	    blob_pidx_get(w->s, t, &e.hp, BLOB_PIDX_PART, &got), ERR_OK);
	db_abort(t);
	assert_int_equal(got.off, 100);
	assert_int_equal(got.raw_len, 50);
	assert_int_equal(got.c_len, e.c_len);
	assert_memory_equal(got.cid.b, e.cid.b, 32);
	assert_memory_equal(got.ck.b, e.ck.b, 32);
	assert_int_equal(read_entry(w, &got), ERR_OK);
	e.cid.b[20] ^= 1; /* a chunk that is not here */
	assert_int_equal(store_write(w->s, learn_job, &e), ERR_NOTFOUND);
}

static void
test_received_chunk_is_checked_and_dedups_once_learnt(void **state)
{
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data));
	struct buf c = BUF_MAX(MIB), man = BUF_MAX(MIB);
	struct received r = { .cid = e.cid };
	struct db_txn *t;
	struct world v = { .o = w->o, .p = { 9 } };
	struct errmsg em;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(blob_chunk_have(t, &e.cid), ERR_OK);
	assert_int_equal(blob_chunk_get(w->s, t, &e.cid, &c), ERR_OK);
	db_abort(t);
	/* another site, with a secret of its own */
	tmpdir_make(v.dir);
	v.o.dir = v.dir;
	memset(v.o.convergence.b, 77, 32);
	assert_int_equal(store_open(&v.o, &v.s, &em), ERR_OK);
	r.c = buf_slice(&c);
	c.p[5] ^= 1;
	assert_int_equal(store_write(v.s, receive_job, &r), ERR_AUTH);
	c.p[5] ^= 1;
	assert_int_equal(store_write(v.s, receive_job, &r), ERR_OK);
	assert_int_equal(store_write(v.s, receive_job, &r), ERR_OK);
	assert_int_equal(read_entry(&v, &e), ERR_OK);
	assert_int_equal(store_write(v.s, learn_job, &e), ERR_OK);
	assert_int_equal(
	    put_file(&v, slice_of(data, sizeof(data)), (struct put){ 0 }, &man),
	    0);
	store_close(v.s);
	tmpdir_remove(v.dir);
	buf_fini(&c);
	buf_fini(&man);
}

static void
count_bad(void *ctx, const struct store_bad *bad)
{
	(void)bad;
	++*(unsigned *)ctx;
}

static unsigned
verify_bad(struct world *w)
{
	unsigned n = 0;

	assert_int_equal(store_verify(w->s, true, count_bad, &n, NULL), ERR_OK);
	return n;
}

static void
rot(struct world *w, const struct blob_entry *e)
{
	char path[TMPDIR_MAX + 64];
	struct store_loc l;
	struct db_txn *t;
	uint8_t b;
	int fd;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(blob_chunk_find(t, &e->cid, &l), ERR_OK);
	db_abort(t);
	snprintf(path, sizeof(path), "%s/segments/%08x.seg", w->dir,
	    (unsigned)l.seg);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)l.off + 100), 1);
	b ^= 4;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)l.off + 100), 1);
	close(fd);
}

/* Once damage was seen nothing new rests on it, and who has the bytes heals
 * what rested on it before: the one copy of the vault has no peer. */
static void
test_damaged_chunk_is_no_duplicate_and_is_replaced(void **state)
{
	struct world *w = *state;
	static uint8_t data[20000];
	struct slice file = slice_of(data, sizeof(data));
	struct blob_entry e = one_entry(w, data, sizeof(data));
	struct buf man = BUF_MAX(MIB);

	rot(w, &e);
	assert_int_equal(verify_bad(w), 1);
	assert_true(put_file(w, file, (struct put){ 0 }, &man) > 0);
	expect_join(w, buf_slice(&man), file);
	assert_int_equal(read_entry(w, &e), ERR_OK);
	assert_int_equal(verify_bad(w), 0);
	/* seen by a reader */
	rot(w, &e);
	assert_int_equal(read_entry(w, &e), ERR_CORRUPT);
	buf_reset(&man);
	assert_true(put_file(w, file, (struct put){ 0 }, &man) > 0);
	expect_join(w, buf_slice(&man), file);
	assert_int_equal(verify_bad(w), 0);
	buf_fini(&man);
}

struct told_by {
	struct slice manifest;
};

static enum err
learn_manifest_job(struct store_txn *t, void *ctx)
{
	const struct told_by *by = ctx;

	return blob_manifest_learn(t, by->manifest, false);
}

/* A member may write any hash into its manifest.  Learnt as it stands, what
 * is imported here later would never be stored. */
static void
test_false_hash_in_anothers_manifest_takes_no_piece_of_ours(void **state)
{
	struct world *w = *state;
	static uint8_t theirs[20000], ours[20000];
	struct blob_entry e = one_entry(w, theirs, sizeof(theirs));
	struct blob_manifest m = { &e, 1, 0, sizeof(theirs) };
	struct buf man = BUF_MAX(MIB), told = BUF_MAX(MIB);
	struct slice file = slice_of(ours, sizeof(ours));
	struct told_by by;

	prng_fill(&w->p, ours, sizeof(ours));
	cry_hash(file, &e.hp);
	assert_int_equal(blob_manifest_encode(&m, &told), ERR_OK);
	by.manifest = buf_slice(&told);
	assert_int_equal(store_write(w->s, learn_manifest_job, &by), ERR_OK);
	assert_true(put_file(w, file, (struct put){ 0 }, &man) > 0);
	expect_join(w, buf_slice(&man), file);
	/* A true one is learnt. */
	e = one_entry(w, theirs, sizeof(theirs));
	buf_reset(&told);
	assert_int_equal(blob_manifest_encode(&m, &told), ERR_OK);
	by.manifest = buf_slice(&told);
	assert_int_equal(store_write(w->s, learn_manifest_job, &by), ERR_OK);
	buf_reset(&man);
	assert_int_equal(put_file(w, slice_of(theirs, sizeof(theirs)),
			     (struct put){ 0 }, &man),
	    0);
	buf_fini(&told);
	buf_fini(&man);
}

static enum err
forge_job(struct store_txn *t, void *ctx)
{
	struct received *r = ctx;

	return blob_chunk_store(t, &r->cid, r->c);
}

static void
count_chunks(void *ctx, const struct store_bad *bad)
{
	assert_string_equal(bad->what, "chunk");
	assert_true(bad->repairable);
	(*(unsigned *)ctx)++;
}

/* The CRC of the record is right; only the hash tells. */
static void
test_chunk_that_is_not_its_cid_is_not_served(void **state)
{
	struct world *w = *state;
	static uint8_t data[5000];
	struct received r = { .cid = { { 1, 2, 3 } },
		.c = slice_of(data, sizeof(data)) };
	struct buf out = BUF_MAX(MIB);
	struct db_txn *t;
	unsigned bad = 0;

	assert_int_equal(store_write(w->s, forge_job, &r), ERR_OK);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(blob_chunk_have(t, &r.cid), ERR_OK);
	assert_int_equal(blob_chunk_get(w->s, t, &r.cid, &out), ERR_CORRUPT);
	assert_int_equal(out.n, 0);
	db_abort(t);
	assert_int_equal(
	    store_verify(w->s, true, count_chunks, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 1);
	buf_fini(&out);
}

static void
test_received_chunk_sizes_are_bounded(void **state)
{
	struct world *w = *state;
	uint8_t *data = calloc(1, BLOB_C_MAX + 1);
	struct received r = { .c = slice_of(data, CRY_TAG_BYTES) };

	cry_hash(r.c, &r.cid);
	assert_int_equal(store_write(w->s, receive_job, &r), ERR_LIMIT);
	r.c.n = CRY_TAG_BYTES + 1;
	cry_hash(r.c, &r.cid);
	assert_int_equal(store_write(w->s, receive_job, &r), ERR_OK);
	r.c.n = BLOB_C_MAX;
	cry_hash(r.c, &r.cid);
	assert_int_equal(store_write(w->s, receive_job, &r), ERR_OK);
	r.c.n = BLOB_C_MAX + 1;
	cry_hash(r.c, &r.cid);
	assert_int_equal(store_write(w->s, receive_job, &r), ERR_LIMIT);
	free(data);
}

static void
test_preparing_answers_when_memory_runs_out(void **state)
{
	struct world *w = *state;
	static uint8_t data[100000];
	struct blob_piece plan[2] = { { 0, 70000, 16, 100 },
		{ 70000, 30000, 8, 0 } };
	enum err e = ERR_NOMEM;
	long n;

	prng_image(&w->p, data, sizeof(data), 100, 0);
	for (n = 0; n < 300 && e != ERR_OK; n++) {
		struct buf man = BUF_MAX(MIB);
		struct blob_batch *b;

		mem_fail_at(n);
		b = blob_batch_new(w->s);
		e = b == NULL ? ERR_NOMEM
			      : blob_batch_add(b, slice_of(data, sizeof(data)),
				    plan, 2, &man);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		if (e != ERR_OK)
			assert_int_equal(man.n, 0);
		blob_batch_free(b);
		buf_fini(&man);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 5);
}

static enum err
part_compare(void *ctx, struct slice part)
{
	struct slice *rest = ctx;

	if (part.n > rest->n || memcmp(part.p, rest->p, part.n) != 0)
		return ERR_CORRUPT;
	*rest = slice_of(rest->p + part.n, rest->n - part.n);
	return ERR_OK;
}

static void
test_stream_gives_the_same_bytes_in_order(void **state)
{
	struct world *w = *state;
	size_t n = 3 * MIB + 11;
	uint8_t *data = malloc(n);
	struct buf man = BUF_MAX(MIB);
	struct slice rest = slice_of(data, n);
	struct blob_manifest m;

	prng_fill(&w->p, data, n);
	put_file(w, rest, (struct put){ 0 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(blob_stream(w->s, &m, part_compare, &rest), ERR_OK);
	assert_int_equal(rest.n, 0);
	blob_manifest_fini(&m);
	buf_fini(&man);
	free(data);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_round_trip_of_every_size),
		T(test_pixels_of_both_signs_and_odd_sizes_join),
		T(test_pixels_are_coded_as_rows),
		T(test_identical_content_makes_no_new_chunk),
		T(test_retagged_copy_adds_less_than_one_percent),
		T(test_plan_that_does_not_tile_is_refused),
		T(test_large_piece_is_cut_at_rows),
		T(test_content_is_found_again_after_reopen),
		T(test_insertion_leaves_most_chunks_of_plain_files),
		T(test_entry_that_lies_is_refused),
		T(test_entry_of_a_part_yields_that_range),
		T(test_part_is_learnt_apart_from_whole_pieces),
		T(test_received_chunk_is_checked_and_dedups_once_learnt),
		T(test_damaged_chunk_is_no_duplicate_and_is_replaced),
		T(test_false_hash_in_anothers_manifest_takes_no_piece_of_ours),
		T(test_chunk_that_is_not_its_cid_is_not_served),
		T(test_received_chunk_sizes_are_bounded),
		T(test_preparing_answers_when_memory_runs_out),
		T(test_stream_gives_the_same_bytes_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
