/* node/api/repair.c: what is damaged is made whole as far as it can be.
 *
 * A deep check finds the damage.  Chunks that ops name are forgotten at their
 * place and wanted: any connected member that has them gives them again, hubs
 * too, and they are checked against their id.  Local rows are written again
 * from their other copy.  Ops, heads and the index's own pages come back by
 * `rebuild` and the next sync.  What is left is listed, never hidden. */
#include "node/api/api_internal.h"

#include <time.h>

#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define REPAIR_WAIT_MS 120000u /* without any chunk coming */
#define REPAIR_POLL_MS 100u

struct repair {
	struct api_call *c;
	struct store_bad *bad;
	uint32_t n;
	uint64_t more; /* beyond API_BAD_MAX: run it again */
	struct cry_id *lost;
	uint32_t n_lost;
	uint64_t chunks, rows;
	/* of the job at hand */
	struct cry_id cid;
	struct slice rkey;
	uint32_t wanted;
};

static void
repair_note(void *ctx, const struct store_bad *bad)
{
	struct repair *r = ctx;
	uint32_t i;

	for (i = 0; i < r->n; i++) { /* record and row tell of one thing */
		if (strcmp(r->bad[i].what, bad->what) == 0 &&
		    strcmp(r->bad[i].where, bad->where) == 0)
			return;
	}
	if (r->n < API_BAD_MAX)
		r->bad[r->n++] = *bad;
	else
		r->more++;
}

static enum err
chunk_job(struct store_txn *t, void *ctx)
{
	struct repair *r = ctx;

	return shares_chunk_lost(t, r->c->a->o.shares, &r->cid, &r->wanted);
}

static enum err
row_job(struct store_txn *t, void *ctx)
{
	struct repair *r = ctx;

	return store_row_repair(t, r->rkey);
}

/* Our own trouble is an error; that it cannot be repaired is not. */
static enum err
repair_try(struct repair *r, store_job_fn job)
{
	enum err e = store_write(r->c->a->o.store, job, r);

	return e == ERR_EXISTS || e == ERR_CORRUPT || e == ERR_NOTFOUND ||
		       e == ERR_AUTH
		   ? ERR_NOTFOUND
		   : e;
}

static enum err
repair_one(struct repair *r, struct store_bad *bad)
{
	uint8_t raw[32];
	size_t n = strlen(bad->where) / 2;
	enum err e;

	if (n == 0 || n > sizeof(raw) ||
	    dec_hex(slice_str(bad->where), raw, n) != ERR_OK)
		return ERR_OK; /* a place, not a name: it stays listed */
	r->wanted = 0;
	if (strcmp(bad->what, "chunk") == 0 && n == sizeof(r->cid.b)) {
		memcpy(r->cid.b, raw, n);
		e = repair_try(r, chunk_job);
		if (e == ERR_OK && r->wanted > 0)
			r->lost[r->n_lost++] = r->cid;
	} else if (strcmp(bad->what, "row") == 0) {
		r->rkey = slice_of(raw, n);
		e = repair_try(r, row_job);
		r->rows += e == ERR_OK;
	} else {
		return ERR_OK;
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* How many of those that are wanted have not come. */
static enum err
lost_left(struct repair *r, uint32_t *left)
{
	struct db_txn *t = NULL;
	uint32_t i;
	enum err e = store_read(r->c->a->o.store, &t);

	*left = 0;
	for (i = 0; e == ERR_OK && i < r->n_lost; i++)
		*left += blob_chunk_have(t, &r->lost[i]) == ERR_NOTFOUND;
	db_abort(t);
	return e;
}

static enum err
lost_wait(struct repair *r, uint64_t wait_ms)
{
	const struct timespec pause = { 0, (long)REPAIR_POLL_MS * 1000000L };
	uint64_t until = clock_mono_ms() + wait_ms;
	uint32_t left = 0, before = r->n_lost;
	enum err e;

	for (;;) {
		e = lost_left(r, &left);
		if (e != ERR_OK || left == 0 || clock_mono_ms() > until ||
		    r->c->out->gone(r->c->out->ctx))
			break;
		if (left < before)
			until = clock_mono_ms() + wait_ms;
		before = left;
		(void)nanosleep(&pause, NULL);
	}
	r->chunks = r->n_lost - left;
	return e;
}

static enum err
repair_audit(struct store_txn *t, void *ctx)
{
	return cat_audit_append(t, ctx, "repair", "store", "");
}

static void
repair_json(struct jw *w, const struct repair *r)
{
	uint32_t i;

	jw_obj(w, "repaired");
	jw_u64(w, "chunks", r->chunks);
	jw_u64(w, "rows", r->rows);
	jw_end(w);
	jw_u64(w, "wanted", r->n_lost - r->chunks);
	jw_arr(w, "bad");
	for (i = 0; i < r->n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "what", r->bad[i].what);
		jw_str(w, "where", r->bad[i].where);
		jw_bool(w, "repairable", r->bad[i].repairable);
		jw_end(w);
	}
	jw_end(w);
	jw_u64(w, "bad_count", r->n + r->more);
}

static enum err
repair_run(struct repair *r, uint64_t wait_ms)
{
	struct store *s = r->c->a->o.store;
	uint32_t i;
	enum err e = store_verify(s, true, repair_note, r, NULL);

	for (i = 0; i < r->n && e == ERR_OK; i++)
		e = repair_one(r, &r->bad[i]);
	if (e == ERR_OK)
		e = lost_wait(r, wait_ms);
	r->n = 0;
	r->more = 0;
	/* What is said to be left is what is left. */
	return e == ERR_OK ? store_verify(s, true, repair_note, r, NULL) : e;
}

enum err
api_h_repair(struct api_call *c)
{
	static const char *const keys[] = { "i:wait_ms", NULL };
	struct repair r = { .c = c };
	char actor[API_ACTOR_BYTES];
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct jw w;
	int64_t wait;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	wait = json_get_int(c->body, "wait_ms", 10000);
	if (wait < 0 || wait > (int64_t)REPAIR_WAIT_MS)
		return errmsg_set(&c->em, ERR_LIMIT, "Wait less long.",
		    "wait_ms must be from 0 to %u", REPAIR_WAIT_MS);
	r.bad = mem_array(API_BAD_MAX, sizeof(*r.bad));
	r.lost = mem_array(API_BAD_MAX, sizeof(*r.lost));
	if (r.bad == NULL || r.lost == NULL)
		e = ERR_NOMEM;
	api_actor(c, actor);
	if (e == ERR_OK)
		e = store_write(c->a->o.store, repair_audit, actor);
	if (e == ERR_OK)
		e = repair_run(&r, (uint64_t)wait);
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	repair_json(&w, &r);
	jw_end(&w);
	if (e == ERR_OK)
		e = api_answer(c, &b);
	buf_fini(&b);
	mem_free(r.bad);
	mem_free(r.lost);
	return e;
}
