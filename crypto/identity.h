/* crypto/identity.h: who a site and a device are, and where keys live.
 *
 * A site root key (Ed25519) certifies device keys (Ed25519 to sign, X25519
 * for transport and sealing).  The printable KEY that people exchange holds
 * the public parts of one device and its site.  docs/protocol.md section 2. */
#ifndef PSC_CRYPTO_IDENTITY_H
#define PSC_CRYPTO_IDENTITY_H

#include "crypto/crypto.h"

struct cry_device_pub {
	struct cry_sign_pk site; /* site root */
	struct cry_sign_pk sign; /* device D: names the device everywhere */
	struct cry_box_pk box;   /* device X: Noise static key, sealing */
};

/* Certificate: {version u8, kind u8 = 1 device, site 32, sign 32, box 32,
 * serial u64 LE, caps u32 LE} + Ed25519 by the site root.  No name in it
 * (rulings.md 19). */
#define CRY_CERT_BYTES (2u + 96u + 8u + 4u + 64u)
struct cry_cert {
	uint8_t b[CRY_CERT_BYTES];
};

void cry_cert_issue(const struct cry_sign_sk *site_sk,
    const struct cry_device_pub *dev, uint64_t serial, struct cry_cert *out);
/* Checks form and signature. ERR_MALFORMED or ERR_AUTH. */
enum err cry_cert_check(
    struct slice in, struct cry_device_pub *out) PSC_MUST_USE;

/* "psk1" + base32(site, sign, box, first 4 bytes of their BLAKE2b). */
#define CRY_KEY_TEXT_LEN (4u + 160u)
void cry_key_text(
    const struct cry_device_pub *dev, char out[CRY_KEY_TEXT_LEN + 1]);
/* ERR_MALFORMED for a wrong length, alphabet or check value. */
enum err cry_key_parse(
    struct slice text, struct cry_device_pub *out) PSC_MUST_USE;
/* Fingerprint for people to compare: 8 groups of 4 base32 characters of
 * BLAKE2b(site root key), joined by '-'. */
#define CRY_FINGERPRINT_LEN (8u * 4u + 7u)
void cry_fingerprint(
    const struct cry_sign_pk *site, char out[CRY_FINGERPRINT_LEN + 1]);

/* --- keystore --- */
struct cry_identity {
	struct cry_device_pub pub;
	struct cry_sign_sk site_sk;
	struct cry_sign_sk sign_sk;
	struct cry_box_sk box_sk;
	struct cry_cert cert;
	struct cry_key local;       /* seals local rows of the store */
	struct cry_key convergence; /* protocol.md section 7 */
	struct cry_box_pk recovery; /* epoch keys are sealed to it as well */
};

/* Fresh keys.  The recovery secret goes to *recovery_sk for the caller to
 * hand to a person; it is not kept. */
void cry_identity_new(struct cry_identity *out, struct cry_box_sk *recovery_sk);
void cry_identity_wipe(struct cry_identity *id);

/* Write the keystore file: Argon2id(passphrase) + secretbox, or, when
 * passphrase is NULL, under the 32 random bytes of credential_path (mode 0600,
 * made if absent).  Atomic: temp file, fsync, rename, fsync of the folder. */
enum err cry_keystore_save(const char *path, const struct cry_identity *id,
    const char *passphrase, const char *credential_path,
    struct errmsg *em) PSC_MUST_USE;
/* ERR_AUTH: wrong passphrase or credential; ERR_DENIED: file modes too open;
 * ERR_CORRUPT, ERR_NOTFOUND, ERR_IO. */
enum err cry_keystore_load(const char *path, const char *passphrase,
    const char *credential_path, struct cry_identity *out,
    struct errmsg *em) PSC_MUST_USE;
/* Does a credential file open it (else a passphrase)?  ERR_CORRUPT,
 * ERR_NOTFOUND, ERR_UNSUPPORTED. */
enum err cry_keystore_unattended(
    const char *path, bool *out, struct errmsg *em) PSC_MUST_USE;

/* --- recovery: the same secrets, for who holds the recovery key --- */
#define CRY_RECOVERY_TEXT_LEN 56u /* "psr1" + 52 characters of base32 */
/* Secret: wipe it. */
void cry_recovery_text(
    const struct cry_box_sk *sk, char out[CRY_RECOVERY_TEXT_LEN + 1]);
enum err cry_recovery_parse(
    struct slice text, struct cry_box_sk *out) PSC_MUST_USE;
/* Seals id to its recovery key, as path, written as a keystore is. */
enum err cry_recovery_save(const char *path, const struct cry_identity *id,
    struct errmsg *em) PSC_MUST_USE;
/* secret_path: a file with the text of the recovery key.  ERR_AUTH: another
 * site's, or none; ERR_CORRUPT, ERR_NOTFOUND, ERR_DENIED. */
enum err cry_recovery_load(const char *path, const char *secret_path,
    struct cry_identity *out, struct errmsg *em) PSC_MUST_USE;

#endif
