/* tests/unit/helper/test_receive_window.c: senders that ask for several
 * operations at once (PS3.7 D.3.3.3), against the real helper; the test plays
 * the node. */
#include "lib/receive_raw.h"

#define IDLE ((struct imaging_opts){ .idle_ms = 5000 })

static void
one_grant(struct bench *b, int asked, uint32_t window)
{
	struct img_msg m;
	int fd = raw_open(b, IDLE, asked, &m);

	assert_int_equal(m.assoc.window, window);
	(void)close(fd);
	bench_next(b, IMG_DONE, &m);
	imaging_close(b->im);
	b->im = NULL;
}

static void
test_a_window_is_granted_up_to_ours(void **state)
{
	struct bench *b = *state;

	one_grant(b, -1, 1); /* raw_open: nothing is said of one */
	one_grant(b, 1, 1);
	one_grant(b, 4, 4);
	one_grant(b, IMG_WINDOW_MAX, IMG_WINDOW_MAX);
	one_grant(b, IMG_WINDOW_MAX + 1, IMG_WINDOW_MAX);
	one_grant(b, 0, IMG_WINDOW_MAX); /* as many as it likes */
}

static void
send_image(int fd, const char *sop)
{
	struct buf d = BUF_MAX(1024);

	put_dataset(&d, sop);
	raw_store(fd, &d, sop);
	buf_fini(&d);
}

static void
next_object(struct bench *b, const char *sop, struct img_msg *m)
{
	bench_next(b, IMG_IDENTITY, m);
	bench_context(b, &m->identity);
	bench_next(b, IMG_OBJECT, m);
	assert_string_equal(m->object.sop_uid, sop);
}

static bool
no_answer(int fd)
{
	uint8_t c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

static void
test_a_second_image_comes_before_the_first_is_answered(void **state)
{
	struct bench *b = *state;
	struct img_msg m;
	int fd = raw_open(b, IDLE, 2, &m);

	send_image(fd, "1.2.3.4");
	send_image(fd, "1.2.3.5");
	next_object(b, "1.2.3.4", &m);
	next_object(b, "1.2.3.5", &m);
	assert_true(no_answer(fd));
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(read_status(fd), IMG_STATUS_OK);
	assert_true(no_answer(fd)); /* one verdict, one answer */
	assert_int_equal(
	    imaging_answer_stored(b->im, IMG_STATUS_OUT_OF_RESOURCES), ERR_OK);
	assert_int_equal(read_status(fd), IMG_STATUS_OUT_OF_RESOURCES);
	(void)close(fd);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 1);
	assert_int_equal(m.done.refused, 1);
}

static void
test_no_more_than_the_window_is_at_the_node(void **state)
{
	struct bench *b = *state;
	struct img_msg m;
	int fd = raw_open(b, IDLE, 2, &m);

	send_image(fd, "1.2.3.4");
	send_image(fd, "1.2.3.5");
	send_image(fd, "1.2.3.6"); /* a lie: two were granted */
	next_object(b, "1.2.3.4", &m);
	next_object(b, "1.2.3.5", &m);
	assert_int_equal(imaging_next(b->im, 100, &m), ERR_TIMEOUT);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	next_object(b, "1.2.3.6", &m);
	(void)close(fd);
}

static void
test_a_verdict_is_passed_on_while_a_context_is_awaited(void **state)
{
	struct bench *b = *state;
	struct img_msg m;
	int fd = raw_open(b, IDLE, 8, &m);

	send_image(fd, "1.2.3.4");
	next_object(b, "1.2.3.4", &m);
	send_image(fd, "1.2.3.5");
	bench_next(b, IMG_IDENTITY, &m);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(read_status(fd), IMG_STATUS_OK);
	bench_context(b, &m.identity);
	bench_next(b, IMG_OBJECT, &m);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(read_status(fd), IMG_STATUS_OK);
	(void)close(fd);
}

static void
test_a_sender_that_leaves_keeps_its_images_here(void **state)
{
	struct bench *b = *state;
	struct img_msg m;
	int fd = raw_open(b, IDLE, 3, &m);

	send_image(fd, "1.2.3.4");
	send_image(fd, "1.2.3.5");
	next_object(b, "1.2.3.4", &m);
	next_object(b, "1.2.3.5", &m);
	(void)close(fd);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 2);
	assert_string_equal(m.done.reason, "abort");
}

static void
test_a_verdict_on_nothing_ends_the_helper(void **state)
{
	struct bench *b = *state;
	struct img_msg m;
	int fd = raw_open(b, IDLE, 3, &m);

	send_image(fd, "1.2.3.4");
	bench_next(b, IMG_IDENTITY, &m);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(imaging_next(b->im, WAIT_MS, &m), ERR_FOREIGN);
	(void)close(fd);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_a_window_is_granted_up_to_ours),
		T(test_a_second_image_comes_before_the_first_is_answered),
		T(test_no_more_than_the_window_is_at_the_node),
		T(test_a_verdict_is_passed_on_while_a_context_is_awaited),
		T(test_a_sender_that_leaves_keeps_its_images_here),
		T(test_a_verdict_on_nothing_ends_the_helper),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
