/* tests/unit/helper/test_receive.c: real senders against the real confined
 * helper; the test plays the node.
 *
 * Claims: what storescu sends arrives bit for bit behind a file meta header
 * of ours; a success reaches the sender only after the node said so; senders
 * are refused by calling AE; a killed helper is noticed at once. */
#include "lib/receive_bench.h"

static void
test_stored_file_is_what_was_sent(void **state)
{
	static const char *const argv[] = { "storescu", "-aet", "SCANNER1",
		"-aec", "PESSCARA", "127.0.0.1", NULL, GE, NULL };
	const char *v[sizeof(argv) / sizeof(argv[0])];
	struct imaging_opts o = { 0 };
	struct bench *b = *state;
	struct slice file = read_file(GE);
	struct img_msg m;
	size_t at;

	memcpy(v, argv, sizeof(argv));
	v[6] = b->port;
	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	assert_string_equal(m.assoc.calling_ae, "SCANNER1");
	assert_string_equal(m.assoc.called_ae, "PESSCARA");
	assert_string_equal(m.assoc.address, "127.0.0.1");
	bench_next(b, IMG_IDENTITY, &m);
	bench_context(b, &m.identity);
	bench_next(b, IMG_OBJECT, &m);
	assert_true(m.object.parsed);
	assert_string_equal(m.object.sop_class, "1.2.840.10008.5.1.4.1.1.4");
	assert_string_equal(m.object.modality, "MR");
	at = dataset_at(m.object.original);
	/* storescu sends the same syntax when we take it first: the dataset
	 * is the file's own but for group lengths, which it drops. */
	assert_true(m.object.original.n - at + 64 > file.n - dataset_at(file));
	assert_memory_equal(m.object.original.p + m.object.original.n - 4096,
	    file.p + file.n - 4096, 4096);
	assert_true(has_bytes(slice_of(m.object.original.p, at), "SCANNER1"));
	check_plan(m.object.original_plan, m.object.n_original_plan,
	    m.object.original.n);
	assert_true(m.object.deid.n > 0);
	check_plan(m.object.deid_plan, m.object.n_deid_plan, m.object.deid.n);
	assert_int_equal(dataset_at(m.object.deid) < m.object.deid.n, 1);
	/* The sender must still be waiting: nothing was acknowledged. */
	assert_int_equal(waitpid(b->sender, NULL, WNOHANG), 0);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 1);
	assert_int_equal(m.done.refused, 0);
	assert_string_equal(m.done.reason, "release");
	assert_int_equal(bench_exit(b), 0);
	assert_int_equal(imaging_next(b->im, WAIT_MS, &m), ERR_FOREIGN);
	free_file(file);
}

static void
test_many_objects_on_one_association(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "-aet", "SCANNER1", "+sd", "127.0.0.1",
		b->port, DATA "mr_ge_t1_deidentified/in", NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;
	uint32_t objects = 0;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	for (;;) {
		assert_int_equal(imaging_next(b->im, WAIT_MS, &m), ERR_OK);
		if (m.kind == IMG_DONE)
			break;
		if (m.kind == IMG_IDENTITY) {
			bench_context(b, &m.identity);
			continue;
		}
		assert_int_equal(m.kind, IMG_OBJECT);
		assert_true(m.object.parsed);
		objects++;
		assert_int_equal(
		    imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	}
	assert_int_equal(objects, 12);
	assert_int_equal(m.done.stored, 12);
	assert_int_equal(bench_exit(b), 0);
}

static void
test_original_only_when_context_is_skipped(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "127.0.0.1", b->port, GE, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_IDENTITY, &m);
	assert_int_equal(imaging_answer_identity(b->im, NULL), ERR_OK);
	bench_next(b, IMG_OBJECT, &m);
	assert_true(m.object.parsed);
	assert_false(m.object.releasable);
	assert_int_equal(m.object.deid.n, 0);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	assert_int_equal(bench_exit(b), 0);
}

