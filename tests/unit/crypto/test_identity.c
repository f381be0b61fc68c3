/* Certificates, printable keys, fingerprints: only what the site root signed
 * is believed, and a mistyped key is noticed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/identity.h"

static struct cry_identity id;

static struct slice
cert_slice(const struct cry_cert *c)
{
	return slice_of(c->b, sizeof(c->b));
}

static void
test_certificate_gives_back_the_keys_it_was_made_for(void **state)
{
	struct cry_device_pub got;

	(void)state;
	assert_int_equal(cry_cert_check(cert_slice(&id.cert), &got), 0);
	assert_memory_equal(&got, &id.pub, sizeof(got));
}

static void
test_any_flipped_bit_of_a_certificate_is_refused(void **state)
{
	struct cry_device_pub got;
	struct cry_cert c = id.cert;
	size_t i;
	enum err e;

	(void)state;
	for (i = 0; i < sizeof(c.b) * 8; i++) {
		c.b[i / 8] ^= (uint8_t)(1u << (i % 8));
		e = cry_cert_check(cert_slice(&c), &got);
		/* version and kind are form, the rest is signature */
		assert_int_equal(e, i < 16 ? ERR_MALFORMED : ERR_AUTH);
		c.b[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
}

static void
test_certificate_of_another_length_is_malformed(void **state)
{
	uint8_t longer[CRY_CERT_BYTES + 1] = { 0 };
	struct cry_device_pub got;
	size_t n;

	(void)state;
	memcpy(longer, id.cert.b, CRY_CERT_BYTES);
	for (n = 0; n <= sizeof(longer); n++) {
		if (n != CRY_CERT_BYTES)
			assert_int_equal(
			    cry_cert_check(slice_of(longer, n), &got),
			    ERR_MALFORMED);
	}
}

/* A site may sign nonsense keys: they are refused even so. */
static void
test_signed_key_of_low_order_is_refused(void **state)
{
	struct cry_device_pub bad = id.pub, got;
	struct cry_cert c;

	(void)state;
	memset(bad.box.b, 0, sizeof(bad.box.b));
	cry_cert_issue(&id.site_sk, &bad, 7, &c);
	assert_int_equal(cry_cert_check(cert_slice(&c), &got), ERR_MALFORMED);
	bad = id.pub;
	memset(bad.sign.b, 0, sizeof(bad.sign.b));
	bad.sign.b[0] = 1; /* the neutral element */
	cry_cert_issue(&id.site_sk, &bad, 7, &c);
	assert_int_equal(cry_cert_check(cert_slice(&c), &got), ERR_MALFORMED);
}

static void
test_certificate_of_another_site_does_not_pass_for_ours(void **state)
{
	struct cry_identity other;
	struct cry_box_sk recovery;
	struct cry_device_pub got;
	struct cry_cert c;

	(void)state;
	cry_identity_new(&other, &recovery);
	c = other.cert;
	memcpy(c.b + 2, id.pub.site.b, 32); /* claims our site */
	assert_int_equal(cry_cert_check(cert_slice(&c), &got), ERR_AUTH);
	cry_identity_wipe(&other);
}

static void
test_serials_make_different_certificates(void **state)
{
	struct cry_cert a, b;

	(void)state;
	cry_cert_issue(&id.site_sk, &id.pub, 1, &a);
	cry_cert_issue(&id.site_sk, &id.pub, 2, &b);
	assert_memory_equal(&a, &id.cert, sizeof(a));
	assert_memory_not_equal(&a, &b, sizeof(a));
}

static void
test_key_text_round_trip(void **state)
{
	char text[CRY_KEY_TEXT_LEN + 1];
	struct cry_device_pub got;

	(void)state;
	cry_key_text(&id.pub, text);
	assert_int_equal(strlen(text), CRY_KEY_TEXT_LEN);
	assert_int_equal(cry_key_parse(slice_str(text), &got), 0);
	assert_memory_equal(&got, &id.pub, sizeof(got));
}

static void
expect_malformed(const char *text)
{
	struct cry_device_pub got;

	assert_int_equal(cry_key_parse(slice_of(text, CRY_KEY_TEXT_LEN), &got),
	    ERR_MALFORMED);
}

static void
test_any_changed_character_of_a_key_is_noticed(void **state)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"
				       "ABZ018=- \n";
	char text[CRY_KEY_TEXT_LEN + 1];
	size_t i, j;

	(void)state;
	cry_key_text(&id.pub, text);
	for (i = 0; i < CRY_KEY_TEXT_LEN; i++) {
		char was = text[i];

		for (j = 0; j < sizeof(alphabet); j++) { /* NUL too */
			text[i] = alphabet[j];
			if (text[i] != was)
				expect_malformed(text);
		}
		text[i] = was;
	}
}

