/* tests/unit/helper/test_receive.c: real senders against the real confined
 * helper; the test plays the node.
 *
 * Claims: what storescu sends arrives bit for bit behind a file meta header
 * of ours; a success reaches the sender only after the node said so; senders
 * are refused by calling AE; broken, silent and vanishing senders end the
 * association and nothing else; a killed helper is noticed at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/imaging/imaging.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define DATA PSC_SOURCE_DIR "/tests/data/dicom/"
#define GE DATA "mr_ge_t1_deidentified/in/IM001.dcm"
#define GE2 DATA "mr_ge_t1_deidentified/in/IM002.dcm"
#define HELPER PSC_BIN_DIR "/pesscara-imaging"
#define WAIT_MS 20000u

extern char **environ;

struct bench {
	int listener;
	char port[8];
	pid_t sender;
	int accepted;
	struct imaging *im;
};

static int
bench_setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);

	assert_non_null(b);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(b->listener >= 0);
	assert_int_equal(
	    bind(b->listener, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->listener, 4), 0);
	assert_int_equal(
	    getsockname(b->listener, (struct sockaddr *)(void *)&a, &n), 0);
	(void)snprintf(b->port, sizeof(b->port), "%u", ntohs(a.sin_port));
	b->accepted = -1;
	*state = b;
	return 0;
}

static int
bench_teardown(void **state)
{
	struct bench *b = *state;

	imaging_close(b->im);
	if (b->sender > 0) {
		(void)kill(b->sender, SIGKILL);
		(void)waitpid(b->sender, NULL, 0);
	}
	if (b->accepted >= 0)
		(void)close(b->accepted);
	(void)close(b->listener);
	mem_free(b);
	return 0;
}

/* Start a sender program; its chatter is not ours. */
static void
bench_send(struct bench *b, const char *const *argv)
{
	posix_spawn_file_actions_t fa;
	union {
		const char *const *in;
		char *const *out;
	} v = { .in = argv };

	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_addopen(
	    &fa, 1, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(
	    &fa, 2, "/dev/null", O_WRONLY, 0);
	assert_int_equal(
	    posix_spawnp(&b->sender, argv[0], &fa, NULL, v.out, environ), 0);
	(void)posix_spawn_file_actions_destroy(&fa);
}

static int
bench_exit(struct bench *b)
{
	int st = 0;

	assert_int_equal(waitpid(b->sender, &st, 0), b->sender);
	b->sender = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static void
bench_start(struct bench *b, struct imaging_opts *o)
{
	struct timeval patience = { .tv_sec = WAIT_MS / 1000 };
	struct errmsg em;

	(void)setsockopt(
	    b->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	b->accepted = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(b->accepted >= 0);
	o->program = HELPER;
	o->mode = IMAGING_RECEIVE;
	o->accepted_fd = b->accepted;
	o->called_ae = "PESSCARA";
	if (o->idle_ms == 0)
		o->idle_ms = 5000;
	assert_int_equal(imaging_spawn(o, &b->im, &em), ERR_OK);
	(void)close(b->accepted);
	b->accepted = -1;
}

/* A plain TCP client of our own, for senders no tool would play. */
static int
bench_connect(struct bench *b)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
	    getsockname(b->listener, (struct sockaddr *)(void *)&a, &n), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&a, n), 0);
	return fd;
}

static void
bench_next(struct bench *b, enum img_msg_kind kind, struct img_msg *m)
{
	assert_int_equal(imaging_next(b->im, WAIT_MS, m), ERR_OK);
	assert_int_equal(m->kind, kind);
}

static void
bench_admit(struct bench *b, struct img_msg *m)
{
	bench_next(b, IMG_ASSOC, m);
	assert_int_equal(imaging_answer_assoc(b->im, true), ERR_OK);
}

/* Every UID gets a new one that the test can recognise. */
static void
bench_context(struct bench *b, const struct img_identity *id)
{
	const char **map = mem_array(id->n_uids, sizeof(*map));
	char(*text)[IMG_UID_MAX + 1] = mem_array(id->n_uids, sizeof(*text));
	struct img_context ctx = {
		.profile = "basic", .subject = "003-0142", .n_uids = id->n_uids
	};
	uint32_t i;

	assert_true(id->n_uids > 0);
	for (i = 0; i < id->n_uids; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "2.25.7%u", i);
		map[i] = text[i];
	}
	ctx.new_uids = map;
	assert_int_equal(imaging_answer_identity(b->im, &ctx), ERR_OK);
	mem_free(map);
	mem_free(text);
}

static struct slice
read_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = mem_new((size_t)st.st_size);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	return slice_of(p, (size_t)st.st_size);
}

static void
free_file(struct slice s)
{
	union {
		const uint8_t *in;
		void *out;
	} u = { .in = s.p };

	mem_free(u.out);
}

/* Offset of the dataset behind the file meta. */
static size_t
dataset_at(struct slice f)
{
	assert_true(f.n > 144 && memcmp(f.p + 128, "DICM", 4) == 0);
	return 144 + (size_t)(f.p[140] | f.p[141] << 8 | f.p[142] << 16);
}

static bool
has_bytes(struct slice in, const char *what)
{
	return memmem(in.p, in.n, what, strlen(what)) != NULL;
}

static void
check_plan(const struct img_piece *p, uint32_t n, size_t bytes)
{
	uint64_t at = 0;
	uint32_t i;

	assert_true(n > 0);
	for (i = 0; i < n; i++) {
		assert_int_equal(p[i].off, at);
		at += p[i].len;
	}
	assert_int_equal(at, bytes);
}

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
	assert_int_equal(imaging_answer_assoc(b->im, false), ERR_OK);
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

static void
test_claimed_two_gib_pdv_allocates_nothing(void **state)
{
	/* P-DATA of 0x80000000 bytes holding one PDV of as many. */
	static const uint8_t lie[] = { 4, 0, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff,
		0xfc, 1, 3, 0, 0, 0, 0 };
	struct bench *b = *state;
	struct imaging_opts o = { .idle_ms = 2000,
		.memory_bytes_max = 512 * MIB };
	struct img_msg m;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	assert_string_equal(m.assoc.calling_ae, "RAWSENDER");
	read_accept(fd);
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
	struct imaging_opts o = { .idle_ms = 2000 };
	struct img_msg m;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	read_accept(fd);
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
	struct imaging_opts o = { .idle_ms = 3000 };
	struct buf d = BUF_MAX(1024);
	struct img_msg m;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	read_accept(fd);
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
	struct imaging_opts o = { .idle_ms = 3000 };
	struct buf d = BUF_MAX(1024);
	struct img_msg m;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	read_accept(fd);
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
	struct imaging_opts o = { .idle_ms = 5000 };
	struct buf out = BUF_MAX(64 * KIB);
	uint8_t part[4096] = { 0 };
	struct img_msg m;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	read_accept(fd);
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
	struct imaging_opts o = { .idle_ms = 1000 };
	struct buf out = BUF_MAX(64 * KIB);
	struct img_msg m;
	uint64_t from;
	int fd = bench_connect(b);

	send_assoc(fd);
	bench_start(b, &o);
	bench_admit(b, &m);
	read_accept(fd);
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

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

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
