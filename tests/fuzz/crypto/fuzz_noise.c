/* noise_read on any bytes, at each of the three messages.
 *
 * The first byte chooses the message (0, 1, 2) and whether the rest is taken
 * as the message itself or laid by XOR over the honest one.  Keys are fixed.
 * Only the honest message may be accepted. */
#include <stdlib.h>

#include "crypto/noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                                                                \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

static void
sides_new(struct noise *side[2])
{
	static const uint8_t seed[4][32] = { { 1 }, { 2 }, { 3 }, { 4 } };
	struct cry_box_pk pk[4];
	struct cry_box_sk sk[4];
	struct noise_params p = { .initiator = true };
	size_t i;

	for (i = 0; i < 4; i++)
		cry_box_keypair_seed(seed[i], &pk[i], &sk[i]);
	p.static_pk = pk[0];
	p.static_sk = sk[0];
	p.remote_static = pk[1];
	p.fixed_ephemeral = &sk[2];
	MUST(noise_new(&p, &side[0]) == ERR_OK);
	p.initiator = false;
	p.static_pk = pk[1];
	p.static_sk = sk[1];
	p.fixed_ephemeral = &sk[3];
	MUST(noise_new(&p, &side[1]) == ERR_OK);
}

/* Bring both sides to message k and make the honest one. */
static void
honest_message(struct noise *side[2], size_t k, struct buf *msg)
{
	struct buf payload = BUF_MAX(1024);
	size_t i;

	for (i = 0; i <= k; i++) {
		buf_reset(msg);
		MUST(noise_write(side[i % 2], SLICE_LIT("payload"), msg) ==
		     ERR_OK);
		if (i < k)
			MUST(noise_read(side[(i + 1) % 2], buf_slice(msg),
				 &payload) == ERR_OK);
	}
	buf_fini(&payload);
}

static void
overlay(const struct buf *honest, struct slice mask, struct buf *out)
{
	size_t i;

	buf_put_slice(out, buf_slice(honest));
	for (i = 0; i < mask.n && i < out->n; i++)
		out->p[i] ^= mask.p[i];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf honest = BUF_MAX(1024), sent = BUF_MAX(1 << 20);
	struct buf got = BUF_MAX(1 << 20);
	struct noise *side[2];
	struct slice rest;
	size_t k;
	enum err e;

	MUST(cry_init() == ERR_OK);
	if (size == 0)
		return 0;
	k = data[0] % 3;
	rest = slice_of(data + 1, size - 1);
	sides_new(side);
	honest_message(side, k, &honest);
	if (data[0] & 0x80)
		overlay(&honest, rest, &sent);
	else
		buf_put_slice(&sent, rest);
	MUST(buf_err(&sent) == ERR_OK);
	e = noise_read(side[(k + 1) % 2], buf_slice(&sent), &got);
	MUST((e == ERR_OK) == slice_eq(buf_slice(&sent), buf_slice(&honest)));
	MUST(e == ERR_OK || got.n == 0);
	noise_free(side[0]);
	noise_free(side[1]);
	buf_fini(&honest);
	buf_fini(&sent);
	buf_fini(&got);
	return 0;
}
