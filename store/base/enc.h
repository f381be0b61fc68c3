/* store/base/enc.h: hex and base32 (RFC 4648 alphabet, lower case, no pad). */
#ifndef PSC_BASE_ENC_H
#define PSC_BASE_ENC_H

#include "store/base/err.h"
#include "store/base/slice.h"

#define ENC_HEX_LEN(n) ((size_t)2 * (n))
#define ENC_B32_LEN(n) (((n)*8 + 4) / 5)

/* out holds ENC_*_LEN(n) + 1 bytes; NUL-terminated. */
void enc_hex(struct slice in, char *out);
void enc_b32(struct slice in, char *out);
/* Exactly out_n bytes must come out; MALFORMED otherwise.  Hex may be of
 * either case; base32 has one spelling only, so that equal values are equal
 * texts. */
enum err dec_hex(struct slice text, uint8_t *out, size_t out_n) PSC_MUST_USE;
enum err dec_b32(struct slice text, uint8_t *out, size_t out_n) PSC_MUST_USE;

/* Big-endian, so that keys of the index sort as their numbers do. */
void enc_be64(uint64_t v, uint8_t out[8]);
uint64_t dec_be64(const uint8_t in[8]);

/* CRC-32C (Castagnoli), as iSCSI (RFC 3720) uses it. */
uint32_t crc32c(uint32_t crc, struct slice in);

#endif
