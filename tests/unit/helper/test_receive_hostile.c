/* tests/unit/helper/test_receive_hostile.c: broken, silent, lying and
 * vanishing senders end their association and nothing else. */
#include "lib/receive_raw.h"

static void
test_silent_peer_is_dropped(void **state)
{
	struct bench *b = *state;
	struct imaging_opts o = { .idle_ms = 1000 };
	struct img_msg m;
	int fd = bench_connect(b);

	bench_start(b, &o);
	bench_next(b, IMG_DONE, &m);
	assert_string_equal(m.done.reason, "idle");
	(void)close(fd);
}

static void
test_garbage_instead_of_a_pdu(void **state)
{
	struct bench *b = *state;
	struct imaging_opts o = { .idle_ms = 2000 };
	struct img_msg m;
	int fd = bench_connect(b);
	uint8_t junk[64];

	memset(junk, 'G', sizeof(junk)); /* a type and length of nonsense */
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	(void)shutdown(fd, SHUT_WR);
	bench_start(b, &o);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	(void)close(fd);
}

static void
test_claimed_two_gib_pdv_allocates_nothing(void **state)
{
	/* P-DATA of 0x80000000 bytes holding one PDV of as many. */
	static const uint8_t lie[] = { 4, 0, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff,
		0xfc, 1, 3, 0, 0, 0, 0 };
	struct bench *b = *state;
	struct img_msg m;
	int fd;

	fd = raw_open(b,
	    (struct imaging_opts){
		.idle_ms = 2000, .memory_bytes_max = 512 * MIB },
	    -1, &m);
	assert_string_equal(m.assoc.calling_ae, "RAWSENDER");
	assert_int_equal(write(fd, lie, sizeof(lie)), sizeof(lie));
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	assert_string_not_equal(m.done.reason, "release");
	(void)close(fd);
}

static void
test_pdv_longer_than_its_pdu_ends_the_association(void **state)
{
	static const uint8_t lie[] = { 4, 0, 0, 0, 0, 10, 0x7f, 0xff, 0xff,
		0xfc, 1, 3, 0, 0, 0, 0 };
	struct bench *b = *state;
	struct img_msg m;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 2000 }, -1, &m);
	assert_int_equal(write(fd, lie, sizeof(lie)), sizeof(lie));
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	(void)close(fd);
}

static void
test_command_and_dataset_that_differ_get_a900(void **state)
{
	struct bench *b = *state;
	struct buf d = BUF_MAX(1024);
	struct img_msg m;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 3000 }, -1, &m);
	put_dataset(&d, "1.2.3.4");
	raw_store(fd, &d, "1.2.3.99");
	assert_int_equal(read_status(fd), IMG_STATUS_MISMATCH);
	(void)close(fd);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.refused, 1);
	buf_fini(&d);
}

static void
test_unparsable_dataset_is_success_and_quarantine(void **state)
{
	struct bench *b = *state;
	struct buf d = BUF_MAX(1024);
	struct img_msg m;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 3000 }, -1, &m);
	put_dataset(&d, "1.2.3.4");
	put_ui(&d, 0x0020, 0x0052, "1.2.3.70");
	d.n -= 5; /* the last value is cut */
	raw_store(fd, &d, "1.2.3.4");
	bench_next(b, IMG_OBJECT, &m);
	assert_false(m.object.parsed);
	assert_false(m.object.releasable);
	assert_true(m.object.n_findings > 0);
	assert_true(m.object.original.n > d.n);
	assert_memory_equal(
	    m.object.original.p + m.object.original.n - d.n, d.p, d.n);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(read_status(fd), IMG_STATUS_OK);
	(void)close(fd);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 1);
	buf_fini(&d);
}

static void
test_sender_gone_in_mid_object_leaves_nothing(void **state)
{
	struct bench *b = *state;
	struct buf out = BUF_MAX(64 * KIB);
	uint8_t part[4096] = { 0 };
	struct img_msg m;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 5000 }, -1, &m);
	put_store_pdu(&out, "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4");
	put_data_pdu(&out, part, sizeof(part), false);
	assert_int_equal(write(fd, out.p, out.n), (ssize_t)out.n);
	(void)close(fd);
	bench_next(b, IMG_DONE, &m); /* no object frame in between */
	assert_int_equal(m.done.stored, 0);
	assert_string_equal(m.done.reason, "abort");
	buf_fini(&out);
}

static void
test_node_going_away_aborts_the_sender(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "127.0.0.1", b->port, GE, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;
	uint64_t from;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_IDENTITY, &m);
	from = clock_mono_ms();
	imaging_close(b->im);
	b->im = NULL;
	assert_int_not_equal(bench_exit(b), 0);
	assert_true(clock_mono_ms() - from < 3000);
}

static void
test_sender_stalled_in_mid_pdu_is_dropped(void **state)
{
	struct bench *b = *state;
	struct buf out = BUF_MAX(64 * KIB);
	struct img_msg m;
	uint64_t from;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 1000 }, -1, &m);
	put_store_pdu(&out, "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4");
	from = clock_mono_ms();
	assert_int_equal(write(fd, out.p, out.n - 9), (ssize_t)out.n - 9);
	bench_next(b, IMG_DONE, &m);
	assert_true(clock_mono_ms() - from < 4000);
	assert_int_equal(m.done.stored, 0);
	assert_string_not_equal(m.done.reason, "release");
	(void)close(fd);
	buf_fini(&out);
}

static void
test_killed_sender_ends_the_association(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "127.0.0.1", b->port, GE, GE2, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_IDENTITY, &m);
	assert_int_equal(kill(b->sender, SIGKILL), 0);
	(void)bench_exit(b);
	bench_context(b, &m.identity);
	bench_next(b, IMG_OBJECT, &m); /* came in whole: still kept */
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_string_equal(m.done.reason, "abort");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_silent_peer_is_dropped),
		T(test_garbage_instead_of_a_pdu),
		T(test_claimed_two_gib_pdv_allocates_nothing),
		T(test_pdv_longer_than_its_pdu_ends_the_association),
		T(test_command_and_dataset_that_differ_get_a900),
		T(test_unparsable_dataset_is_success_and_quarantine),
		T(test_sender_gone_in_mid_object_leaves_nothing),
		T(test_node_going_away_aborts_the_sender),
		T(test_sender_stalled_in_mid_pdu_is_dropped),
		T(test_killed_sender_ends_the_association),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
