/* Invites and claims: the secret, and only the secret, opens a claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/member.h"

static struct invite
sample(void)
{
	struct invite v;

	memset(&v, 0, sizeof(v));
	memset(v.share.b, 1, sizeof(v.share.b));
	memset(v.registrar.b, 2, sizeof(v.registrar.b));
	memset(v.secret, 3, sizeof(v.secret));
	v.expires_s = 1800000000;
	v.n_addrs = 2;
	memcpy(v.addrs[0].host, "hub.example.org", 16);
	v.addrs[0].port = 7411;
	memset(v.addrs[0].key.b, 4, 32);
	memcpy(v.addrs[1].host, "2001:db8::1", 12);
	v.addrs[1].port = 443;
	memset(v.addrs[1].key.b, 5, 32);
	return v;
}

static void
test_invite_round_trip(void **state)
{
	struct invite v = sample(), back;
	struct buf b = BUF_MAX(4 * KIB);

	(void)state;
	assert_int_equal(invite_encode(&v, &b), ERR_OK);
	assert_memory_equal(b.p, "psi1", 4);
	memset(&back, 0, sizeof(back));
	assert_int_equal(invite_decode(buf_slice(&b), &back), ERR_OK);
	assert_memory_equal(&v, &back, sizeof(v));
	buf_fini(&b);
}

static void
test_invite_any_wrong_character_is_noticed(void **state)
{
	struct invite v = sample(), back;
	struct buf b = BUF_MAX(4 * KIB);

	(void)state;
	assert_int_equal(invite_encode(&v, &b), ERR_OK);
	for (size_t i = 0; i < b.n; i++) {
		uint8_t was = b.p[i];

		b.p[i] = was == 'a' ? 'b' : 'a';
		assert_int_equal(
		    invite_decode(buf_slice(&b), &back), ERR_MALFORMED);
		b.p[i] = was;
	}
	for (size_t n = 0; n < b.n; n++)
		assert_int_not_equal(
		    invite_decode(slice_of(b.p, n), &back), ERR_OK);
	buf_fini(&b);
}

static void
test_invite_bounds(void **state)
{
	struct invite v = sample();
	struct buf b = BUF_MAX(4 * KIB);

	(void)state;
	v.n_addrs = 5;
	assert_int_equal(invite_encode(&v, &b), ERR_LIMIT);
	v = sample();
	v.addrs[0].host[3] = ' ';
	assert_int_equal(invite_encode(&v, &b), ERR_MALFORMED);
	v = sample();
	memset(v.addrs[0].host, 'x', sizeof(v.addrs[0].host));
	assert_int_equal(invite_encode(&v, &b), ERR_MALFORMED);
	v = sample();
	assert_false(invite_expired(&v, 1799999999));
	assert_true(invite_expired(&v, 1800000000));
	buf_fini(&b);
}

static void
test_claim_opens_only_with_the_secret(void **state)
{
	struct invite v = sample(), wrong;
	struct cry_box_sk recovery;
	struct cry_device_pub dev;
	struct cry_identity me;
	struct invite_id a, b;
	char name[LIM_NAME_BYTES + 1];
	struct buf c = BUF_MAX(CLAIM_BYTES_MAX);

	(void)state;
	cry_identity_new(&me, &recovery);
	assert_int_equal(claim_build(&v, &me, "centre 7", &c), ERR_OK);
	assert_int_equal(claim_invite(buf_slice(&c), &a), ERR_OK);
	invite_id(&v, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(claim_open(buf_slice(&c), &v, &dev, name), ERR_OK);
	assert_memory_equal(&dev, &me.pub, sizeof(dev));
	assert_string_equal(name, "centre 7");
	wrong = v;
	wrong.secret[0] ^= 1;
	assert_int_equal(
	    claim_open(buf_slice(&c), &wrong, &dev, name), ERR_AUTH);
	wrong = v;
	wrong.share.b[0] ^= 1;
	assert_int_equal(
	    claim_open(buf_slice(&c), &wrong, &dev, name), ERR_AUTH);
	/* a carrier reads neither who nor which site */
	assert_null(memmem(c.p, c.n, me.pub.sign.b, 32));
	assert_null(memmem(c.p, c.n, "centre", 6));
	buf_fini(&c);
}

static void
test_claim_every_flipped_byte_is_refused(void **state)
{
	struct invite v = sample();
	struct cry_box_sk recovery;
	struct cry_device_pub dev;
	struct cry_identity me;
	char name[LIM_NAME_BYTES + 1];
	struct buf c = BUF_MAX(CLAIM_BYTES_MAX);

	(void)state;
	cry_identity_new(&me, &recovery);
	assert_int_equal(claim_build(&v, &me, "centre 7", &c), ERR_OK);
	for (size_t i = 0; i < c.n; i++) {
		c.p[i] ^= 4;
		assert_int_not_equal(
		    claim_open(buf_slice(&c), &v, &dev, name), ERR_OK);
		c.p[i] ^= 4;
	}
	for (size_t n = 0; n < c.n; n++)
		assert_int_not_equal(
		    claim_open(slice_of(c.p, n), &v, &dev, name), ERR_OK);
	buf_fini(&c);
}

static void
test_claim_needs_the_certified_key(void **state)
{
	struct invite v = sample();
	struct cry_box_sk recovery;
	struct cry_device_pub dev;
	struct cry_identity me, thief;
	char name[LIM_NAME_BYTES + 1];
	struct buf c = BUF_MAX(CLAIM_BYTES_MAX);

	(void)state;
	cry_identity_new(&me, &recovery);
	cry_identity_new(&thief, &recovery);
	thief.cert = me.cert; /* someone else's certificate */
	assert_int_equal(claim_build(&v, &thief, "x", &c), ERR_OK);
	assert_int_equal(claim_open(buf_slice(&c), &v, &dev, name), ERR_AUTH);
	assert_int_equal(claim_build(&v, &me, "", &c), ERR_LIMIT);
	buf_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invite_round_trip),
		cmocka_unit_test(test_invite_any_wrong_character_is_noticed),
		cmocka_unit_test(test_invite_bounds),
		cmocka_unit_test(test_claim_opens_only_with_the_secret),
		cmocka_unit_test(test_claim_every_flipped_byte_is_refused),
		cmocka_unit_test(test_claim_needs_the_certified_key),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
