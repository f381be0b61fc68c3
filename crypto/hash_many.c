/* crypto/hash_many.c: many BLAKE2b-256 digests in one call.
 *
 * The messages are dealt to the lanes of hash_lanes.c, the longest first; a
 * lane that ends takes the next message, so that all lanes stay busy until
 * the messages run out.  All lanes are compressed for as many blocks as the
 * lane with the fewest left; the last block of a message, filled up with
 * zeros, is a step of its own.  A lane without a message computes along on
 * another's bytes and nobody looks.
 *
 * A narrow lane is faster than a wide one, and one stream alone is fastest in
 * libsodium: so when few messages are left they move to the narrow lanes, and
 * a message longer than all others together goes to libsodium. */
#include "crypto/hash_lanes.h"

#define WINDOW 64u /* messages sorted at a time */

struct lane {
	size_t msg;                      /* index of the message, or IDLE */
	size_t left;                     /* blocks of this step */
	size_t tail;                     /* bytes of the last block */
	uint8_t block[HASH_BLOCK_BYTES]; /* the last, filled up */
};

#define IDLE SIZE_MAX

struct dealer {
	const struct slice *in;
	struct cry_id *out;
	uint8_t order[WINDOW]; /* the longest first */
	size_t n, next;
	unsigned lanes, busy;
	hash_lanes_fn compress;
	struct lane lane[HASH_LANES_MAX];
	struct hash_lanes l;
};

static const uint64_t h_start[8] = {
	/* iv, with digest length 32, no key, fanout 1, depth 1 (RFC 7693 2.5)
	 */
	0x6a09e667f3bcc908 ^ 0x01010020, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
	0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
	0x1f83d9abfb41bd6b, 0x5be0cd19137e2179
};

static void
tail_begin(struct dealer *d, unsigned i)
{
	struct lane *x = &d->lane[i];
	struct slice in = d->in[x->msg];

	memset(x->block, 0, sizeof(x->block));
	if (x->tail > 0)
		memcpy(x->block, in.p + (in.n - x->tail), x->tail);
	d->l.p[i] = x->block;
	d->l.step[i] = x->tail;
	d->l.last[i] = UINT64_MAX;
	x->left = 1;
}

/* The next message on lane i, or none. */
static void
lane_deal(struct dealer *d, unsigned i)
{
	struct lane *x = &d->lane[i];
	struct slice in;
	unsigned k;

	x->msg = IDLE;
	if (d->next == d->n)
		return;
	d->busy++;
	x->msg = d->order[d->next++];
	in = d->in[x->msg];
	for (k = 0; k < 8; k++)
		d->l.h[k][i] = h_start[k];
	d->l.t[i] = 0;
	x->left = in.n == 0 ? 0 : (in.n - 1) / HASH_BLOCK_BYTES;
	x->tail = in.n - x->left * HASH_BLOCK_BYTES;
	d->l.p[i] = in.p;
	d->l.step[i] = HASH_BLOCK_BYTES;
	d->l.last[i] = 0;
	if (x->left == 0)
		tail_begin(d, i);
}

static void
digest_take(struct dealer *d, unsigned i)
{
	uint8_t *out = d->out[d->lane[i].msg].b;
	unsigned k;

	for (k = 0; k < sizeof(struct cry_id); k++)
		out[k] = (uint8_t)(d->l.h[k / 8][i] >> (8 * (k % 8)));
	d->busy--;
}

/* The blocks that every lane with a message has; lanes without one get the
 * bytes of a lane that has. */
static size_t
step_size(struct dealer *d)
{
	const uint8_t *some = NULL;
	size_t blocks = SIZE_MAX;
	unsigned i;

	for (i = 0; i < d->lanes; i++) {
		if (d->lane[i].msg == IDLE)
			continue;
		if (d->lane[i].left < blocks)
			blocks = d->lane[i].left;
		some = d->l.p[i];
	}
	for (i = 0; i < d->lanes; i++) {
		if (d->lane[i].msg == IDLE)
			d->l.p[i] = some;
	}
	return blocks;
}

