/* node/app/home.c: a home's keys and store, and how damage is shown. */
#include <unistd.h>

#include "node/app/home.h"
#include "node/backup/backup.h"
#include "node/ingest/ingest.h"
#include "store/base/mem.h"

enum err
app_home_whole(const struct app_args *a, struct errmsg *em)
{
	char path[APP_PATH_MAX];

	app_path(a->home, BACKUP_RESTORING, path);
	if (!app_exists(path))
		return ERR_OK;
	return errmsg_set(em, ERR_EXISTS,
	    "run `pesscara --home DIR restore BACKUP` again, or remove the "
	    "folder",
	    "a restore into this home was cut short");
}

enum err
app_keys(const struct app_args *a, struct cry_identity *id, bool *unattended,
    struct errmsg *em)
{
	char keystore[APP_PATH_MAX], credential[APP_PATH_MAX];
	struct buf pass = BUF_MAX(4 * KIB);
	enum err e = ERR_OK;

	app_path(a->home, APP_KEYSTORE, keystore);
	app_path(a->home, APP_CREDENTIAL, credential);
	if (!app_exists(keystore))
		return errmsg_set(em, ERR_NOTFOUND,
		    "run `pesscara --home DIR init --site NAME`",
		    "this home is not initialised");
	*unattended = app_exists(credential);
	if (!*unattended)
		e = app_passphrase(a, false, &pass, em);
	if (e == ERR_OK)
		e = cry_keystore_load(keystore,
		    *unattended ? NULL : buf_cstr(&pass),
		    *unattended ? credential : NULL, id, em);
	buf_wipe(&pass);
	return e;
}

/* Who refers to chunks: the vault's rows and the ops.  A room that keeps
 * manifests in rows of its own belongs here, or its content is collected. */
static const struct store_row_owner home_rows[] = {
	{ "vi", ingest_vault_chunks },
};
static const struct store_owners home_owners = {
	.rows = home_rows,
	.n_rows = sizeof(home_rows) / sizeof(home_rows[0]),
	.refs_each = oplog_refs_each,
	.chunk_came = oplog_chunk_came,
	.rec_move = oplog_rec_move,
	.rec_known = shares_rec_known,
};

void
app_store_opts(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, struct app_store *out)
{
	*out = (struct app_store){ .opts = { .local = id->local,
				       .convergence = id->convergence,
				       .segment_bytes = c->store_segment_bytes,
				       .map_bytes = c->store_map_bytes,
				       .quota_bytes = c->store_quota_bytes,
				       .owners = &home_owners } };
	app_path(a->home, APP_STORE, out->dir);
	out->opts.dir = out->dir;
}

/* --- damage, for a person or a script --- */

static void
line_clear(struct app_bad *b)
{
	if (b->progress)
		fprintf(stderr, "\r\033[K");
	b->progress = false;
}

void
app_bad_note(void *ctx, const struct store_bad *bad)
{
	struct app_bad *b = ctx;

	line_clear(b);
	if (!b->a->json)
		fprintf(stderr, "damaged: %s %s%s\n", bad->what, bad->where,
		    bad->repairable ? " (a peer may have it)" : "");
	if (b->list == NULL)
		b->list = mem_array(APP_BAD_MAX, sizeof(*b->list));
	if (b->list != NULL && b->n < APP_BAD_MAX)
		b->list[b->n] = *bad;
	b->n++;
}

void
app_bad_cut(void *ctx, uint32_t seg, uint64_t off)
{
	struct app_bad *b = ctx;

	line_clear(b);
	b->cut = true;
	if (!b->a->json)
		fprintf(stderr,
		    "the log ended in a commit that was cut short, in "
		    "%08x.seg at %llu: left out (it was never acknowledged)\n",
		    (unsigned)seg, (unsigned long long)off);
}

void
app_bad_progress(void *ctx, uint64_t done, uint64_t bytes)
{
	struct app_bad *b = ctx;
	uint64_t percent = bytes > 0 ? done * 100 / bytes : 100;

	if (b->a->json || percent == b->shown || isatty(STDERR_FILENO) == 0)
		return;
	b->shown = percent;
	b->progress = true;
	fprintf(stderr, "\rreading the log: %3u %%", (unsigned)percent);
	if (percent >= 100)
		line_clear(b);
}

void
app_bad_fini(struct app_bad *b)
{
	line_clear(b);
	mem_free(b->list);
	b->list = NULL;
}
