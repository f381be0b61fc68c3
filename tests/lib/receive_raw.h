/* tests/lib/receive_raw.h: senders of our own against the real helper, for what
 * no tool would send. */
#ifndef PSC_TESTS_RECEIVE_RAW_H
#define PSC_TESTS_RECEIVE_RAW_H

#include "lib/receive_bench.h"

static void
put_item(struct buf *b, uint8_t type, const char *text)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	buf_u8(b, (uint8_t)(strlen(text) >> 8));
	buf_u8(b, (uint8_t)strlen(text));
	buf_put_str(b, text);
}

/* A minimal A-ASSOCIATE-RQ for CT image storage, explicit little endian;
 * window: operations it would have unanswered, -1: it does not ask. */
static void
send_assoc(int fd, int window)
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
	if (window >= 0) {
		b.p[b.n - 9] = 16;
		buf_put(&b, "\x53\0\0\4\0", 5);
		buf_u8(&b, (uint8_t)window);
		buf_put(&b, "\0\1", 2);
	}
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

/* The window that it grants; -1: it says nothing of it. */
static int
read_accept(int fd)
{
	uint8_t ac[1024];
	ssize_t n = read(fd, ac, sizeof(ac)), i;

	assert_true(n > 6);
	assert_int_equal(ac[0], 2);
	assert_int_equal(n, 6 + (ac[4] << 8 | ac[5]));
	for (i = n - 8; i > 74; i--) {
		if (memcmp(ac + i, "\x53\0\0\4", 4) == 0)
			return ac[i + 4] << 8 | ac[i + 5];
	}
	return -1;
}

/* A sender of ours with an open association; its socket. */
static int
raw_open(struct bench *b, struct imaging_opts o, int window, struct img_msg *m)
{
	int fd = bench_connect(b);

	send_assoc(fd, window);
	bench_start(b, &o);
	bench_admit(b, m);
	assert_int_equal(
	    read_accept(fd), m->assoc.window == 1 ? -1 : (int)m->assoc.window);
	return fd;
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
raw_store(int fd, const struct buf *data, const char *sop)
{
	struct buf out = BUF_MAX(64 * KIB);

	put_store_pdu(&out, "1.2.840.10008.5.1.4.1.1.2", sop);
	put_data_pdu(&out, data->p, data->n, true);
	assert_int_equal(buf_err(&out), ERR_OK);
	assert_int_equal(write(fd, out.p, out.n), (ssize_t)out.n);
	buf_fini(&out);
}

static void
put_dataset(struct buf *d, const char *sop)
{
	put_ui(d, 0x0008, 0x0016, "1.2.840.10008.5.1.4.1.1.2");
	put_ui(d, 0x0008, 0x0018, sop);
	put_ui(d, 0x0020, 0x000D, "1.2.3.50");
	put_ui(d, 0x0020, 0x000E, "1.2.3.60");
}

#endif
