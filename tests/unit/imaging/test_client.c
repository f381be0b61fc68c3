/* tests/unit/imaging/test_client.c: the client against helpers that lie.
 *
 * The test program is its own helper: started with descriptor 3 it reads the
 * config frame and tells the lie named there as called AE.  Claim: every lie
 * is ERR_MALFORMED, the liar is dead, and later calls say ERR_FOREIGN at
 * once; silence is ERR_TIMEOUT, an end is ERR_FOREIGN. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/imaging/frame.h"
#include "node/imaging/msg.h"
#include "node/imaging/sealed.h"
#include "store/base/clock.h"

#define WAIT_MS 10000u

/* --- the lying helper --- */

static struct img_piece liar_plan = { 0, 6, IMG_P_HEADER, 0, 0, 0 };

static void
liar_object(struct img_object *o)
{
	*o = (struct img_object){ .parsed = true, .original = { NULL, 6 } };
	(void)snprintf(o->sop_class, sizeof(o->sop_class), "1.2");
	(void)snprintf(o->sop_uid, sizeof(o->sop_uid), "1.3");
	(void)snprintf(o->series_uid, sizeof(o->series_uid), "1.4");
	(void)snprintf(o->study_uid, sizeof(o->study_uid), "1.5");
	o->original_plan = &liar_plan;
	o->n_original_plan = 1;
}

static void
liar_send(const struct img_object *o, const int *fds, uint32_t n)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES), d = BUF_MAX(MIB);
	bool by_memfd;

	msg_put_detail(&d, o);
	msg_put_object(&b, o, buf_slice(&d), &by_memfd);
	(void)!frame_send(3, &b, fds, n, 1000);
	buf_fini(&b);
	buf_fini(&d);
}

static int
liar_memfd(bool seal)
{
	int fd = sealed_new();

	(void)!sealed_write(fd, SLICE_LIT("voxels"));
	if (seal)
		(void)!sealed_close_writes(fd);
	return fd;
}

static void
liar_bytes(const void *p, size_t n)
{
	(void)!send(3, p, n, MSG_NOSIGNAL);
}

static void
liar_done(void)
{
	struct buf b = BUF_MAX(1024);
	struct img_done d = { .stored = 1, .reason = "file" };

	msg_put_done(&b, &d);
	(void)!frame_send(3, &b, NULL, 0, 1000);
	buf_fini(&b);
}

static void
liar_about_object(const char *lie)
{
	int fds[8];
	uint32_t n = 1, i;
	struct img_object o;

	liar_object(&o);
	fds[0] = liar_memfd(strcmp(lie, "UNSEALED") != 0);
	if (strcmp(lie, "SIZE") == 0) {
		o.original.n = 7;
		liar_plan.len = 7;
	} else if (strcmp(lie, "NOMEMFD") == 0) {
		fds[0] = open("/dev/null", O_RDONLY);
	} else if (strcmp(lie, "NOFD") == 0) {
		n = 0;
	} else if (strcmp(lie, "MOREFDS") == 0) {
		for (n = 2, i = 1; i < n; i++)
			fds[i] = liar_memfd(true);
	} else if (strcmp(lie, "PLAN") == 0) {
		liar_plan.off = 4; /* 4 + 6 > 6 */
	} else if (strcmp(lie, "PLANWRAP") == 0) {
		liar_plan.off = UINT64_MAX - 2;
	} else if (strcmp(lie, "PIECEKIND") == 0) {
		liar_plan.kind = 9;
	} else if (strcmp(lie, "UID") == 0) {
		(void)snprintf(o.sop_uid, sizeof(o.sop_uid), "1.3/../x");
	} else if (strcmp(lie, "NOUID") == 0) {
		o.study_uid[0] = '\0';
	} else if (strcmp(lie, "RELEASE") == 0) {
		o.releasable = true; /* without a de-identified form */
	} else if (strcmp(lie, "FIELDS") == 0) {
		o.fields = SLICE_LIT("\xdf\xff\xff\xff\xff");
	} else if (strcmp(lie, "MODALITY") == 0) {
		(void)snprintf(o.modality, sizeof(o.modality), "\x1b[31m");
	}
	liar_send(&o, fds, n);
}

