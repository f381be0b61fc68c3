/* replication/claim.c: the joiner's answer to an invite.
 *
 * {version u8, invite id 16, nonce 24, AEAD(content)} under a key derived
 * from the invite's secret, so that a hub that carries it learns neither who
 * joins nor the site's name.  Content = certificate, name (padded), and the
 * device's signature over invite id, share and certificate: the claimant
 * holds the certified key. */
#include "replication/member.h"

#include "replication/member_internal.h"
#include "store/base/rd.h"

#define CLAIM_VERSION 1u
#define CLAIM_DOMAIN "claim.1"
#define CLAIM_PLAIN_BYTES (CRY_CERT_BYTES + 1u + LIM_NAME_BYTES + 64u)
#define CLAIM_BYTES                                                            \
	(1u + 16u + CRY_NONCE_BYTES + CLAIM_PLAIN_BYTES + CRY_TAG_BYTES)

_Static_assert(CLAIM_BYTES <= CLAIM_BYTES_MAX, "a claim fits its bound");

static void
claim_key(const struct invite *v, struct cry_key *out)
{
	struct slice parts[3] = { slice_of(v->secret, sizeof(v->secret)),
		slice_of(v->share.b, sizeof(v->share.b)),
		slice_of(v->registrar.b, sizeof(v->registrar.b)) };

	cry_hash_parts(
	    NULL, "psc.claim.key.1", parts, 3, out->b, sizeof(out->b));
}

/* What the device signs, and what the AEAD is bound to. */
static void
claim_bound(const struct invite *v, struct slice cert, struct cry_id *out)
{
	struct invite_id id;
	struct slice parts[3];

	invite_id(v, &id);
	parts[0] = slice_of(id.b, sizeof(id.b));
	parts[1] = slice_of(v->share.b, sizeof(v->share.b));
	parts[2] = cert;
	cry_hash_parts(
	    NULL, "psc.claim.bound.1", parts, 3, out->b, sizeof(out->b));
}

static enum err
claim_plain(const struct invite *v, const struct cry_identity *me,
    const char *site_name, struct buf *out)
{
	struct slice cert = slice_of(me->cert.b, sizeof(me->cert.b));
	struct cry_id bound;
	struct cry_sig sig;
	size_t n = strlen(site_name);

	claim_bound(v, cert, &bound);
	cry_sign(&me->sign_sk, CLAIM_DOMAIN, slice_of(bound.b, sizeof(bound.b)),
	    &sig);
	buf_put_slice(out, cert);
	buf_u8(out, (uint8_t)n);
	buf_put(out, site_name, n);
	buf_put_zero(out, LIM_NAME_BYTES - n);
	buf_put(out, sig.b, sizeof(sig.b));
	return buf_err(out);
}

enum err
claim_build(const struct invite *v, const struct cry_identity *me,
    const char *site_name, struct buf *out)
{
	struct buf plain = BUF_MAX(CLAIM_PLAIN_BYTES);
	uint8_t nonce[CRY_NONCE_BYTES];
	struct invite_id id;
	struct cry_key key;
	enum err e;

	if (!name_ok(site_name))
		return ERR_LIMIT;
	if ((e = claim_plain(v, me, site_name, &plain)) != ERR_OK)
		goto out;
	invite_id(v, &id);
	claim_key(v, &key);
	cry_random(nonce, sizeof(nonce));
	buf_u8(out, CLAIM_VERSION);
	buf_put(out, id.b, sizeof(id.b));
	buf_put(out, nonce, sizeof(nonce));
	cry_aead_seal(
	    &key, nonce, slice_of(id.b, sizeof(id.b)), buf_slice(&plain), out);
	cry_wipe(&key, sizeof(key));
	e = buf_err(out);
out:
	buf_wipe(&plain);
	return e;
}

enum err
claim_invite(struct slice claim, struct invite_id *out)
{
	struct rd r = rd_init(claim);

	if (claim.n != CLAIM_BYTES)
		return ERR_MALFORMED;
	if (rd_u8(&r) != CLAIM_VERSION)
		return ERR_UNSUPPORTED;
	rd_copy(&r, out->b, sizeof(out->b));
	return r.err;
}

static enum err
content_check(struct slice plain, const struct invite *v,
    struct cry_device_pub *device, char site_name[LIM_NAME_BYTES + 1])
{
	struct rd r = rd_init(plain);
	struct slice cert = rd_bytes(&r, CRY_CERT_BYTES);
	uint8_t n = rd_u8(&r);
	struct slice name = rd_bytes(&r, LIM_NAME_BYTES);
	struct cry_device_pub d;
	struct cry_id bound;
	struct cry_sig sig;
	enum err e;

	rd_copy(&r, sig.b, sizeof(sig.b));
	if ((e = rd_end(&r)) != ERR_OK)
		return e;
	if (n > LIM_NAME_BYTES)
		return ERR_MALFORMED;
	if ((e = cry_cert_check(cert, &d)) != ERR_OK)
		return e;
	claim_bound(v, cert, &bound);
	e = cry_verify(
	    &d.sign, CLAIM_DOMAIN, slice_of(bound.b, sizeof(bound.b)), &sig);
	if (e != ERR_OK)
		return e;
	memcpy(site_name, name.p, n);
	site_name[n] = '\0';
	if (!name_ok(site_name))
		return ERR_MALFORMED;
	*device = d;
	return ERR_OK;
}

enum err
claim_open(struct slice claim, const struct invite *v,
    struct cry_device_pub *device, char site_name[LIM_NAME_BYTES + 1])
{
	struct buf plain = BUF_MAX(CLAIM_PLAIN_BYTES + 64u);
	struct invite_id id, want;
	struct cry_key key;
	const uint8_t *nonce;
	enum err e;

	if ((e = claim_invite(claim, &id)) != ERR_OK)
		return e;
	invite_id(v, &want);
	if (!cry_equal(id.b, want.b, sizeof(id.b)))
		return ERR_AUTH;
	nonce = claim.p + 1 + sizeof(id.b);
	claim_key(v, &key);
	e = cry_aead_open(&key, nonce, slice_of(id.b, sizeof(id.b)),
	    slice_of(nonce + CRY_NONCE_BYTES,
		claim.n - 1 - sizeof(id.b) - CRY_NONCE_BYTES),
	    &plain);
	cry_wipe(&key, sizeof(key));
	if (e == ERR_OK)
		e = content_check(buf_slice(&plain), v, device, site_name);
	buf_wipe(&plain);
	return e;
}