static void
test_swapped_neighbours_and_wrong_lengths_are_noticed(void **state)
{
	char text[CRY_KEY_TEXT_LEN + 2];
	struct cry_device_pub got;
	size_t i;

	(void)state;
	cry_key_text(&id.pub, text);
	for (i = 0; i + 1 < CRY_KEY_TEXT_LEN; i++) {
		char a = text[i], b = text[i + 1];

		text[i] = b;
		text[i + 1] = a;
		if (a != b)
			assert_int_equal(
			    cry_key_parse(
				slice_of(text, CRY_KEY_TEXT_LEN), &got),
			    ERR_MALFORMED);
		text[i] = a;
		text[i + 1] = b;
	}
	text[CRY_KEY_TEXT_LEN] = 'a';
	for (i = 0; i <= CRY_KEY_TEXT_LEN + 1; i++) {
		if (i != CRY_KEY_TEXT_LEN)
			assert_int_equal(cry_key_parse(slice_of(text, i), &got),
			    ERR_MALFORMED);
	}
}

static void
test_fingerprint_is_eight_groups_and_follows_the_site(void **state)
{
	char a[CRY_FINGERPRINT_LEN + 1], b[CRY_FINGERPRINT_LEN + 1];
	struct cry_sign_pk other = id.pub.site;
	size_t i;

	(void)state;
	cry_fingerprint(&id.pub.site, a);
	assert_int_equal(strlen(a), CRY_FINGERPRINT_LEN);
	for (i = 0; i < CRY_FINGERPRINT_LEN; i++)
		assert_int_equal(a[i] == '-', i % 5 == 4);
	other.b[31] ^= 1;
	cry_fingerprint(&other, b);
	assert_string_not_equal(a, b);
}

static void
test_new_identities_share_nothing(void **state)
{
	struct cry_box_sk recovery, zero_sk = { { 0 } };
	struct cry_identity n;

	(void)state;
	cry_identity_new(&n, &recovery);
	assert_memory_not_equal(n.pub.site.b, id.pub.site.b, 32);
	assert_memory_not_equal(n.pub.sign.b, n.pub.site.b, 32);
	assert_memory_not_equal(n.local.b, id.local.b, 32);
	assert_memory_not_equal(n.local.b, n.convergence.b, 32);
	assert_memory_not_equal(recovery.b, zero_sk.b, 32);
	cry_identity_wipe(&n);
	assert_memory_equal(n.box_sk.b, zero_sk.b, 32);
}

static void
test_recovery_secret_opens_what_was_sealed_to_recovery(void **state)
{
	struct buf c = BUF_MAX(256), p = BUF_MAX(256);
	struct cry_box_sk recovery;
	struct cry_identity n;

	(void)state;
	cry_identity_new(&n, &recovery);
	cry_seal(&n.recovery, SLICE_LIT("epoch"), &c);
	assert_int_equal(
	    cry_unseal(&n.recovery, &recovery, buf_slice(&c), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("epoch")));
	buf_fini(&c);
	buf_fini(&p);
}

static int
setup(void **state)
{
	struct cry_box_sk recovery;

	(void)state;
	if (cry_init() != ERR_OK)
		return -1;
	cry_identity_new(&id, &recovery);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_certificate_gives_back_the_keys_it_was_made_for),
		cmocka_unit_test(
		    test_any_flipped_bit_of_a_certificate_is_refused),
		cmocka_unit_test(
		    test_certificate_of_another_length_is_malformed),
		cmocka_unit_test(test_signed_key_of_low_order_is_refused),
		cmocka_unit_test(
		    test_certificate_of_another_site_does_not_pass_for_ours),
		cmocka_unit_test(test_serials_make_different_certificates),
		cmocka_unit_test(test_key_text_round_trip),
		cmocka_unit_test(
		    test_any_changed_character_of_a_key_is_noticed),
		cmocka_unit_test(
		    test_swapped_neighbours_and_wrong_lengths_are_noticed),
		cmocka_unit_test(
		    test_fingerprint_is_eight_groups_and_follows_the_site),
		cmocka_unit_test(test_new_identities_share_nothing),
		cmocka_unit_test(
		    test_recovery_secret_opens_what_was_sealed_to_recovery),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
