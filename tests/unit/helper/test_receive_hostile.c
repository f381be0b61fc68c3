/* tests/unit/helper/test_receive_hostile.c: broken, silent, lying and
 * vanishing senders end their association and nothing else. */
#include "lib/receive_bench.h"

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

/* A minimal A-ASSOCIATE-RQ for CT image storage, explicit little endian. */
static void
put_item(struct buf *b, uint8_t type, const char *text)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	buf_u8(b, (uint8_t)(strlen(text) >> 8));
	buf_u8(b, (uint8_t)strlen(text));
	buf_put_str(b, text);
}

static void
send_assoc(int fd)
{
	struct buf b = BUF_MAX(4096), pc = BUF_MAX(512), all = BUF_MAX(4096);

	buf_be32(&pc, 0x01000000); /* context 1 */
	put_item(&pc, 0x30, "1.2.840.10008.5.1.4.1.1.2");
	put_item(&pc, 0x40, "1.2.840.10008.1.2.1");
	buf_put(&b, "\0\1\0\0", 4);
	buf_put_str(&b, "PESSCARA        RAWSENDER       ");
	buf_put_zero(&b, 32);
	put_item(&b, 0x10, "1.2.840.10008.3.1.1.1");
	buf_u8(&b, 0x20);
	buf_u8(&b, 0);
	buf_u8(&b, 0);
	buf_u8(&b, (uint8_t)pc.n);
	buf_put_slice(&b, buf_slice(&pc));
	buf_put(&b, "\x50\0\0\x08\x51\0\0\4\0\0\x40\0", 12);
	buf_u8(&all, 1);
	buf_u8(&all, 0);
	buf_be32(&all, (uint32_t)b.n);
	buf_put_slice(&all, buf_slice(&b));
	assert_int_equal(buf_err(&all), ERR_OK);
	assert_int_equal(write(fd, all.p, all.n), (ssize_t)all.n);
	buf_fini(&b);
	buf_fini(&pc);
	buf_fini(&all);
}

static void
read_accept(int fd)
{
	uint8_t ac[1024];

	assert_true(read(fd, ac, sizeof(ac)) > 6);
	assert_int_equal(ac[0], 2);
}

/* A sender of ours with an open association; its socket. */
static int
raw_open(struct bench *b, struct imaging_opts o, struct img_msg *m)
{
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, m);
	read_accept(fd);
	return fd;
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
	    &m);
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

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 2000 }, &m);
	assert_int_equal(write(fd, lie, sizeof(lie)), sizeof(lie));
	bench_next(b, IMG_DONE, &m);
	assert_int_equal(m.done.stored, 0);
	(void)close(fd);
}

/* C-STORE-RQ command for context 1; class and instance given. */
static void
put_store_pdu(struct buf *out, const char *class_uid, const char *sop_uid)
{
	struct buf c = BUF_MAX(1024);

	buf_put(&c, "\0\0\2\0", 4);
	buf_u32(&c, (uint32_t)strlen(class_uid));
	buf_put_str(&c, class_uid);
	buf_put(&c, "\0\0\0\1\2\0\0\0\1\0", 10);
	buf_put(&c, "\0\0\x10\1\2\0\0\0\7\0", 10);
	buf_put(&c, "\0\0\0\x08\2\0\0\0\1\0", 10);
	buf_put(&c, "\0\0\0\x10", 4);
	buf_u32(&c, (uint32_t)strlen(sop_uid));
	buf_put_str(&c, sop_uid);
	buf_u8(out, 4);
	buf_u8(out, 0);
	buf_be32(out, (uint32_t)c.n + 6);
	buf_be32(out, (uint32_t)c.n + 2);
	buf_u8(out, 1);
	buf_u8(out, 3);
	buf_put_slice(out, buf_slice(&c));
	buf_fini(&c);
}

static void
put_data_pdu(struct buf *out, const void *p, size_t n, bool last)
{
	buf_u8(out, 4);
	buf_u8(out, 0);
	buf_be32(out, (uint32_t)n + 6);
	buf_be32(out, (uint32_t)n + 2);
	buf_u8(out, 1);
	buf_u8(out, last ? 2 : 0);
	buf_put(out, p, n);
}

static void
put_ui(struct buf *b, uint16_t g, uint16_t e, const char *uid)
{
	size_t n = strlen(uid);

	buf_u16(b, g);
	buf_u16(b, e);
	buf_put_str(b, "UI");
	buf_u16(b, (uint16_t)(n + n % 2));
	buf_put_str(b, uid);
	buf_put_zero(b, n % 2);
}

static uint16_t
read_status(int fd)
{
	uint8_t in[512];
	ssize_t n = read(fd, in, sizeof(in));
	ssize_t i;

	assert_true(n > 20);
	for (i = 12; i + 10 <= n; i++) { /* (0000,0900) US */
		if (memcmp(in + i, "\0\0\0\x09\2\0\0\0", 8) == 0)
			return (uint16_t)(in[i + 8] | in[i + 9] << 8);
	}
	fail_msg("no status in the answer");
	return 0;
}

static void
raw_store(struct bench *b, int fd, const struct buf *data, const char *sop)
{
	struct buf out = BUF_MAX(64 * KIB);

	put_store_pdu(&out, "1.2.840.10008.5.1.4.1.1.2", sop);
	put_data_pdu(&out, data->p, data->n, true);
	assert_int_equal(buf_err(&out), ERR_OK);
	assert_int_equal(write(fd, out.p, out.n), (ssize_t)out.n);
	buf_fini(&out);
	(void)b;
}

static void
put_dataset(struct buf *d, const char *sop)
{
	put_ui(d, 0x0008, 0x0016, "1.2.840.10008.5.1.4.1.1.2");
	put_ui(d, 0x0008, 0x0018, sop);
	put_ui(d, 0x0020, 0x000D, "1.2.3.50");
	put_ui(d, 0x0020, 0x000E, "1.2.3.60");
}

static void
test_command_and_dataset_that_differ_get_a900(void **state)
{
	struct bench *b = *state;
	struct buf d = BUF_MAX(1024);
	struct img_msg m;
	int fd;

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 3000 }, &m);
	put_dataset(&d, "1.2.3.4");
	raw_store(b, fd, &d, "1.2.3.99");
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

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 3000 }, &m);
	put_dataset(&d, "1.2.3.4");
	put_ui(&d, 0x0020, 0x0052, "1.2.3.70");
	d.n -= 5; /* the last value is cut */
	raw_store(b, fd, &d, "1.2.3.4");
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

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 5000 }, &m);
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

	fd = raw_open(b, (struct imaging_opts){ .idle_ms = 1000 }, &m);
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