static int
liar_main(void)
{
	static uint8_t big[IMG_FRAME_BYTES + 1000];
	struct frame f;
	struct mp_doc d;
	struct msg_config c;
	uint32_t kind;

	if (frame_init(&f) != ERR_OK || frame_recv(3, 5000, &f) != ERR_OK ||
	    msg_open(slice_of(f.bytes, f.n), &d, &kind) != ERR_OK ||
	    msg_get_config(&d, &c) != ERR_OK)
		_exit(3);
	if (strcmp(c.called_ae, "EXIT") == 0)
		_exit(0);
	if (strcmp(c.called_ae, "GARBAGE") == 0)
		liar_bytes("\xc1garbage", 8);
	else if (strcmp(c.called_ae, "BIG") == 0)
		liar_bytes(big, sizeof(big));
	else if (strcmp(c.called_ae, "COUNT") == 0)
		liar_bytes("\x81\xa1k\xdd\xff\xff\xff\xff", 8);
	else if (strcmp(c.called_ae, "KIND") == 0)
		liar_bytes("\x81\xa1k\x4d", 4);
	else if (strcmp(c.called_ae, "RESULT") == 0)
		liar_bytes("\x81\xa1k\x04", 4); /* not in this mode */
	else if (strcmp(c.called_ae, "ASSOC") == 0)
		liar_bytes("\x81\xa1k\x01", 4); /* nor this one */
	else if (strcmp(c.called_ae, "HONEST") == 0)
		liar_done();
	else if (strcmp(c.called_ae, "SILENT") != 0)
		liar_about_object(c.called_ae);
	for (;;)
		(void)pause();
}

/* --- the tests --- */

static struct imaging *
start(const char *lie)
{
	struct imaging_opts o = { .program = "/proc/self/exe",
		.mode = IMAGING_IMPORT,
		.called_ae = lie };
	struct imaging *im = NULL;
	struct errmsg em;

	assert_int_equal(imaging_spawn(&o, &im, &em), ERR_OK);
	return im;
}

static void
test_lies_are_caught_and_the_liar_killed(void **state)
{
	static const char *const lies[] = { "GARBAGE", "BIG", "COUNT", "KIND",
		"RESULT", "ASSOC", "UNSEALED", "SIZE", "NOMEMFD", "NOFD",
		"MOREFDS", "PLAN", "PLANWRAP", "PIECEKIND", "UID", "NOUID",
		"RELEASE", "FIELDS", "MODALITY" };
	struct imaging *im;
	struct img_msg m;
	uint64_t from;
	enum err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		im = start(lies[i]);
		e = imaging_next(im, WAIT_MS, &m);
		if (e != ERR_MALFORMED)
			fail_msg("%s: %s", lies[i], err_text(e));
		assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_FOREIGN);
		assert_int_equal(imaging_answer_stored(im, 0), ERR_FOREIGN);
		from = clock_mono_ms();
		imaging_close(im); /* it would sleep for ever */
		assert_true(clock_mono_ms() - from < 900);
	}
}

static void
test_truth_is_believed(void **state)
{
	struct imaging *im = start("OBJECT");
	struct img_msg m;

	(void)state;
	assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
	assert_int_equal(m.kind, IMG_OBJECT);
	assert_true(slice_eq(m.object.original, SLICE_LIT("voxels")));
	assert_int_equal(m.object.n_original_plan, 1);
	assert_string_equal(m.object.sop_uid, "1.3");
	imaging_close(im);
	im = start("HONEST");
	assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
	assert_int_equal(m.kind, IMG_DONE);
	assert_int_equal(m.done.stored, 1);
	imaging_close(im);
}

static void
test_silence_times_out_and_close_kills(void **state)
{
	struct imaging *im = start("SILENT");
	struct img_msg m;
	pid_t pid = imaging_pid(im);

	(void)state;
	assert_int_equal(imaging_next(im, 100, &m), ERR_TIMEOUT);
	imaging_close(im);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void
test_end_of_helper_is_foreign(void **state)
{
	struct imaging *im = start("EXIT");
	struct img_msg m;

	(void)state;
	assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_FOREIGN);
	imaging_close(im);
}

static void
test_missing_program_is_an_error(void **state)
{
	struct imaging_opts o = { .program = "/nonexistent/pesscara-imaging",
		.mode = IMAGING_IMPORT };
	struct imaging *im = NULL;
	struct errmsg em = { 0 };

	(void)state;
	assert_int_not_equal(imaging_spawn(&o, &im, &em), ERR_OK);
	assert_null(im);
	assert_true(em.cause[0] != '\0' && em.next[0] != '\0');
	imaging_close(NULL);
}

int
main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lies_are_caught_and_the_liar_killed),
		cmocka_unit_test(test_truth_is_believed),
		cmocka_unit_test(test_silence_times_out_and_close_kills),
		cmocka_unit_test(test_end_of_helper_is_foreign),
		cmocka_unit_test(test_missing_program_is_an_error),
	};

	if (argc == 2 && strcmp(argv[0], "pesscara-imaging") == 0)
		return liar_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
