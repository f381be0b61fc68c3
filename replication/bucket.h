/* replication/bucket.h: a token bucket: so many bytes a second, on average.
 *
 * Time comes from the caller.  What is taken may exceed what is left: the
 * bucket is then in debt, and closed until time has paid it.  At most a tenth
 * of a second is saved up. */
#ifndef PSC_REPLICATION_BUCKET_H
#define PSC_REPLICATION_BUCKET_H

#include "store/base/buf.h"

struct bucket {
	uint64_t rate; /* bytes a second; 0: no limit */
	int64_t left;  /* thousandths of bytes; below 0: debt */
	uint64_t at_ms;
};

/* Another rate from now on; debts stay, unless there is no limit. */
void bucket_set(struct bucket *b, uint64_t rate, uint64_t now_ms);
/* Bytes that may go now; SIZE_MAX: no limit. */
size_t bucket_room(struct bucket *b, uint64_t now_ms);
void bucket_take(struct bucket *b, size_t bytes);
void bucket_give(struct bucket *b, size_t bytes); /* not used after all */
/* When it is open again, if nothing is taken. */
uint64_t bucket_open_ms(const struct bucket *b);

#endif
