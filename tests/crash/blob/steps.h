/* tests/crash/blob/steps.h: a fixed list of changes to a store, and the check
 * that a store holds what some of them leave behind.
 *
 * The steps put files under keys, put others in their place, delete them, put
 * six at once, fail on purpose, change segments, collect what nothing refers
 * to, and open the store anew.
 * The k-th step is atomic: a check knows which were acknowledged, which were
 * refused, and which were on their way; of the last any subset may be there,
 * whole. */
#ifndef PSC_TESTS_STEPS_H
#define PSC_TESTS_STEPS_H

#include "crash_lib.h"

#include "store/blob/gc.h"

#define STEPS 44u
#define KEYS 30u
#define GROUP 6u
#define GROUP_KEY (KEYS - GROUP)
#define UNKNOWN_MAX 4u
#define NO_MAX 400u

enum step_kind {
	STEP_PUT,
	STEP_DEL,
	STEP_GROUP,
	STEP_REFUSED,
	STEP_REOPEN,
	STEP_GC
};

struct step {
	enum step_kind kind;
	uint32_t key, no;
};

enum outcome { NOT_BEGUN, ON_ITS_WAY, DONE, REFUSED };

/* Step i in 1..STEPS. */
static inline struct step
step_of(unsigned i)
{
	if (i == 7 || i == 31)
		return (struct step){ STEP_GROUP, GROUP_KEY, 200 + 4 * i };
	if (i % 22 == 11)
		return (struct step){ STEP_REOPEN, 0, 0 };
	if (i % 10 == 9)
		return (
		    struct step){ STEP_REFUSED, i % GROUP_KEY, 100 + 4 * i };
	if (i % 6 == 4)
		return (struct step){ STEP_DEL, (i - 3) % GROUP_KEY, 0 };
	return (struct step){ STEP_PUT, i % GROUP_KEY, i };
}

/* --- the run --- */

struct steps {
	struct world *w;
	unsigned last; /* do the steps 1..last */
	void (*begun)(unsigned i);
	void (*answered)(unsigned i, enum err e);
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned pending;
	struct errmsg em; /* why it could not be opened again */
};

struct step_job {
	struct steps *run;
	unsigned i;
	struct step step;
	unsigned n;
	struct blob_batch *b[GROUP];
	struct buf man[GROUP];
};

/* A second row a key: small, or too large to lie in the index. */
static inline struct slice
note_make(uint32_t no, uint8_t room[2000])
{
	memset(room, (int)(no % 251), 2000);
	return slice_of(room, no % 3 == 0 ? 2000 : 8);
}

static inline enum err
step_put(struct store_txn *t, struct step_job *j, unsigned k)
{
	uint8_t key[4], room[2000];
	struct slice at = file_key(j->step.key + k, key);
	enum err e = blob_batch_put(t, j->b[k]);

	if (e == ERR_OK)
		e = store_row_put(t, "file", at, buf_slice(&j->man[k]));
	if (e == ERR_OK)
		e = store_row_put(
		    t, "note", at, note_make(j->step.no + 4 * k, room));
	return e;
}

static inline enum err
step_fn(struct store_txn *t, void *ctx)
{
	struct step_job *j = ctx;
	enum err e = ERR_OK;
	uint8_t key[4];
	unsigned k;

	if (j->step.kind == STEP_DEL) {
		struct slice at = file_key(j->step.key, key);

		e = store_row_del(t, "file", at);
		if (e == ERR_OK)
			e = store_row_del(t, "note", at);
		return e == ERR_NOTFOUND ? ERR_OK : e;
	}
	for (k = 0; k < j->n && e == ERR_OK; k++)
		e = step_put(t, j, k);
	if (e == ERR_OK && j->step.kind == STEP_REFUSED)
		e = ERR_CANCELLED; /* after it wrote */
	return e;
}

