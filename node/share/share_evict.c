/* node/share/share_evict.c: content that is not subscribed to goes.
 *
 * Happy path: for each compartment we read and do not want content of, or not
 * all of it, find the ops of others whose content is here and that no selector
 * keeps, and let it go in jobs of a bounded
 * number of chunks; a version that was whole is then incomplete.
 * What stays: content of our own feeds, of this run and earlier ones, of
 * authors who are no writers there any more (ours may be the only copy), and
 * what not enough others prove to hold.
 * Each job asks the subscription again, so a change of mind ends it. */
#include <time.h>

#include "node/share/share_internal.h"
#include "store/base/clock.h"

#define REST_MAX_US ((uint64_t)50000)

/* NOLINTNEXTLINE(readability-function-size): one row, six inputs */
enum err
share_sub_get(struct shares *sh, struct db_txn *t, const struct share_id *id,
    uint16_t no, enum share_content *out, struct buf *where)
{
	struct buf key, val = BUF_MAX(SHARE_SUB_MAX);
	enum err e;

	share_row_key(&key, id);
	buf_u8(&key, (uint8_t)(no >> 8));
	buf_u8(&key, (uint8_t)(no & 0xff));
	e = buf_err(&key);
	if (e == ERR_OK)
		e = store_row_get(
		    sh->store, t, SHARE_TAG_SUB, buf_slice(&key), &val);
	*out = SHARE_ALL; /* until somebody says otherwise */
	if (e == ERR_OK && val.n >= 1 && val.p[0] <= SHARE_LAZY)
		*out = (enum share_content)val.p[0];
	if (e == ERR_OK && val.n > 1 && where != NULL) {
		buf_put(where, val.p + 1, val.n - 1);
		e = buf_err(where);
	}
	buf_fini(&key);
	buf_fini(&val);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* One compartment to be emptied. */
struct evict {
	struct shares *sh;
	struct share_id id;
	struct oplog_evict v;
	uint32_t *keep;
	uint32_t n_keep, cap;
	const struct member *m; /* while the feeds are chosen */
	bool over;              /* it is subscribed to again */
	char *where;            /* what is kept all the same; NULL: nothing */
	struct cat_query *q;    /* the same */
	struct share_evicted *out;
	uint64_t gone; /* op that was whole; 0: none */
};

/* --- whose content stays --- */

static int
keep_feed(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct evict *v = ctx;
	struct cry_sign_pk device;
	uint32_t *list;

	(void)head;
	memcpy(device.b, f->device, sizeof(device.b));
	if (f->share != v->v.share || f->compartment != v->v.compartment)
		return 0;
	if (memcmp(&device, &v->sh->me->pub.sign, sizeof(device)) != 0 &&
	    member_may_write(v->m, &device, f->compartment))
		return 0;
	if (v->n_keep == v->cap) {
		list = mem_grow(v->keep, v->cap + 16, sizeof(*list));
		if (list == NULL)
			return ERR_NOMEM;
		v->keep = list;
		v->cap += 16;
	}
	v->keep[v->n_keep++] = f->no;
	return 0;
}

static enum err
keep_choose(struct evict *v, const struct share_slot *slot)
{
	struct db_txn *t;
	enum err e = store_read(v->sh->store, &t);

	if (e != ERR_OK)
		return e;
	v->m = slot->pub->m;
	e = oplog_feeds_each(t, keep_feed, v);
	db_abort(t);
	v->m = NULL;
	v->v.keep = v->keep;
	v->v.n_keep = v->n_keep;
	return e;
}

/* --- jobs --- */

static enum err
evict_gone(struct store_txn *t, struct evict *v)
{
	struct cat_origin o;
	struct asset_id asset;
	enum err e = cat_asset_of_op(store_txn_db(t), v->gone, &asset);

	if (e == ERR_NOTFOUND)
		return ERR_OK; /* set aside: nothing shows it */
	if (e == ERR_OK)
		e = share_origin(store_txn_db(t), v->sh, v->gone, &o);
	return e == ERR_OK ? cat_content_gone(t, &o, &asset) : e;
}

static enum err
evict_job(struct store_txn *t, void *ctx)
{
	struct evict *v = ctx;
	struct buf where = BUF_MAX(SHARE_SUB_MAX);
	enum share_content c;
	bool keep = false;
	enum err e = share_sub_get(
	    v->sh, store_txn_db(t), &v->id, v->v.compartment, &c, &where);

	v->gone = 0;
	v->over = v->where == NULL
		      ? c != SHARE_NONE
		      : !slice_eq(buf_slice(&where), slice_str(v->where));
	buf_fini(&where);
	if (e == ERR_OK && !v->over && v->q != NULL)
		e = share_selects(
		    v->sh, store_txn_db(t), v->q, v->v.lseq, &keep);
	if (e != ERR_OK || v->over || keep)
		return e;
	e = oplog_evict_step(t, &v->v, &v->gone);
	return e == ERR_OK && v->gone != 0 ? evict_gone(t, v) : e;
}

void
share_rest(uint64_t us)
{
	struct timespec t = { 0 };

	t.tv_nsec = (long)(us > REST_MAX_US ? REST_MAX_US : us) * 1000;
	(void)nanosleep(&t, NULL);
}

/* What the next step lets go is held by others.  *kept: it is not, or nobody
 * says so: with nobody there the whole compartment waits for the next pass. */
static enum err
evict_proven(struct evict *v, const struct share_evict_opts *o, bool *kept)
{
	struct cry_id cid[OPLOG_EVICT_CHUNKS];
	struct db_txn *t;
	uint32_t n = 0;
	enum err e;

	*kept = false;
	if (o->proven == NULL)
		return ERR_OK;
	if ((e = store_read(v->sh->store, &t)) != ERR_OK)
		return e;
	e = oplog_evict_chunks(v->sh->store, t, &v->v, cid, &n);
	db_abort(t);
	if (e != ERR_OK || n == 0)
		return e;
	e = o->proven(o->proven_ctx, &v->id, v->v.compartment, cid, n);
	*kept = e == ERR_DENIED || e == ERR_TIMEOUT;
	v->over = e == ERR_TIMEOUT;
	v->out->kept += *kept;
	return *kept ? ERR_OK : e;
}

static enum err
evict_run(struct evict *v, const struct share_evict_opts *o)
{
	bool more = true, keep;
	enum err e = ERR_OK;

	while (e == ERR_OK && more && !v->over) {
		uint64_t t0 = clock_mono_us();
		struct db_txn *t;

		if (o->stop != NULL && o->stop(o->ctx))
			return ERR_CANCELLED;
		if ((e = store_read(v->sh->store, &t)) != ERR_OK)
			break;
		e = oplog_evict_find(t, &v->v, &more);
		keep = false;
		if (e == ERR_OK && v->v.found && v->q != NULL)
			e = share_selects(v->sh, t, v->q, v->v.lseq, &keep);
		db_abort(t);
		if (e == ERR_OK && v->v.found && !keep)
			e = evict_proven(v, o, &keep);
		if (keep) {
			v->v.lseq++;
			v->v.item = 0;
		}
		if (e != ERR_OK || !v->v.found || keep)
			continue;
		e = store_write(v->sh->store, evict_job, v);
		v->out->versions += e == ERR_OK && v->gone != 0;
		share_rest(clock_mono_us() - t0);
	}
	v->out->chunks += v->v.chunks;
	return e;
}

/* --- all of them --- */

static enum err
evict_where(struct evict *v, const char *where)
{
	struct errmsg em = { 0 };
	size_t n;

	if (where == NULL)
		return ERR_OK;
	n = strlen(where);
	if ((v->where = mem_array(n + 1, 1)) == NULL)
		return ERR_NOMEM;
	memcpy(v->where, where, n);
	return cat_query_parse(slice_of(where, n), &v->q, &em);
}

/* The next compartment to be emptied, counted over all shares; it is filled
 * in under the lock. */
static enum err
evict_next(struct shares *sh, uint32_t *slot_no, uint32_t *no, struct evict *v)
{
	const struct share_slot *slot;
	const struct share_state *s;
	enum err e = ERR_NOTFOUND;

	pthread_mutex_lock(&sh->lock);
	for (; e == ERR_NOTFOUND && *slot_no < sh->n; (*slot_no)++, *no = 0) {
		slot = sh->slot[*slot_no];
		s = slot->pub;
		if (s == NULL || share_is_hub(sh, s))
			continue;
		for (; *no <= LIM_COMPARTMENTS && !s->no_content[*no] &&
		       s->where[*no] == NULL;
		     (*no)++)
			;
		if (*no > LIM_COMPARTMENTS)
			continue;
		v->id = slot->id;
		v->v.share = slot->no;
		v->v.compartment = (uint16_t)*no;
		e = evict_where(v, s->where[*no]);
		(*no)++;
		if (e == ERR_OK)
			e = keep_choose(v, slot);
		break;
	}
	pthread_mutex_unlock(&sh->lock);
	return e;
}

enum err
shares_evict(struct shares *sh, const struct share_evict_opts *o,
    struct share_evicted *out)
{
	uint32_t slot = 0, no = 0;
	enum err e = ERR_OK;

	*out = (struct share_evicted){ 0 };
	while (e == ERR_OK) {
		struct evict v = { .sh = sh, .out = out };

		e = evict_next(sh, &slot, &no, &v);
		if (e == ERR_OK)
			e = evict_run(&v, o);
		mem_free(v.keep);
		mem_free(v.where);
		cat_query_free(v.q);
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}
