/* node/ingest/reject.c: a held item is not wanted.
 *
 * One job says so, then its de-identified copies go: page by page of the
 * vault, a job each, so that the writer is never held for a whole series. The
 * originals stay (rulings.md 10); chunks that only the copies named wait out
 * their grace period. Row "qfree" is there from the first job to the last, so
 * what a crash cut short goes on at the next start. */
#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

/* --- its derived copies --- */

struct pages {
	uint8_t (*keys)[12]; /* of "vi" rows */
	uint32_t n, cap;
};

struct page_job {
	const uint8_t *key; /* 12 bytes */
};

static int
page_note(void *ctx, struct slice key, struct slice value)
{
	struct pages *p = ctx;

	(void)value;
	if (key.n != sizeof(p->keys[0]))
		return ERR_CORRUPT;
	if (p->n == p->cap) {
		uint32_t cap = p->cap == 0 ? 64 : p->cap * 2;
		void *grown = mem_grow(p->keys, cap, sizeof(*p->keys));

		if (grown == NULL)
			return ERR_NOMEM;
		p->keys = grown;
		p->cap = cap;
	}
	memcpy(p->keys[p->n++], key.p, key.n);
	return 0;
}

static enum err
page_job(struct store_txn *t, void *ctx)
{
	const struct page_job *j = ctx;
	const struct v_image *list[V_PAGE_IMAGES];
	struct slice key = slice_of(j->key, 12);
	struct buf row = BUF_MAX(V_PAGE_BYTES), out = BUF_MAX(V_PAGE_BYTES);
	struct v_page page = { 0 };
	uint32_t i;
	enum err e;

	e = store_row_get(store_txn_store(t), store_txn_db(t), "vi", key, &row);
	if (e == ERR_OK)
		e = v_page_decode(buf_slice(&row), &page);
	for (i = 0; e == ERR_OK && i < page.n; i++) {
		struct v_image *v = &page.v[i];

		v->deid = (struct slice){ 0 };
		v->deid_len = 0;
		v->header_len = 0;
		memset(&v->deid_hash, 0, sizeof(v->deid_hash));
		list[i] = v;
	}
	if (e == ERR_OK)
		e = v_page_encode(list, page.n, &out);
	if (e == ERR_OK)
		e = store_row_put(t, "vi", key, buf_slice(&out));
	v_page_fini(&page);
	buf_wipe(&out);
	buf_wipe(&row);
	return e;
}

static enum err
freed_job(struct store_txn *t, void *ctx)
{
	return store_row_del(t, "qfree", slice_of(ctx, 8));
}

static enum err
free_item(struct ingest *g, uint64_t no)
{
	struct store *s = g->o.store;
	struct pages p = { 0 };
	struct db_txn *t;
	uint8_t key[8];
	uint32_t i;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	q_key(no, key);
	e = store_row_each(s, t, "vi", slice_of(key, 8), page_note, &p);
	db_abort(t);
	for (i = 0; e == ERR_OK && i < p.n; i++) {
		struct page_job j = { p.keys[i] };

		e = store_write(s, page_job, &j);
	}
	if (e == ERR_OK)
		e = store_write(s, freed_job, key);
	mem_free(p.keys);
	return e;
}

struct cut_short {
	uint64_t no;
	bool any;
};

static int
cut_short_one(void *ctx, struct slice key, struct slice value)
{
	struct cut_short *c = ctx;

	(void)value;
	if (key.n != 8)
		return ERR_CORRUPT;
	c->no = dec_be64(key.p);
	c->any = true;
	return 1;
}

void
reject_resume(struct ingest *g)
{
	struct cut_short c = { 0 };
	struct db_txn *t;
	enum err e;

	do {
		c.any = false;
		if ((e = store_read(g->o.store, &t)) != ERR_OK)
			break;
		e = store_row_each(g->o.store, t, "qfree", (struct slice){ 0 },
		    cut_short_one, &c);
		db_abort(t);
		if (c.any)
			e = free_item(g, c.no);
	} while (c.any && e == ERR_OK);
	if (e != ERR_OK) /* no reason not to start; asked again next time */
		log_warn("ingest", "derived copies of a rejected item are kept",
		    "err=%s", err_text(e));
}

/* --- the item --- */

struct reject_job {
	uint64_t no;
	const char *actor;
	const char *reason;
	struct q_item q;
};

static enum err
reject_job(struct store_txn *t, void *ctx)
{
	struct reject_job *j = ctx;
	struct cat_event ev = { .type = "reject", .wall_ms = clock_wall_ms() };
	uint8_t key[8];
	char id[40];
	enum err e;

	e = q_get(store_txn_store(t), store_txn_db(t), j->no, &j->q);
	if (e != ERR_OK)
		return e;
	if (strcmp(j->q.state, "held") != 0)
		return ERR_EXISTS;
	(void)snprintf(j->q.state, sizeof(j->q.state), "rejected");
	(void)snprintf(j->q.reason, sizeof(j->q.reason), "%s", j->reason);
	q_text(j->no, id);
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", id);
	if ((e = q_put(t, &j->q)) != ERR_OK)
		return e;
	q_key(j->no, key);
	e = store_row_put(t, "qfree", slice_of(key, 8), SLICE_LIT(""));
	if (e != ERR_OK)
		return e;
	e = store_row_del(t, "qopen", slice_of(j->q.series.b, 16));
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if ((e = cat_event_append(t, &ev)) != ERR_OK)
		return e;
	return cat_audit_append(
	    t, j->actor, "quarantine.reject", id, j->reason);
}

enum err
ingest_reject(struct ingest *g, const char *id, const char *actor,
    const char *reason, struct ingest_item *out, struct errmsg *em)
{
	struct reject_job j = { .actor = actor, .reason = reason };
	enum err e;

	if (q_parse(id, &j.no) != ERR_OK)
		return errmsg_set(em, ERR_NOTFOUND,
		    "see `pesscara quarantine list`",
		    "no quarantine item is called %.32s", id);
	if (reason == NULL || reason[0] == '\0')
		return errmsg_set(em, ERR_MALFORMED, "add --reason TEXT",
		    "rejecting needs a reason");
	e = store_write(g->o.store, reject_job, &j);
	if (e == ERR_NOTFOUND)
		return errmsg_set(em, e, "see `pesscara quarantine list`",
		    "no quarantine item is called %.32s", id);
	if (e == ERR_EXISTS)
		return errmsg_set(em, e, "see `pesscara quarantine list`",
		    "item %s is %s already", id, j.q.state);
	if (e != ERR_OK)
		return errmsg_set(
		    em, e, "try again", "reject failed: %s", err_text(e));
	q_public(&j.q, out);
	e = free_item(g, j.no);
	if (e != ERR_OK) /* it is rejected; the next start goes on */
		log_warn("ingest", "derived copy kept until the next start",
		    "item=%s err=%s", id, err_text(e));
	return ERR_OK;
}