static void
test_echo_is_answered(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "echoscu", "-aet", "SCANNER1", "127.0.0.1", b->port,
		NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_DONE, &m);
	assert_string_equal(m.done.reason, "release");
	assert_int_equal(bench_exit(b), 0);
}

static void
test_second_implementation_is_understood(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "gdcmscu", "--store", "--aetitle", "GDCM", "--call",
		"PESSCARA", "127.0.0.1", b->port, GE, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	assert_string_equal(m.assoc.calling_ae, "GDCM");
	bench_next(b, IMG_IDENTITY, &m);
	bench_context(b, &m.identity);
	bench_next(b, IMG_OBJECT, &m);
	assert_true(m.object.parsed);
	assert_int_equal(imaging_answer_stored(b->im, IMG_STATUS_OK), ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 1);
	/* Debian's gdcmscu 3.0.21 aborts after its own release, against
	 * storescp too: only what reached us counts. */
	(void)bench_exit(b);
}

static void
test_unknown_calling_ae_is_rejected(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "-aet", "STRANGER", "127.0.0.1",
		b->port, GE, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_next(b, IMG_ASSOC, &m);
	assert_string_equal(m.assoc.calling_ae, "STRANGER");
	assert_int_equal(imaging_answer_assoc(b->im, IMG_REFUSED_CALLING_AE,
			     (struct slice){ 0 }),
	    ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_string_equal(m.done.reason, "refused");
	assert_int_equal(m.done.stored, 0);
	assert_int_not_equal(bench_exit(b), 0);
}

static void
test_node_refusal_reaches_the_sender(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "127.0.0.1", b->port, GE, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_IDENTITY, &m);
	bench_context(b, &m.identity);
	bench_next(b, IMG_OBJECT, &m);
	assert_int_equal(
	    imaging_answer_stored(b->im, IMG_STATUS_OUT_OF_RESOURCES), ERR_OK);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.refused, 1);
	assert_int_not_equal(bench_exit(b), 0);
}

static void
test_object_above_limit_gets_a700_and_no_frame(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "storescu", "127.0.0.1", b->port, GE, NULL };
	struct imaging_opts o = { .object_bytes_max = 64 * KIB };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	assert_int_equal(m.done.refused, 1);
	assert_int_not_equal(bench_exit(b), 0);
}

static void
test_find_contexts_are_refused(void **state)
{
	struct bench *b = *state;
	const char *v[] = { "findscu", "-S", "-k", "0008,0052=STUDY",
		"127.0.0.1", b->port, NULL };
	struct imaging_opts o = { 0 };
	struct img_msg m;

	bench_send(b, v);
	bench_start(b, &o);
	bench_admit(b, &m);
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	assert_int_not_equal(bench_exit(b), 0);
}

static void
test_killed_helper_is_noticed_at_once(void **state)
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
	assert_int_equal(kill(imaging_pid(b->im), SIGKILL), 0);
	from = clock_mono_ms();
	assert_int_equal(imaging_next(b->im, WAIT_MS, &m), ERR_FOREIGN);
	assert_int_equal(imaging_answer_identity(b->im, NULL), ERR_FOREIGN);
	imaging_close(b->im);
	b->im = NULL;
	assert_true(clock_mono_ms() - from < 2000);
	assert_int_not_equal(bench_exit(b), 0); /* the sender knows */
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_stored_file_is_what_was_sent),
		T(test_many_objects_on_one_association),
		T(test_original_only_when_context_is_skipped),
		T(test_echo_is_answered),
		T(test_second_implementation_is_understood),
		T(test_unknown_calling_ae_is_rejected),
		T(test_node_refusal_reaches_the_sender),
		T(test_object_above_limit_gets_a700_and_no_frame),
		T(test_find_contexts_are_refused),
		T(test_killed_helper_is_noticed_at_once),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