static inline void
step_done(enum err e, void *ctx)
{
	struct step_job *j = ctx;
	struct steps *r = j->run;
	unsigned k;

	r->answered(j->i, e);
	for (k = 0; k < j->n; k++) {
		blob_batch_free(j->b[k]);
		buf_fini(&j->man[k]);
	}
	free(j);
	pthread_mutex_lock(&r->lock);
	r->pending--;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static inline enum err
step_prepare(struct step_job *j)
{
	uint8_t *room = malloc(FILE_MAX + 1);
	enum err e = ERR_OK;
	unsigned k;

	j->n = j->step.kind == STEP_DEL     ? 0
	       : j->step.kind == STEP_GROUP ? GROUP
					    : 1;
	for (k = 0; k < j->n; k++) {
		j->man[k] = BUF_MAX(MIB);
		j->b[k] = blob_batch_new(j->run->w->s);
		if (j->b[k] == NULL)
			e = ERR_NOMEM;
		if (e == ERR_OK)
			e = blob_batch_add(j->b[k],
			    file_make(j->step.no + 4 * k, room), NULL, 0,
			    &j->man[k]);
	}
	free(room);
	return e;
}

static inline void
step_begin(struct steps *r, unsigned i)
{
	struct step_job *j = calloc(1, sizeof(*j));
	enum err e;

	*j = (struct step_job){ .run = r, .i = i, .step = step_of(i) };
	pthread_mutex_lock(&r->lock);
	r->pending++;
	pthread_mutex_unlock(&r->lock);
	r->begun(i);
	e = step_prepare(j);
	if (e == ERR_OK)
		e = store_submit(r->w->s, step_fn, step_done, j);
	if (e != ERR_OK)
		step_done(e, j);
}

static inline void
steps_wait(struct steps *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->pending > 0)
		pthread_cond_wait(&r->cond, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static inline bool
step_reopen(struct steps *r)
{
	store_close(r->w->s);
	r->w->s = NULL;
	return store_open(&r->w->o, &r->w->s, &r->em) == ERR_OK;
}

/* Changes no contents; where the disk fails it may fail too. */
static inline bool
step_gc(struct steps *r)
{
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report report;

	(void)!store_gc(r->w->s, &o, &report);
	return true;
}

/* Some steps go together, so that one commit holds several.  False: the store
 * could not be opened again. */
static inline bool
steps_run(struct steps *r)
{
	bool good = true;
	unsigned i;

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	for (i = 1; i <= r->last && good; i++) {
		enum step_kind kind = step_of(i).kind;

		if (kind == STEP_REOPEN || kind == STEP_GC) {
			steps_wait(r);
			good = kind == STEP_GC ? step_gc(r) : step_reopen(r);
			continue;
		}
		step_begin(r, i);
		if (i % 8 > 2)
			steps_wait(r);
	}
	steps_wait(r);
	return good;
}

/* --- the check --- */

struct contents {
	uint32_t no[KEYS]; /* 0: nothing */
};

static inline void
step_apply(unsigned i, struct contents *c)
{
	struct step s = step_of(i);
	unsigned k;

	if (s.kind == STEP_PUT || s.kind == STEP_DEL)
		c->no[s.key] = s.no;
	for (k = 0; s.kind == STEP_GROUP && k < GROUP; k++)
		c->no[s.key + k] = s.no + 4 * k;
}

/* Which number has these bytes; 0: none. */
static inline uint32_t
number_of(struct slice bytes)
{
	static struct cry_id known[NO_MAX];
	static bool made;
	uint8_t *room;
	struct cry_id id;
	uint32_t no;

	if (!made) {
		room = malloc(FILE_MAX + 1);
		for (no = 1; no < NO_MAX; no++)
			cry_hash(file_make(no, room), &known[no]);
		free(room);
		made = true;
	}
	cry_hash(bytes, &id);
	for (no = 1; no < NO_MAX; no++) {
		if (memcmp(&id, &known[no], sizeof(id)) == 0)
			return no;
	}
	return 0;
}

static inline uint32_t
key_read(struct store *s, struct db_txn *t, unsigned k)
{
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(FILE_MAX);
	struct buf note = BUF_MAX(4 * KIB);
	struct blob_manifest m = { 0 };
	uint8_t key[4], room[2000];
	uint32_t no = 0;
	enum err n, e = store_row_get(s, t, "file", file_key(k, key), &man);

	n = store_row_get(s, t, "note", file_key(k, key), &note);
	if (e != n)
		fail_msg(
		    "key %u: %s, its note: %s", k, err_text(e), err_text(n));
	if (e == ERR_NOTFOUND)
		return 0;
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_join(s, &m, &out);
	if (e != ERR_OK)
		fail_msg("key %u: %s", k, err_text(e));
	no = number_of(buf_slice(&out));
	if (no == 0 || !slice_eq(buf_slice(&note), note_make(no, room)))
		fail_msg("key %u: wrong bytes", k);
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&note);
	buf_fini(&out);
	return no;
}

/* The keys hold what the steps that were done leave, and besides any subset
 * of those on their way. */
static char steps_where[64]; /* for a failure */

static inline void
contents_check(const enum outcome *outcome, const struct contents *have)
{
	unsigned unknown[UNKNOWN_MAX], n = 0, i, mask, k;

	for (i = 1; i <= STEPS; i++) {
		if (outcome[i] != ON_ITS_WAY)
			continue;
		assert_true(n < UNKNOWN_MAX);
		unknown[n++] = i;
	}
	for (mask = 0; mask < 1u << n; mask++) {
		struct contents want = { .no = { 0 } };

		for (i = 1, k = 0; i <= STEPS; i++) {
			bool there = outcome[i] == DONE;

			if (k < n && unknown[k] == i)
				there = (mask >> k++ & 1) != 0;
			if (there)
				step_apply(i, &want);
		}
		if (memcmp(&want, have, sizeof(want)) == 0)
			return;
	}
	for (i = 1; i <= STEPS; i++)
		print_message("%u", outcome[i]);
	print_message(" by step\n");
	for (i = 0; i < KEYS; i++)
		print_message("key %u: number %u\n", i, have->no[i]);
	fail_msg(
	    "%s: the store holds what no run of the steps leaves", steps_where);
}

/* w->s is open: whole, and with the right contents. */
static inline void
steps_check(struct world *w, const enum outcome *outcome)
{
	struct contents have;
	struct db_txn *t;
	unsigned i, bad = 0;

	bad_say = true;
	assert_int_equal(deep_bad(w->s), 0);
	assert_int_equal(store_refs_check(w->s, bad_count, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	for (i = 0; i < KEYS; i++)
		have.no[i] = key_read(w->s, t, i);
	db_abort(t);
	contents_check(outcome, &have);
}

/* The index counts for nothing: a new one is made from the log. */
static inline void
index_rebuild(struct world *w)
{
	struct store_rebuild_opts ro = { .bad = NULL };
	struct errmsg em = { .code = ERR_OK };

	if (store_rebuild_begin(&w->o, &ro, &w->s, &em) != ERR_OK)
		fail_msg("rebuild: %s", em.cause);
	assert_int_equal(store_refs_rebuild(w->s), ERR_OK);
	if (store_rebuild_end(w->s, false, &em) != ERR_OK)
		fail_msg("rebuild: %s", em.cause);
}

static const struct store_row_owner steps_rows[] = { { "file",
    blob_manifest_hold } };
static const struct store_owners steps_owners = { .rows = steps_rows,
	.n_rows = 1 };

static inline void
steps_world(struct world *w)
{
	world_opts(w);
	w->o.segment_bytes = 128 * KIB;
	w->o.owners = &steps_owners;
}

#endif