static void
lane_move(struct dealer *d, unsigned from, unsigned to)
{
	struct lane *x = &d->lane[to];
	unsigned k;

	*x = d->lane[from];
	d->lane[from].msg = IDLE;
	for (k = 0; k < 8; k++)
		d->l.h[k][to] = d->l.h[k][from];
	d->l.t[to] = d->l.t[from];
	d->l.step[to] = d->l.step[from];
	d->l.last[to] = d->l.last[from];
	d->l.p[to] = d->l.last[to] == 0 ? d->l.p[from] : x->block;
}

/* Nothing left to deal, and what runs fits the narrow lanes: go there. */
static void
lanes_narrow(struct dealer *d)
{
	unsigned lanes, from, to = 0;
	hash_lanes_fn narrow = hash_lanes_of(HASH_AVX2, &lanes);

	if (narrow == NULL || d->lanes <= lanes || d->busy > lanes)
		return;
	for (from = 0; from < d->lanes; from++) {
		if (d->lane[from].msg == IDLE)
			continue;
		if (from != to)
			lane_move(d, from, to);
		to++;
	}
	d->lanes = lanes;
	d->compress = narrow;
}

static void
lane_step(struct dealer *d, unsigned i, size_t blocks)
{
	struct lane *x = &d->lane[i];

	if (x->msg == IDLE)
		return;
	x->left -= blocks;
	if (x->left > 0)
		return;
	if (d->l.last[i] == 0) {
		tail_begin(d, i);
		return;
	}
	digest_take(d, i);
	lane_deal(d, i);
}

static void
dealer_run(struct dealer *d)
{
	unsigned i;

	for (i = 0; i < d->lanes; i++)
		lane_deal(d, i);
	while (d->busy > 0) {
		size_t blocks;

		if (d->next == d->n)
			lanes_narrow(d);
		blocks = step_size(d);
		d->compress(&d->l, blocks);
		for (i = 0; i < d->lanes; i++)
			lane_step(d, i, blocks);
	}
}

/* Insertion sort, the longest first: WINDOW is small. */
static void
order_make(struct dealer *d)
{
	size_t i, k;

	for (i = 0; i < d->n; i++) {
		for (k = i; k > 0; k--) {
			if (d->in[d->order[k - 1]].n >= d->in[i].n)
				break;
			d->order[k] = d->order[k - 1];
		}
		d->order[k] = (uint8_t)i;
	}
}

/* Those longer than all that come after them together. */
static void
hash_giants(struct dealer *d)
{
	uint64_t rest = 0;
	size_t i;

	for (i = 0; i < d->n; i++)
		rest += d->in[i].n;
	for (; d->next < d->n; d->next++) {
		i = d->order[d->next];
		rest -= d->in[i].n;
		if (d->in[i].n <= rest && rest > 0)
			return;
		cry_hash(d->in[i], &d->out[i]);
	}
}

bool
hash_many_by(
    enum hash_path path, const struct slice *in, size_t n, struct cry_id *out)
{
	struct dealer d = { .in = NULL };
	hash_lanes_fn compress = hash_lanes_of(path, &d.lanes);
	unsigned lanes = d.lanes;
	size_t i;

	if (compress == NULL)
		return false;
	for (i = 0; i < n; i += d.n) {
		d.in = in + i;
		d.out = out + i;
		d.n = n - i < WINDOW ? n - i : WINDOW;
		d.next = 0;
		d.lanes = lanes;
		d.compress = compress;
		order_make(&d);
		hash_giants(&d);
		dealer_run(&d);
	}
	cry_wipe(&d, sizeof(d));
	return true;
}

void
cry_hash_many(const struct slice *in, size_t n, struct cry_id *out)
{
	size_t i;

	if (hash_many_by(HASH_AVX512, in, n, out) ||
	    hash_many_by(HASH_AVX2, in, n, out))
		return;
	for (i = 0; i < n; i++)
		cry_hash(in[i], &out[i]);
}
