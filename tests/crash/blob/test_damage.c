/* Claims: a flipped bit anywhere in a segment is found by deep verify and
 * never served; garbage or a cut after the last indexed record is no damage;
 * no space refuses writes, loses nothing, and writes go on when there is
 * space again; a second process is refused. */
#include "crash_lib.h"

#include <sys/mount.h>

#define FILES 24

static void
fill(struct world *w)
{
	uint32_t no;

	tmpdir_make(w->dir);
	world_opts(w);
	world_open(w);
	for (no = 1; no <= FILES; no++)
		assert_int_equal(file_put(w->s, no), ERR_OK);
}

static unsigned
files_right(struct world *w)
{
	unsigned right = 0;
	uint32_t no;

	for (no = 1; no <= FILES; no++)
		right += file_get(w->s, no) == ERR_OK;
	return right;
}

static void
done(struct world *w)
{
	store_close(w->s);
	tmpdir_remove(w->dir);
}

static void
flip(int fd, uint64_t off, unsigned bit)
{
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, (off_t)off), 1);
	b ^= (uint8_t)(1u << bit);
	assert_int_equal(pwrite(fd, &b, 1, (off_t)off), 1);
}

static void
test_hundred_flipped_bits_are_found_and_never_served(void **state)
{
	struct world w = { .s = NULL };
	struct prng p = { 7 };
	unsigned hurt = 0;
	uint64_t used;
	uint32_t last;
	int i;

	(void)state;
	fill(&w);
	assert_int_equal(deep_bad(w.s), 0);
	last = last_segment(w.s, &used);
	assert_true(last >= 2);
	for (i = 0; i < 100; i++) {
		uint32_t seg = 1 + prng_below(&p, last);
		struct seg_row row;
		struct db_txn *t;
		uint64_t off;
		unsigned bit = prng_below(&p, 8);
		int fd = segment_open(&w, seg);

		assert_int_equal(store_read(w.s, &t), ERR_OK);
		assert_int_equal(store_seg_row_get(t, seg, &row), ERR_OK);
		db_abort(t);
		off = prng_below(
		    &p, (uint32_t)store_round(row.used, STORE_BLOCK));
		if (i % 4 == 0) /* aim at record headers too */
			off = STORE_BLOCK + off % STORE_REC_HEADER;
		flip(fd, off, bit);
		if (deep_bad(w.s) == 0)
			fail_msg("segment %u offset %llu bit %u not found",
			    (unsigned)seg, (unsigned long long)off, bit);
		/* file_get fails the test on a wrong byte */
		hurt += files_right(&w) < FILES;
		flip(fd, off, bit);
		close(fd);
	}
	assert_true(hurt > 20);
	assert_int_equal(deep_bad(w.s), 0);
	assert_int_equal(files_right(&w), FILES);
	done(&w);
}

static void
test_lost_segment_is_reported_and_the_rest_is_read(void **state)
{
	struct world w = { .s = NULL };
	char path[TMPDIR_MAX + 32];

	(void)state;
	fill(&w);
	store_close(w.s);
	snprintf(path, sizeof(path), "%s/segments/00000001.seg", w.dir);
	assert_int_equal(unlink(path), 0);
	world_open(&w);
	assert_true(deep_bad(w.s) > 1);
	assert_true(files_right(&w) > 0);
	assert_true(files_right(&w) < FILES);
	assert_int_equal(file_put(w.s, 1000), ERR_OK);
	assert_int_equal(file_get(w.s, 1000), ERR_OK);
	done(&w);
}

static void
expect_whole(struct world *w, uint32_t next)
{
	world_open(w);
	assert_int_equal(deep_bad(w->s), 0);
	assert_int_equal(files_right(w), FILES);
	assert_int_equal(file_put(w->s, next), ERR_OK);
	assert_int_equal(file_get(w->s, next), ERR_OK);
	assert_int_equal(deep_bad(w->s), 0);
}

static void
test_garbage_after_the_last_indexed_record_is_no_damage(void **state)
{
	struct world w = { .s = NULL };
	static uint8_t garbage[100000];
	struct prng p = { 3 };
	uint64_t used, end;
	uint32_t seg;
	int fd;

	(void)state;
	fill(&w);
	seg = last_segment(w.s, &used);
	end = store_round(used, STORE_BLOCK);
	store_close(w.s);
	/* random bytes */
	fd = segment_open(&w, seg);
	prng_fill(&p, garbage, sizeof(garbage));
	assert_int_equal(pwrite(fd, garbage, sizeof(garbage), (off_t)end),
	    (ssize_t)sizeof(garbage));
	close(fd);
	expect_whole(&w, 1001);
	store_close(w.s);
	/* the file ends right after the last record */
	world_open(&w);
	seg = last_segment(w.s, &used);
	store_close(w.s);
	fd = segment_open(&w, seg);
	assert_int_equal(
	    ftruncate(fd, (off_t)store_round(used, STORE_BLOCK)), 0);
	close(fd);
	expect_whole(&w, 1002);
	done(&w);
}

