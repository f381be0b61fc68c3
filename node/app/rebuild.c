/* node/app/rebuild.c: `pesscara rebuild`: a new index from the log alone.
 *
 * Happy path: the store scans its segments into an index of its own, the
 * shares index their records and apply their ops, references are counted and
 * plaintext hashes learnt anew, and the new index takes the old one's place.
 * Failure modes: a running node has the store (ERR_BUSY); damage is listed,
 * the rest is there; a crash on the way leaves the old index. */
#include "node/app/home.h"
#include "node/conf/json.h"
#include "node/ingest/ingest.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

static enum err
rebuild_views(const struct conf *c, const struct cry_identity *id,
    struct store *s, struct errmsg *em)
{
	enum err e =
	    shares_rebuild(&(struct shares_opts){ s, id, c->site }, em);

	if (e != ERR_OK)
		return e;
	e = store_refs_rebuild(s);
	/* The vault first: its manifests are ours, and what is known from
	 * them has not to be proven once more. */
	if (e == ERR_OK)
		e = store_rebuild_rows(s, "vi", ingest_vault_learn);
	if (e == ERR_OK)
		e = store_rebuild_rows(s, "version", cat_version_learn);
	if (e != ERR_OK)
		errmsg_set(em, e, "run it again when the cause is gone",
		    "the index cannot be rebuilt: %s", err_text(e));
	return e;
}

enum err
app_rebuild_store(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, struct app_bad *bad, struct errmsg *em)
{
	struct store_rebuild_opts ro = { .bad = app_bad_note,
		.cut = app_bad_cut,
		.progress = app_bad_progress,
		.ctx = bad };
	struct store *s = NULL;
	struct app_store o;
	enum err e;

	app_store_opts(a, c, id, &o);
	e = store_rebuild_begin(&o.opts, &ro, &s, em);
	cry_wipe(&o, sizeof(o));
	if (e != ERR_OK)
		return e;
	e = rebuild_views(c, id, s, em);
	if (e == ERR_OK)
		return store_rebuild_end(s, bad->n > 0 || bad->cut, em);
	store_close(s);
	return e;
}

/* --- what the verb prints --- */

static void
bad_json(struct jw *w, const struct app_bad *bad)
{
	uint64_t i;

	jw_u64(w, "bad_count", bad->n);
	jw_arr(w, "bad");
	for (i = 0; i < bad->n && i < APP_BAD_MAX && bad->list != NULL; i++) {
		jw_obj(w, NULL);
		jw_str(w, "what", bad->list[i].what);
		jw_str(w, "where", bad->list[i].where);
		jw_bool(w, "repairable", bad->list[i].repairable);
		jw_end(w);
	}
	jw_end(w);
}

static enum err
rebuild_say(const struct app_args *a, const struct store_stats *st,
    const char *root, const struct app_bad *bad, uint64_t ms)
{
	struct buf b = BUF_MAX(MIB);
	struct jw w;

	if (!a->json) {
		printf("rebuilt from %llu bytes of log: %llu chunks, "
		       "%llu damaged parts\nroot hash %s\n",
		    (unsigned long long)st->segment_bytes,
		    (unsigned long long)st->chunks, (unsigned long long)bad->n,
		    root);
		if (bad->n > 0 || bad->cut)
			printf("the old index is kept as store/db.old\n");
		return ERR_OK;
	}
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_u64(&w, "chunks", st->chunks);
	jw_u64(&w, "log_bytes", st->segment_bytes);
	jw_str(&w, "root", root);
	jw_f64(&w, "seconds", (double)ms / 1000);
	jw_bool(&w, "cut_tail", bad->cut);
	bad_json(&w, bad);
	jw_end(&w);
	if (buf_err(&b) == ERR_OK)
		printf("%s\n", buf_cstr(&b));
	buf_fini(&b);
	return ERR_OK;
}

enum err
app_store_root(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, char root[APP_ROOT_TEXT + 1],
    struct store_stats *st, struct errmsg *em)
{
	struct store *s = NULL;
	struct db_txn *t = NULL;
	struct app_store o;
	struct cry_id hash;
	enum err e;

	app_store_opts(a, c, id, &o);
	e = store_open(&o.opts, &s, em);
	cry_wipe(&o, sizeof(o));
	if (e != ERR_OK)
		return e;
	e = store_read(s, &t);
	if (e == ERR_OK)
		e = shares_root(s, t, &hash);
	db_abort(t);
	if (e == ERR_OK)
		e = store_stats(s, st);
	if (e == ERR_OK)
		enc_hex(slice_of(hash.b, sizeof(hash.b)), root);
	else
		errmsg_set(em, e, "run `pesscara rebuild`",
		    "the store cannot be read: %s", err_text(e));
	store_close(s);
	return e;
}

enum err
app_rebuild(const struct app_args *a, struct errmsg *em)
{
	struct app_bad bad = { .a = a };
	struct cry_identity id = { 0 };
	struct store_stats st = { 0 };
	struct conf *c = mem_new(sizeof(*c));
	uint64_t began = clock_mono_ms();
	char root[APP_ROOT_TEXT + 1];
	bool unattended;
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = app_home_whole(a, em);
	if (e == ERR_OK)
		e = conf_load(a->home, c, em);
	if (e == ERR_OK)
		e = app_keys(a, &id, &unattended, em);
	if (e == ERR_OK)
		e = app_rebuild_store(a, c, &id, &bad, em);
	if (e == ERR_OK)
		e = app_store_root(a, c, &id, root, &st, em);
	if (e == ERR_OK)
		e = rebuild_say(a, &st, root, &bad, clock_mono_ms() - began);
	app_bad_fini(&bad);
	cry_identity_wipe(&id);
	mem_free(c);
	return e;
}
