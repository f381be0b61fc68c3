/* Air-gap files from hostile bytes, at their reader and at its neighbour: who
 * has not the key gets no part believed; a part that does open is one that a
 * writer sealed. */
#include "replication/air.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct cry_identity me, writer;
static bool ready;

static void
once(void)
{
	struct cry_box_sk recovery;

	if (ready)
		return;
	REQUIRE(cry_init() == ERR_OK);
	cry_identity_new(&me, &recovery);
	cry_identity_new(&writer, &recovery);
	ready = true;
}

/* Input: what a file is changed by: {position u16, value u8}*. */
static void
altered(struct slice in)
{
	struct buf file = BUF_MAX(64 * KIB), out = BUF_MAX(64 * KIB);
	struct cry_device_pub from;
	struct air a, b;
	bool same = true;
	uint32_t len;
	enum err e;

	REQUIRE(air_write_begin(&a, &writer, &me.pub.box, &file) == ERR_OK);
	air_write_end(&a, &file);
	for (size_t i = 0; i + 3 <= in.n; i += 3) {
		size_t at = (in.p[i] | (size_t)in.p[i + 1] << 8) % file.n;

		same = same && in.p[i + 2] == 0;
		file.p[at] ^= in.p[i + 2];
	}
	e = air_read_begin(&b, &me, slice_of(file.p, AIR_HEAD_BYTES));
	if (e == ERR_OK &&
	    air_part_len(file.p + AIR_HEAD_BYTES, &len) == ERR_OK &&
	    len <= file.n - AIR_HEAD_BYTES - 4)
		e = air_read(
		    &b, 0, slice_of(file.p + AIR_HEAD_BYTES + 4, len), &out);
	if (e == ERR_OK && out.n > 0) {
		REQUIRE(air_from(&b, slice_of(out.p + 1, out.n - 1), &from) ==
			ERR_OK);
		REQUIRE(memcmp(&from, &writer.pub, sizeof(from)) == 0);
	}
	REQUIRE(!same || (e == ERR_OK && out.n > 0));
	buf_fini(&file);
	buf_fini(&out);
	air_fini(&a);
	air_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_of(p, n);
	struct buf out = BUF_MAX(2 * MIB);
	struct cry_device_pub from;
	struct air a = { 0 };
	uint32_t len;

	once();
	REQUIRE(air_read_begin(&a, &me, in) != ERR_OK);
	REQUIRE(air_read(&a, 0, in, &out) != ERR_OK);
	REQUIRE(air_from(&a, in, &from) != ERR_OK);
	(void)air_is_end(in, 7);
	if (n >= 4 && air_part_len(p, &len) == ERR_OK)
		REQUIRE(len <= AIR_PART_MAX);
	buf_fini(&out);
	altered(in);
	return 0;
}
