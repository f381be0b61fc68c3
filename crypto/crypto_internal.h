/* crypto/crypto_internal.h: shared inside the room; not for other rooms. */
#ifndef PSC_CRYPTO_INTERNAL_H
#define PSC_CRYPTO_INTERNAL_H

#include <sodium.h>

#include "crypto/crypto.h"

/* Public keys from outside: is it a point we can compute with?  Refuses keys
 * of low order, for which a shared secret would be known to everybody. */
bool cry_box_pk_ok(const struct cry_box_pk *pk);
bool cry_sign_pk_ok(const struct cry_sign_pk *pk);
/* X25519.  ERR_AUTH if the result is all zero (RFC 7748 section 6.1). */
enum err cry_dh(const struct cry_box_sk *sk, const struct cry_box_pk *pk,
    uint8_t out[32]) PSC_MUST_USE;

#endif
