/* Membership records, invites and claims from hostile bytes. */
#include "replication/member.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct cry_identity reg;

/* One chain, made once; hostile records must never move it. */
static struct member *
chain(void)
{
	static struct member *m;
	struct cry_box_sk recovery;
	struct buf rec = BUF_MAX(MIB);

	if (m != NULL)
		return m;
	REQUIRE(cry_init() == ERR_OK);
	cry_identity_new(&reg, &recovery);
	REQUIRE(member_build_genesis(&reg, "s", "l", false, &rec) == ERR_OK);
	REQUIRE(member_new(buf_slice(&rec), &m) == ERR_OK);
	buf_fini(&rec);
	return m;
}

/* What is read as a branch gives a chain that ends as it says. */
static void
branch(const struct member *m, struct slice in)
{
	struct member *next = NULL;
	struct member_branch d;

	if (member_branch_read(m, in, &d) == ERR_OK)
		REQUIRE(d.fork <= d.last && d.fork >= d.first);
	if (member_branch_take(m, in, &next) == ERR_OK) {
		REQUIRE(member_is_ours(next, d.last, &d.id));
		member_free(next);
	}
}

/* What is read as a draft signs and joins. */
static void
draft(const struct member *m, struct slice in)
{
	struct buf own = BUF_MAX(MIB), one = BUF_MAX(MIB);
	struct member_draft d;

	if (member_draft_read(m, in, &d) == ERR_OK) {
		REQUIRE(member_draft_sign(m, &reg, in, &own) == ERR_OK);
		REQUIRE(member_draft_join(&in, 1, d.n - 1, &one) == ERR_OK);
	}
	buf_fini(&own);
	buf_fini(&one);
}

/* Hostile content under a registrar's own signature, on a chain of its own:
 * it may stand or not, but what stands is a chain. */
static void
signed_content(struct slice in)
{
	static const uint8_t kinds[] = { 3, 4, 5, 6, 11, 12, 13, 7, 9 };
	struct member *m, *first = chain();
	struct buf b = BUF_MAX(MIB), d = BUF_MAX(MIB);
	struct cry_sig sig;

	REQUIRE(member_new(member_record(first, 0), &m) == ERR_OK);
	buf_u8(&b, 1);
	buf_u8(&b, kinds[in.p[0] % sizeof(kinds)]);
	buf_u16(&b, 0);
	buf_put(&b, member_share(m)->b, 32);
	buf_u64(&b, 1);
	buf_put(&b, member_head(m)->b, 32);
	buf_u64(&b, 0);
	buf_u32(&b, (uint32_t)in.n - 1);
	buf_put(&b, in.p + 1, in.n - 1);
	cry_sign(&reg.sign_sk, "member.1", buf_slice(&b), &sig);
	buf_u8(&b, 1);
	buf_u8(&b, 0);
	buf_put(&b, sig.b, sizeof(sig.b));
	branch(m, in);
	buf_put(&d, "\1\17", 2);
	member_draft_add(&d, buf_slice(&b));
	branch(m, buf_slice(&d));
	buf_reset(&d);
	if (buf_err(&b) == ERR_OK && member_apply(m, buf_slice(&b)) == ERR_OK)
		REQUIRE(member_seq(m) == 1);
	else
		REQUIRE(member_seq(m) == 0);
	(void)member_freeze(m, buf_slice(&b));
	draft(m, in);
	member_draft_begin(&d);
	member_draft_add(&d, buf_slice(&b));
	draft(m, buf_slice(&d));
	buf_fini(&d);
	member_free(m);
	buf_fini(&b);
}

static void
invites(struct slice in)
{
	struct buf again = BUF_MAX(8 * KIB);
	struct invite v;

	if (invite_decode(in, &v) != ERR_OK)
		return;
	REQUIRE(invite_encode(&v, &again) == ERR_OK);
	REQUIRE(slice_eq(in, buf_slice(&again)));
	buf_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct invite v = { .n_addrs = 0 };
	struct slice in = slice_of(p, n);
	char name[LIM_NAME_BYTES + 1];
	struct cry_device_pub dev;
	struct member *own, *m = chain();
	struct invite_id id;

	if (member_new(in, &own) == ERR_OK)
		member_free(own);
	REQUIRE(member_apply(m, in) != ERR_OK);
	/* The same content as the record the chain waits for. */
	if (n > 52) {
		struct buf next = BUF_MAX(MIB);

		buf_u8(&next, 1);
		buf_u8(&next, (uint8_t)(3 + p[0] % 2));
		buf_u16(&next, 0);
		buf_put(&next, member_share(m)->b, 32);
		buf_u64(&next, member_seq(m) + 1);
		buf_put(&next, member_head(m)->b, 32);
		buf_put(&next, p, n);
		REQUIRE(member_apply(m, buf_slice(&next)) != ERR_OK);
		buf_fini(&next);
	}
	if (n > 1)
		signed_content(in);
	invites(in);
	if (claim_invite(in, &id) == ERR_OK)
		REQUIRE(memcmp(id.b, p + 1, sizeof(id.b)) == 0);
	REQUIRE(claim_open(in, &v, &dev, name) != ERR_OK);
	return 0;
}
