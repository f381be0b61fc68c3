/* store/blob/store_bury.c: files of dead segments go.
 *
 * A segment is dead when the index names no place in it.  A place is only
 * used inside the read transaction it came from, so when all reads that began
 * before have ended, and nobody holds the segment by name, the file is
 * unlinked and the folder synced; the row of SEG goes last, since it keeps
 * the deletions of rows alive that lie there. */
#include <time.h>

#include "store/blob/store_internal.h"

void
store_seg_hold(struct store *s, uint32_t seg, struct seg_hold *h)
{
	pthread_mutex_lock(&s->fd_lock);
	*h = (struct seg_hold){ .seg = seg, .next = s->held };
	if (s->held != NULL)
		s->held->prev = h;
	s->held = h;
	pthread_mutex_unlock(&s->fd_lock);
}

void
store_seg_release(struct store *s, struct seg_hold *h)
{
	pthread_mutex_lock(&s->fd_lock);
	if (h->prev != NULL)
		h->prev->next = h->next;
	else
		s->held = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
	pthread_mutex_unlock(&s->fd_lock);
}

static bool
seg_is_held(struct store *s, uint32_t seg)
{
	const struct seg_hold *h;

	pthread_mutex_lock(&s->fd_lock);
	for (h = s->held; h != NULL && h->seg != seg; h = h->next)
		;
	pthread_mutex_unlock(&s->fd_lock);
	return h != NULL;
}

static enum err
row_del_job(struct store_txn *t, void *ctx)
{
	struct buf key = BUF_MAX(4);
	enum err e;

	buf_be32(&key, *(const uint32_t *)ctx);
	e = buf_err(&key);
	if (e == ERR_OK)
		e = db_del(t->db, DB_SEG, buf_slice(&key));
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The next dead segment after *seg. */
static enum err
seg_next_dead(struct db_txn *t, uint32_t *seg, struct seg_row *row)
{
	enum err e;

	do {
		e = store_seg_row_from(t, *seg + 1, seg, row);
	} while (e == ERR_OK && row->state != SEG_DEAD);
	return e;
}

static bool
reads_wait(struct store *s, uint32_t *wait_ms)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t mark = db_reads_mark(s->db);

	while (!db_reads_over(s->db, mark)) {
		if (*wait_ms == 0)
			return false;
		(*wait_ms)--;
		(void)nanosleep(&ms, NULL);
	}
	return true;
}

enum err
store_seg_bury(struct store *s, uint32_t wait_ms, uint32_t *n, uint64_t *bytes)
{
	uint32_t seg = 0;

	for (;;) {
		struct seg_row row;
		struct db_txn *t;
		enum err e = store_read(s, &t);

		if (e != ERR_OK)
			return e;
		e = seg_next_dead(t, &seg, &row);
		db_abort(t);
		if (e != ERR_OK)
			return e == ERR_NOTFOUND ? ERR_OK : e;
		if (!reads_wait(s, &wait_ms) || seg_is_held(s, seg))
			continue; /* another time */
		if ((e = store_seg_remove(s, seg)) != ERR_OK ||
		    (e = store_write(s, row_del_job, &seg)) != ERR_OK)
			return e;
		(*n)++;
		*bytes += row.used;
	}
}

enum err
store_seg_bury_open(struct store *s)
{
	uint32_t seg = 0;
	struct seg_row row;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	while ((e = seg_next_dead(t, &seg, &row)) == ERR_OK) {
		e = store_seg_remove(s, seg);
		if (e != ERR_OK)
			break;
	}
	db_abort(t);
	return e == ERR_NOTFOUND ? ERR_OK : e; /* the rows go with a pass */
}
