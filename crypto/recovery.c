/* crypto/recovery.c: the keystore's secrets, sealed to the recovery key.
 *
 * File, 550 bytes (docs/protocol.md section 1):
 *
 *	"PSCV" version u8=1 zero u8[3]                            8 bytes
 *	recovery public key                                      32 bytes
 *	sealed box to it (libsodium): secrets as in the keystore 478 bytes
 *	BLAKE2b-256 of all the above                             32 bytes
 *
 * It is safe to copy anywhere: only the recovery secret, which this machine
 * does not keep, opens it.  The last field tells disk rot (ERR_CORRUPT) from
 * another site's recovery secret (ERR_AUTH). */
#include "crypto/identity.h"

#include "crypto/crypto_internal.h"
#include "crypto/keyfile.h"
#include "crypto/keystore_internal.h"
#include "store/base/enc.h"
#include "store/base/rd.h"

#define RV_MAGIC "PSCV"
#define RV_VERSION 1u
#define RV_HEADER_BYTES (8u + 32u)
#define RV_BODY_BYTES (KEYSTORE_SECRET_BYTES + crypto_box_SEALBYTES)
#define RV_FILE_BYTES (RV_HEADER_BYTES + RV_BODY_BYTES + 32u)
#define RV_TEXT_PREFIX "psr1"

_Static_assert(CRY_RECOVERY_TEXT_LEN == 4 + ENC_B32_LEN(32), "its text");

void
cry_recovery_text(
    const struct cry_box_sk *sk, char out[CRY_RECOVERY_TEXT_LEN + 1])
{
	memcpy(out, RV_TEXT_PREFIX, 4);
	enc_b32(slice_of(sk->b, sizeof(sk->b)), out + 4);
}

enum err
cry_recovery_parse(struct slice text, struct cry_box_sk *out)
{
	if (text.n != CRY_RECOVERY_TEXT_LEN ||
	    memcmp(text.p, RV_TEXT_PREFIX, 4) != 0)
		return ERR_MALFORMED;
	return dec_b32(
	    slice_of(text.p + 4, text.n - 4), out->b, sizeof(out->b));
}

enum err
cry_recovery_save(
    const char *path, const struct cry_identity *id, struct errmsg *em)
{
	struct buf file = BUF_MAX(RV_FILE_BYTES),
		   secrets = BUF_MAX(KEYSTORE_SECRET_BYTES);
	static const uint8_t zero[3];
	struct cry_id sum;
	enum err e;

	buf_put_str(&file, RV_MAGIC);
	buf_u8(&file, RV_VERSION);
	buf_put(&file, zero, sizeof(zero));
	buf_put(&file, id->recovery.b, sizeof(id->recovery.b));
	/* Room at once: growing would leave copies behind in the heap. */
	if (buf_room(&secrets, KEYSTORE_SECRET_BYTES) != NULL)
		keystore_secrets_encode(id, &secrets);
	if (buf_err(&secrets) != ERR_OK)
		file.err = buf_err(&secrets);
	if (buf_err(&file) == ERR_OK)
		cry_seal(&id->recovery, buf_slice(&secrets), &file);
	if (buf_err(&file) == ERR_OK) {
		cry_hash(buf_slice(&file), &sum);
		buf_put(&file, sum.b, sizeof(sum.b));
	}
	e = buf_err(&file);
	if (e == ERR_OK)
		e = keyfile_write(path, buf_slice(&file), em);
	buf_wipe(&secrets);
	buf_fini(&file);
	return e;
}

/* What a person kept: one line of text. */
static enum err
secret_read(const char *path, struct cry_box_sk *out, struct errmsg *em)
{
	struct buf b = BUF_MAX(256);
	struct slice text;
	enum err e = keyfile_read(path, &b, em);

	text = buf_slice(&b);
	while (text.n > 0 && text.p[text.n - 1] <= ' ')
		text.n--;
	if (e == ERR_OK || e == ERR_LIMIT)
		e = e == ERR_OK ? cry_recovery_parse(text, out) : e;
	else
		goto out;
	if (e != ERR_OK)
		e = errmsg_set(em, ERR_AUTH,
		    "give the file that init wrote, or its text in a file",
		    "the recovery file holds no recovery key");
out:
	buf_wipe(&b);
	return e;
}

static enum err
sealed_read(const char *path, struct buf *file, struct errmsg *em)
{
	struct cry_id sum;
	enum err e = keyfile_read(path, file, em);

	if (e != ERR_OK && e != ERR_LIMIT)
		return e;
	if (e == ERR_OK && file->n == RV_FILE_BYTES &&
	    memcmp(file->p, RV_MAGIC, 4) == 0) {
		cry_hash(slice_of(file->p, RV_FILE_BYTES - 32u), &sum);
		if (memcmp(sum.b, file->p + RV_FILE_BYTES - 32u, 32) == 0)
			return file->p[4] == RV_VERSION ? ERR_OK
							: ERR_UNSUPPORTED;
	}
	return errmsg_set(em, ERR_CORRUPT, "take it from another backup",
	    "%s is not a whole recovery copy", path);
}

enum err
cry_recovery_load(const char *path, const char *secret_path,
    struct cry_identity *out, struct errmsg *em)
{
	struct buf file = BUF_MAX(RV_FILE_BYTES),
		   secrets = BUF_MAX(KEYSTORE_SECRET_BYTES);
	struct cry_box_sk sk = { { 0 } };
	struct cry_identity id = { 0 };
	struct cry_box_pk pk;
	enum err e = secret_read(secret_path, &sk, em);

	if (e == ERR_OK)
		e = sealed_read(path, &file, em);
	if (e != ERR_OK)
		goto out;
	if (crypto_scalarmult_base(pk.b, sk.b) != 0 ||
	    memcmp(pk.b, file.p + 8, sizeof(pk.b)) != 0) {
		e = errmsg_set(em, ERR_AUTH, "give that of this site",
		    "the recovery key is another site's");
		goto out;
	}
	e = buf_room(&secrets, KEYSTORE_SECRET_BYTES) == NULL ? ERR_NOMEM
							      : ERR_OK;
	if (e == ERR_OK)
		e = cry_unseal(&pk, &sk,
		    slice_of(file.p + RV_HEADER_BYTES, RV_BODY_BYTES),
		    &secrets);
	if (e == ERR_OK)
		e = keystore_secrets_decode(buf_slice(&secrets), &id);
	if (e == ERR_OK)
		*out = id;
	else
		errmsg_set(em, e, "take it from another backup",
		    "%s cannot be opened: %s", path, err_text(e));
out:
	sodium_memzero(&sk, sizeof(sk));
	cry_identity_wipe(&id);
	buf_wipe(&secrets);
	buf_fini(&file);
	return e;
}
