/* replication/bucket.c: a token bucket. */
#include "replication/bucket.h"

#define BURST_MS 100u
#define BURST_MIN ((uint64_t)16 * 1024) /* bytes: a frame */
#define MILLI 1000
/* Longer ones fill it all the same. */
#define PAUSE_MAX_MS ((uint64_t)1000000)

static int64_t
burst(const struct bucket *b)
{
	uint64_t n = b->rate * BURST_MS / 1000;

	return (int64_t)(n < BURST_MIN ? BURST_MIN : n) * MILLI;
}

static void
refill(struct bucket *b, uint64_t now_ms)
{
	uint64_t ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	b->left += (int64_t)(b->rate * ms); /* a byte a second: 1/1000 a ms */
	if (b->left > burst(b))
		b->left = burst(b);
	b->at_ms = now_ms;
}

void
bucket_set(struct bucket *b, uint64_t rate, uint64_t now_ms)
{
	if (b->rate > 0 && rate > 0)
		refill(b, now_ms);
	else
		b->left = 0;
	b->rate = rate;
	b->at_ms = now_ms;
}

size_t
bucket_room(struct bucket *b, uint64_t now_ms)
{
	if (b->rate == 0)
		return SIZE_MAX;
	refill(b, now_ms);
	return b->left < MILLI ? 0 : (size_t)(b->left / MILLI);
}

void
bucket_take(struct bucket *b, size_t bytes)
{
	if (b->rate > 0)
		b->left -= (int64_t)bytes * MILLI;
}

void
bucket_give(struct bucket *b, size_t bytes)
{
	if (b->rate > 0)
		b->left += (int64_t)bytes * MILLI;
}

uint64_t
bucket_open_ms(const struct bucket *b)
{
	uint64_t lack;

	if (b->rate == 0 || b->left >= MILLI)
		return b->at_ms;
	lack = (uint64_t)(MILLI - b->left);
	return b->at_ms + (lack + b->rate - 1) / b->rate;
}
