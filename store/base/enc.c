/* store/base/enc.c: hex, base32, CRC-32C. */
#include "store/base/enc.h"

static const char b32_alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void
enc_hex(struct slice in, char *out)
{
	static const char digit[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < in.n; i++) {
		out[2 * i] = digit[in.p[i] >> 4];
		out[2 * i + 1] = digit[in.p[i] & 15];
	}
	out[2 * in.n] = '\0';
}

void
enc_b32(struct slice in, char *out)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t i, o = 0;

	for (i = 0; i < in.n; i++) {
		acc = acc << 8 | in.p[i];
		for (bits += 8; bits >= 5; bits -= 5)
			out[o++] = b32_alphabet[acc >> (bits - 5) & 31];
	}
	if (bits > 0)
		out[o++] = b32_alphabet[acc << (5 - bits) & 31];
	out[o] = '\0';
}

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum err
dec_hex(struct slice text, uint8_t *out, size_t out_n)
{
	size_t i;

	if (text.n != ENC_HEX_LEN(out_n))
		return ERR_MALFORMED;
	for (i = 0; i < out_n; i++) {
		int hi = hex_value(text.p[2 * i]);
		int lo = hex_value(text.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return ERR_MALFORMED;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return ERR_OK;
}

static int
b32_value(uint8_t c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	return -1;
}

enum err
dec_b32(struct slice text, uint8_t *out, size_t out_n)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t i, o = 0;

	if (text.n != ENC_B32_LEN(out_n))
		return ERR_MALFORMED;
	for (i = 0; i < text.n; i++) {
		int v = b32_value(text.p[i]);

		if (v < 0)
			return ERR_MALFORMED;
		acc = acc << 5 | (uint32_t)v;
		bits += 5;
		if (bits >= 8) {
			out[o++] = (uint8_t)(acc >> (bits - 8));
			bits -= 8;
		}
	}
	/* Only one spelling of a value is accepted. */
	if (bits > 0 && (acc & ((1u << bits) - 1)) != 0)
		return ERR_MALFORMED;
	return ERR_OK;
}

void
enc_be64(uint64_t v, uint8_t out[8])
{
	int i;

	for (i = 7; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

uint64_t
dec_be64(const uint8_t in[8])
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | in[i];
	return v;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc, w;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; n > 0; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

static uint32_t
crc32c_bitwise(uint32_t crc, const uint8_t *p, size_t n)
{
	int k;

	for (; n > 0; p++, n--) {
		crc ^= *p;
		for (k = 0; k < 8; k++)
			crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
	}
	return crc;
}

uint32_t
crc32c(uint32_t crc, struct slice in)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(crc, in.p, in.n);
#endif
	return ~crc32c_bitwise(crc, in.p, in.n);
}
