/* store/blob/wave.h: the wavefront image codec: lossless coding of rows of
 * 8-bit, 16-bit and RGB samples (docs/store-format.md, "Codec 5").
 *
 * Up to 64 rows are coded at once, each two pixels behind the row above, so
 * that prediction, context and entropy coder run in vector registers both
 * ways.  The bytes are the same on every machine: all arithmetic that reaches
 * them is in integers, and the AVX-512, AVX2 and plain paths agree on what
 * they write, what they read and what they refuse.
 *
 * Where the parts come from: median edge detector and adaptive contexts:
 * Weinberger, Seroussi, Sapiro, "LOCO-I" (JPEG-LS), 2000; least-squares
 * prediction: Wu, Barthel, Zhang, 1998; range ANS: Duda, arXiv:1311.2540;
 * interleaved lanes of it: Giesen, arXiv:1402.3392. */
#ifndef PSC_BLOB_WAVE_H
#define PSC_BLOB_WAVE_H

#include "store/base/buf.h"

/* Scratch and tables; one thread at a time.  Memory: 0.4 MiB, and while it
 * has encoded n samples 6 n bytes more (8-bit samples: 8 n). */
struct wave;
struct wave *wave_new(void);             /* NULL: no memory */
void wave_free(struct wave *c);          /* NULL ok */
size_t wave_bytes(const struct wave *c); /* memory it holds */

enum wave_samples { WAVE_16, WAVE_8, WAVE_RGB };

struct wave_shape {
	enum wave_samples samples;
	uint16_t w; /* pixels a row; of WAVE_RGB three bytes each */
	bool fast;  /* one simple predictor: 5 % larger, a third faster */
};

/* Appends Z.  Rows that do not end are kept as they are.  ERR_UNSUPPORTED:
 * not a shape it codes (no whole row, too wide, too narrow for so many rows).
 * Z may be longer than raw, by some bytes. */
enum err wave_encode(struct wave *c, const struct wave_shape *sh,
    struct slice raw, struct buf *out) PSC_MUST_USE;
/* Appends exactly raw_len bytes (<= LIM_PIECE_BYTES).  Total on any input:
 * ERR_MALFORMED, ERR_NOMEM; out is as before then. */
enum err wave_decode(struct wave *c, struct slice z, uint32_t raw_len,
    struct buf *out) PSC_MUST_USE;

#endif
