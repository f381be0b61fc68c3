/* crypto/noise.h: Noise_XK_25519_ChaChaPoly_BLAKE2b (Noise rev. 34).
 *
 * Pure: bytes in, bytes out.  Three messages:
 *   -> e, es            (empty payload)
 *   <- e, ee            (payload: responder's certificate)
 *   -> s, se            (payload: initiator's certificate)
 * The dialler knows the responder's static key.  After the third message
 * noise_split gives one cipher per direction and the handshake hash. */
#ifndef PSC_CRYPTO_NOISE_H
#define PSC_CRYPTO_NOISE_H

#include "crypto/crypto.h"

struct noise; /* a handshake */

struct noise_params {
	bool initiator;
	struct cry_box_pk static_pk;
	struct cry_box_sk static_sk;
	struct cry_box_pk remote_static; /* initiator only */
	struct slice prologue;
	/* Tests give a fixed ephemeral; NULL makes a random one. */
	const struct cry_box_sk *fixed_ephemeral;
};

struct noise_cipher {
	struct cry_key k;
	uint64_t n;
};

enum err noise_new(
    const struct noise_params *p, struct noise **out) PSC_MUST_USE;
void noise_free(struct noise *hs); /* wipes; NULL ok */
/* Whose turn it is: true while we must write the next message. */
bool noise_my_turn(const struct noise *hs);
bool noise_done(const struct noise *hs);
/* Append the next handshake message to out.  Only when noise_my_turn().
 * ERR_LIMIT: the payload does not fit one message; ERR_AUTH: the handshake is
 * dead, or the peer's key is of low order. */
enum err noise_write(
    struct noise *hs, struct slice payload, struct buf *out) PSC_MUST_USE;
/* Read the peer's next message; its payload is appended to payload.
 * ERR_AUTH (also for a message out of turn), ERR_SHORT, ERR_LIMIT; the
 * handshake is dead after a failure. */
enum err noise_read(
    struct noise *hs, struct slice msg, struct buf *payload) PSC_MUST_USE;
/* The responder learns the initiator's static key after message 3. */
const struct cry_box_pk *noise_remote_static(const struct noise *hs);
/* After noise_done(): ciphers and handshake hash (64 bytes for BLAKE2b). */
void noise_split(struct noise *hs, struct noise_cipher *tx,
    struct noise_cipher *rx, uint8_t hash[64]);

/* One transport message: in.n + 16 bytes are appended, at most
 * LIM_NOISE_MSG_BYTES.  After ERR_AUTH nothing is appended and the nonce
 * stands still. */
enum err noise_encrypt(struct noise_cipher *c, struct slice in,
    struct buf *out) PSC_MUST_USE; /* ERR_LIMIT: too long, nonce used up */
enum err noise_decrypt(struct noise_cipher *c, struct slice in,
    struct buf *out) PSC_MUST_USE;        /* ERR_AUTH, ERR_LIMIT */
void noise_rekey(struct noise_cipher *c); /* Noise section 11.3 */

#endif
