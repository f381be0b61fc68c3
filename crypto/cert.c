/* crypto/cert.c: device certificates, printable keys, fingerprints.
 *
 * All of these come from strangers: the length is fixed, every field is
 * bounded by it, and keys must be usable points before they are returned. */
#include "crypto/crypto_internal.h"
#include "crypto/identity.h"
#include "store/base/enc.h"
#include "store/base/rd.h"

#define CERT_VERSION 1u
#define CERT_KIND_DEVICE 1u
#define CERT_DOMAIN "cert"
#define CERT_BODY_BYTES (CRY_CERT_BYTES - 64u)

#define KEY_PREFIX "psk1"
#define KEY_CHECK_BYTES 4u
#define KEY_RAW_BYTES (96u + KEY_CHECK_BYTES)
_Static_assert(
    CRY_KEY_TEXT_LEN == sizeof(KEY_PREFIX) - 1 + ENC_B32_LEN(KEY_RAW_BYTES),
    "length of a printable key");

void
cry_cert_issue(const struct cry_sign_sk *site_sk,
    const struct cry_device_pub *dev, uint64_t serial, struct cry_cert *out)
{
	uint8_t *at = out->b;
	struct cry_sig sig;
	size_t i;

	/* libsodium keeps the public key in the second half. */
	REQUIRE(memcmp(site_sk->b + 32, dev->site.b, 32) == 0);
	*at++ = CERT_VERSION;
	*at++ = CERT_KIND_DEVICE;
	memcpy(at, dev->site.b, 32);
	memcpy(at + 32, dev->sign.b, 32);
	memcpy(at + 64, dev->box.b, 32);
	at += 96;
	for (i = 0; i < 8; i++)
		*at++ = (uint8_t)(serial >> (8 * i));
	memset(at, 0, 4); /* caps: none defined yet */
	cry_sign(site_sk, CERT_DOMAIN, slice_of(out->b, CERT_BODY_BYTES), &sig);
	memcpy(out->b + CERT_BODY_BYTES, sig.b, sizeof(sig.b));
}

static bool
cert_keys_ok(const struct cry_device_pub *d)
{
	return cry_sign_pk_ok(&d->site) && cry_sign_pk_ok(&d->sign) &&
	       cry_box_pk_ok(&d->box);
}

enum err
cry_cert_check(struct slice in, struct cry_device_pub *out)
{
	struct cry_device_pub d;
	struct cry_sig sig;
	struct rd r = rd_init(in);

	if (in.n != CRY_CERT_BYTES)
		return ERR_MALFORMED;
	if (rd_u8(&r) != CERT_VERSION || rd_u8(&r) != CERT_KIND_DEVICE)
		return ERR_MALFORMED;
	rd_copy(&r, d.site.b, sizeof(d.site.b));
	rd_copy(&r, d.sign.b, sizeof(d.sign.b));
	rd_copy(&r, d.box.b, sizeof(d.box.b));
	(void)rd_u64(&r); /* serial */
	(void)rd_u32(&r); /* caps */
	rd_copy(&r, sig.b, sizeof(sig.b));
	if (rd_end(&r) != ERR_OK)
		return ERR_MALFORMED;
	if (cry_verify(&d.site, CERT_DOMAIN, slice_of(in.p, CERT_BODY_BYTES),
		&sig) != ERR_OK)
		return ERR_AUTH;
	if (!cert_keys_ok(&d))
		return ERR_MALFORMED;
	*out = d;
	return ERR_OK;
}

static void
key_check(const uint8_t keys[96], uint8_t out[KEY_CHECK_BYTES])
{
	struct cry_id h;

	cry_hash(slice_of(keys, 96), &h);
	memcpy(out, h.b, KEY_CHECK_BYTES);
}

void
cry_key_text(const struct cry_device_pub *dev, char out[CRY_KEY_TEXT_LEN + 1])
{
	uint8_t raw[KEY_RAW_BYTES];

	memcpy(raw, dev->site.b, 32);
	memcpy(raw + 32, dev->sign.b, 32);
	memcpy(raw + 64, dev->box.b, 32);
	key_check(raw, raw + 96);
	memcpy(out, KEY_PREFIX, sizeof(KEY_PREFIX) - 1);
	enc_b32(slice_of(raw, sizeof(raw)), out + sizeof(KEY_PREFIX) - 1);
}

enum err
cry_key_parse(struct slice text, struct cry_device_pub *out)
{
	const size_t skip = sizeof(KEY_PREFIX) - 1;
	uint8_t raw[KEY_RAW_BYTES], check[KEY_CHECK_BYTES];
	struct cry_device_pub d;
	enum err e;

	if (text.n != CRY_KEY_TEXT_LEN || memcmp(text.p, KEY_PREFIX, skip) != 0)
		return ERR_MALFORMED;
	e = dec_b32(slice_of(text.p + skip, text.n - skip), raw, sizeof(raw));
	if (e != ERR_OK)
		return ERR_MALFORMED;
	key_check(raw, check);
	if (memcmp(check, raw + 96, sizeof(check)) != 0)
		return ERR_MALFORMED;
	memcpy(d.site.b, raw, 32);
	memcpy(d.sign.b, raw + 32, 32);
	memcpy(d.box.b, raw + 64, 32);
	if (!cert_keys_ok(&d))
		return ERR_MALFORMED;
	*out = d;
	return ERR_OK;
}

void
cry_fingerprint(
    const struct cry_sign_pk *site, char out[CRY_FINGERPRINT_LEN + 1])
{
	char b32[ENC_B32_LEN(20) + 1];
	struct cry_id h;
	size_t i, o = 0;

	cry_hash(slice_of(site->b, sizeof(site->b)), &h);
	enc_b32(slice_of(h.b, 20), b32);
	for (i = 0; i < ENC_B32_LEN(20); i++) {
		if (i > 0 && i % 4 == 0)
			out[o++] = '-';
		out[o++] = b32[i];
	}
	out[o] = '\0';
}
