/* crypto/keystore_internal.h: the keystore with its Argon2id cost given, so
 * that tests need not spend 256 MiB per save. */
#ifndef PSC_CRYPTO_KEYSTORE_INTERNAL_H
#define PSC_CRYPTO_KEYSTORE_INTERNAL_H

#include "crypto/identity.h"

/* Argon2id, written into the file: later defaults still open old files. */
struct keystore_cost {
	uint32_t passes;
	uint32_t kib;
};

/* libsodium's "moderate". */
#define KEYSTORE_PASSES 3u
#define KEYSTORE_KIB (256u * 1024u)
/* A file that asks for more than this is not ours. */
#define KEYSTORE_PASSES_MAX 16u
#define KEYSTORE_KIB_MAX (1024u * 1024u)
#define KEYSTORE_KIB_MIN 8u

/* The secrets as bytes, in keystore and recovery copy. */
#define KEYSTORE_SECRET_BYTES (64u + 64u + 32u + CRY_CERT_BYTES + 3u * 32u)
void keystore_secrets_encode(const struct cry_identity *id, struct buf *b);
/* ERR_CORRUPT: they do not belong together. */
enum err keystore_secrets_decode(
    struct slice in, struct cry_identity *out) PSC_MUST_USE;

struct keystore_save_params {
	const char *path;
	const struct cry_identity *id;
	const char *passphrase;
	const char *credential_path;
	struct keystore_cost cost;
};

/* cry_keystore_save with a cost. */
enum err keystore_save(
    const struct keystore_save_params *p, struct errmsg *em) PSC_MUST_USE;

#endif