static void
test_valid_but_unindexed_record_is_not_salvaged(void **state)
{
	struct world w = { .s = NULL };
	static uint8_t rec[STORE_BLOCK];
	uint64_t used, end;
	uint32_t seg;
	int fd;

	(void)state;
	fill(&w);
	seg = last_segment(w.s, &used);
	end = store_round(used, STORE_BLOCK);
	store_close(w.s);
	fd = segment_open(&w, seg);
	assert_int_equal(
	    pread(fd, rec, sizeof(rec), STORE_BLOCK), (ssize_t)sizeof(rec));
	assert_int_equal(
	    pwrite(fd, rec, sizeof(rec), (off_t)end), (ssize_t)sizeof(rec));
	close(fd);
	world_open(&w);
	fd = segment_open(&w, seg);
	memset(rec, 1, sizeof(rec));
	if (pread(fd, rec, sizeof(rec), (off_t)end) > 0) {
		size_t i;

		for (i = 0; i < sizeof(rec); i++)
			assert_int_equal(rec[i], 0);
	}
	close(fd);
	done(&w);
}

/* --- no space --- */

static int
no_space(void *ctx, enum store_point at)
{
	return at == STORE_AT_RESERVE && *(bool *)ctx ? ENOSPC : 0;
}

static void
test_refused_reservation_changes_nothing(void **state)
{
	struct world w = { .s = NULL };
	bool full = true;

	(void)state;
	fill(&w);
	store_set_fault(w.s, no_space, &full);
	assert_int_equal(file_put(w.s, 2000), ERR_FULL);
	assert_int_equal(file_put(w.s, 2004), ERR_FULL);
	assert_int_equal(files_right(&w), FILES);
	assert_int_equal(file_get(w.s, 2000), ERR_NOTFOUND);
	full = false;
	assert_int_equal(file_put(w.s, 2000), ERR_OK);
	assert_int_equal(file_get(w.s, 2000), ERR_OK);
	assert_int_equal(deep_bad(w.s), 0);
	done(&w);
}

/* Writes until it is refused; the last number that was acknowledged. */
static uint32_t
write_until_full(struct world *w)
{
	enum err e = ERR_OK;
	uint32_t no;

	for (no = 1; e == ERR_OK && no < 1000; no++)
		e = file_put(w->s, no * 4);
	assert_int_equal(e, ERR_FULL);
	return no - 2;
}

static void
ballast(const char *dir, size_t n)
{
	char path[TMPDIR_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/ballast", dir);
	if (n == 0) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)n), 0);
	close(fd);
}

static void
test_full_file_system_refuses_reads_and_recovers(void **state)
{
	struct world w = { .s = NULL };
	char mnt[TMPDIR_MAX];
	uint32_t n, no;

	(void)state;
	tmpdir_make(mnt);
	if (mount("none", mnt, "tmpfs", 0, "size=14m") != 0) {
		tmpdir_remove(mnt);
		print_message("no right to mount: skipped\n");
		skip();
	}
	snprintf(w.dir, sizeof(w.dir), "%.200s/s", mnt);
	world_opts(&w);
	ballast(mnt, 4 * MIB);
	world_open(&w);
	n = write_until_full(&w);
	assert_true(n > 5);
	for (no = 1; no <= n; no++)
		assert_int_equal(file_get(w.s, no * 4), ERR_OK);
	/* also a node that starts on the full disk serves reads */
	store_close(w.s);
	world_open(&w);
	for (no = 1; no <= n; no++)
		assert_int_equal(file_get(w.s, no * 4), ERR_OK);
	assert_int_equal(deep_bad(w.s), 0);
	ballast(mnt, 0);
	assert_int_equal(file_put(w.s, 9000), ERR_OK);
	assert_int_equal(file_get(w.s, 9000), ERR_OK);
	assert_int_equal(deep_bad(w.s), 0);
	store_close(w.s);
	assert_int_equal(umount(mnt), 0);
	tmpdir_remove(mnt);
}

static void
test_second_process_is_refused(void **state)
{
	struct world w = { .s = NULL };
	int status;
	pid_t pid;

	(void)state;
	fill(&w);
	pid = fork();
	if (pid == 0) {
		struct errmsg em = { .code = ERR_OK };
		struct store *s = NULL;
		enum err e = store_open(&w.o, &s, &em);

		_exit(
		    e == ERR_BUSY && strstr(em.cause, "another process") != NULL
			? 0
			: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(files_right(&w), FILES);
	done(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_hundred_flipped_bits_are_found_and_never_served),
		cmocka_unit_test(
		    test_lost_segment_is_reported_and_the_rest_is_read),
		cmocka_unit_test(
		    test_garbage_after_the_last_indexed_record_is_no_damage),
		cmocka_unit_test(
		    test_valid_but_unindexed_record_is_not_salvaged),
		cmocka_unit_test(test_refused_reservation_changes_nothing),
		cmocka_unit_test(
		    test_full_file_system_refuses_reads_and_recovers),
		cmocka_unit_test(test_second_process_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
