/* node/workdir/get.c: files of assets into a directory, on all cores.
 *
 * Happy path: each worker takes the next few files of the asset at hand,
 * reads them together (content_read_many) and writes each without a name; a
 * file gets its name once it is whole and every check passed.  At the end
 * the file system is synced once.
 * Failure modes: what is wrong with one file or one asset in the store is
 * told with its row and costs nothing else; what is wrong with the disk that
 * is written to ends the act.  Killed, it leaves no half file under a final
 * name.  Several may write into one directory at once. */
#include "node/workdir/workdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "store/base/enc.h"
#include "store/base/mem.h"

#define GET_WORKERS_MAX 4u

struct get_asset {
	struct workdir_got row; /* what its rows share */
	struct content *content;
	char folder[ASSET_ID_TEXT + 1];
	int fd;
	uint32_t next, end; /* members that nobody has taken */
	uint32_t users;
};

struct get {
	const struct workdir_env *env;
	const struct workdir_get_opts *o;
	const struct workdir_get_fns *fns;
	struct errmsg *em;
	int dir;
	pthread_mutex_t mu; /* all below, and fns */
	struct get_asset *now;
	uint32_t next_id;
	enum err e; /* not ERR_OK: everybody stops */
};

struct get_job {
	struct get_asset *a;
	uint32_t first, n;
	bool large; /* one member, by content_stream */
};

struct get_hand { /* of one worker */
	struct get *g;
	struct content_many *many;
	struct content_got got[CONTENT_MANY];
};

/* --- assets; with mu held --- */

static void
asset_free(struct get_asset *a)
{
	content_close(a->content);
	if (a->fd >= 0)
		(void)close(a->fd);
	mem_free(a);
}

static void
get_stop(struct get *g, enum err e)
{
	if (g->e == ERR_OK)
		g->e = e;
}

static void
get_say(struct get *g, const struct workdir_got *row)
{
	if (g->e == ERR_OK && g->fns->file(g->fns->ctx, row) != 0)
		g->e = ERR_CANCELLED;
}

static enum err
asset_content(struct get *g, const struct asset_id *id, struct get_asset *a)
{
	struct store *s = g->env->store;
	struct cat_asset *c = mem_new(sizeof(*c));
	struct buf manifest = BUF_MAX(LIM_PIECE_BYTES);
	struct db_txn *t = NULL;
	enum err e = c == NULL ? ERR_NOMEM : store_read(s, &t);

	if (e == ERR_OK)
		e = cat_asset_get(s, t, id, c);
	if (e == ERR_OK && c->n_versions == 0)
		e = ERR_NOTFOUND;
	if (e == ERR_OK)
		e = cat_manifest(s, t, id, &manifest);
	db_abort(t);
	if (e == ERR_OK)
		e = content_open(s, buf_slice(&manifest), &a->content);
	if (e == ERR_OK) {
		a->row.version = c->head.op_id;
		a->row.alone = !c->is_member && c->head.members == 1;
		a->next = c->is_member ? c->member : 0;
		a->end = content_n(a->content);
		if (c->is_member && a->next < a->end)
			a->end = a->next + 1;
	}
	buf_fini(&manifest);
	mem_free(c);
	return e;
}

static enum err
asset_folder(struct get *g, struct get_asset *a)
{
	enum err e = wd_folder_make(g->dir, a->folder, g->o->umask, &a->fd);

	if (e == ERR_OK)
		return ERR_OK;
	return errmsg_set(g->em, e, "Check the rights of the directory.",
	    "the folder %.100s cannot be made: %s", a->folder, err_text(e));
}

/* What cannot be read is told and passed over: *out is NULL then. */
static enum err
asset_open(struct get *g, const struct asset_id *id, struct get_asset **out)
{
	struct get_asset *a = mem_new(sizeof(*a));
	enum err e;

	*out = NULL;
	if (a == NULL)
		return ERR_NOMEM;
	a->fd = -1;
	a->row.id = *id;
	enc_b32(slice_of(id->b, sizeof(id->b)), a->folder);
	a->row.folder = a->folder;
	e = asset_content(g, id, a);
	if (e != ERR_OK && e != ERR_NOMEM) {
		a->row.err = e;
		get_say(g, &a->row);
		asset_free(a);
		return ERR_OK;
	}
	if (e == ERR_OK)
		e = asset_folder(g, a);
	if (e != ERR_OK) {
		asset_free(a);
		return e;
	}
	*out = a;
	return ERR_OK;
}

static void
job_cut(struct get_asset *a, struct get_job *j)
{
	struct content_member m;
	uint64_t bytes = 0;

	*j = (struct get_job){ .a = a, .first = a->next };
	while (a->next < a->end && j->n < CONTENT_MANY) {
		content_member(a->content, a->next, &m);
		j->large = j->n == 0 && m.len > CONTENT_MANY_BYTES;
		bytes += m.len;
		if (j->n > 0 && bytes > CONTENT_MANY_BYTES)
			break;
		a->next++;
		j->n++;
		if (j->large)
			break;
	}
	a->users++;
}

/* --- jobs --- */

static bool
job_take(struct get *g, struct get_job *j)
{
	bool took = false;

	(void)pthread_mutex_lock(&g->mu);
	while (g->e == ERR_OK && !took) {
		struct get_asset *a = g->now;

		if (a != NULL && a->next < a->end) {
			job_cut(a, j);
			took = true;
			continue;
		}
		if (a != NULL && a->users == 0)
			asset_free(a);
		g->now = NULL;
		if (g->next_id == g->o->ids->n)
			break;
		get_stop(
		    g, asset_open(g, &g->o->ids->id[g->next_id++], &g->now));
	}
	(void)pthread_mutex_unlock(&g->mu);
	return took;
}

static void
job_give(struct get *g, const struct get_job *j)
{
	(void)pthread_mutex_lock(&g->mu);
	j->a->users--;
	if (j->a->users == 0 && j->a != g->now)
		asset_free(j->a);
	(void)pthread_mutex_unlock(&g->mu);
}

/* --- one file --- */

/* The row of a file that is there, or that could not be read. */
static void
file_say(struct get *g, const struct get_asset *a, uint32_t i, enum err e,
    const uint8_t sha[32])
{
	struct workdir_got row = a->row;
	struct content_member m;

	content_member(a->content, i, &m);
	row.name = m.name;
	row.bytes = m.len;
	row.hash = m.hash;
	row.err = e;
	row.sha256 = sha;
	(void)pthread_mutex_lock(&g->mu);
	get_say(g, &row);
	(void)pthread_mutex_unlock(&g->mu);
}

static void
disk_says(struct get *g, const struct get_asset *a, uint32_t i, enum err e)
{
	struct content_member m;

	content_member(a->content, i, &m);
	(void)pthread_mutex_lock(&g->mu);
	if (g->e == ERR_OK)
		g->e = errmsg_set(g->em, e,
		    "Check the disk and the rights of the directory.",
		    "writing %.60s/%.80s: %s", a->folder, m.name, err_text(e));
	(void)pthread_mutex_unlock(&g->mu);
}

struct get_sink {
	struct wd_part part;
	bool sum;
	struct cry_sha256_hasher sha;
	enum err disk; /* what writing said */
};

static enum err
sink_begin(struct get *g, const struct get_asset *a, struct get_sink *s)
{
	s->sum = g->o->sha256;
	if (s->sum)
		cry_sha256_init(&s->sha);
	s->disk = wd_part_open(a->fd, g->o->umask, &s->part);
	return s->disk;
}

static enum err
sink_part(void *ctx, struct slice in)
{
	struct get_sink *s = ctx;

	if (s->sum)
		cry_sha256_add(&s->sha, in);
	s->disk = wd_part_write(&s->part, in);
	return s->disk;
}

/* e: did all of it come? */
static void
sink_end(struct get *g, const struct get_job *j, uint32_t i, struct get_sink *s,
    enum err e)
{
	struct content_member m;
	uint8_t sha[32];

	content_member(j->a->content, i, &m);
	if (e != ERR_OK)
		wd_part_drop(j->a->fd, &s->part);
	else if (s->disk == ERR_OK)
		e = s->disk = wd_part_give(j->a->fd, &s->part, m.name);
	if (s->disk != ERR_OK) {
		disk_says(g, j->a, i, s->disk);
		return;
	}
	if (s->sum && e == ERR_OK)
		cry_sha256_end(&s->sha, sha);
	file_say(g, j->a, i, e, s->sum && e == ERR_OK ? sha : NULL);
}

static void
file_large(struct get *g, const struct get_job *j)
{
	struct get_sink s = { .disk = ERR_OK };
	enum err e = sink_begin(g, j->a, &s);

	if (e != ERR_OK) {
		disk_says(g, j->a, j->first, e);
		return;
	}
	e = content_stream(j->a->content, j->first, sink_part, &s);
	sink_end(g, j, j->first, &s, e);
}

static void
file_small(struct get *g, const struct get_job *j, uint32_t i,
    const struct content_got *got)
{
	struct get_sink s = { .disk = ERR_OK };

	if (got->err != ERR_OK) {
		file_say(g, j->a, j->first + i, got->err, NULL);
		return;
	}
	if (sink_begin(g, j->a, &s) != ERR_OK) {
		disk_says(g, j->a, j->first + i, s.disk);
		return;
	}
	sink_end(g, j, j->first + i, &s, sink_part(&s, buf_slice(&got->bytes)));
}

static bool
get_going(struct get *g)
{
	bool yes;

	(void)pthread_mutex_lock(&g->mu);
	yes = g->e == ERR_OK;
	(void)pthread_mutex_unlock(&g->mu);
	return yes;
}

static void
job_do(struct get_hand *h, const struct get_job *j)
{
	uint32_t i;

	if (j->large) {
		file_large(h->g, j);
		return;
	}
	content_read_many(h->many, j->a->content, j->first, j->n, h->got);
	for (i = 0; i < j->n && get_going(h->g); i++)
		file_small(h->g, j, i, &h->got[i]);
}

/* --- workers --- */

static void *
get_worker(void *ctx)
{
	struct get_hand *h = ctx;
	struct get_job j;
	uint32_t i;

	for (i = 0; i < CONTENT_MANY; i++)
		h->got[i].bytes = BUF_MAX(CONTENT_MANY_BYTES);
	h->many = content_many_new(h->g->env->store);
	if (h->many == NULL) {
		(void)pthread_mutex_lock(&h->g->mu);
		get_stop(h->g, ERR_NOMEM);
		(void)pthread_mutex_unlock(&h->g->mu);
	}
	while (job_take(h->g, &j)) {
		job_do(h, &j);
		job_give(h->g, &j);
	}
	content_many_free(h->many);
	for (i = 0; i < CONTENT_MANY; i++)
		buf_fini(&h->got[i].bytes);
	return NULL;
}

/* This thread works, too; so one that cannot be had is no failure. */
static void
get_work(struct get *g, struct get_hand *hand)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t thread[GET_WORKERS_MAX];
	uint32_t i, n = 0;

	for (i = 0; i < GET_WORKERS_MAX; i++)
		hand[i].g = g;
	while (n + 1 < GET_WORKERS_MAX && (long)n + 1 < cores &&
	       pthread_create(&thread[n], NULL, get_worker, &hand[n]) == 0)
		n++;
	(void)get_worker(&hand[n]);
	for (i = 0; i < n; i++)
		(void)pthread_join(thread[i], NULL);
	if (g->now != NULL)
		asset_free(g->now);
}

enum err
workdir_get(const struct workdir_env *env, const struct workdir_get_opts *o,
    const struct workdir_get_fns *fns, struct errmsg *em)
{
	struct get g = { .env = env, .o = o, .fns = fns, .em = em, .dir = -1 };
	struct get_hand *hand = mem_array(GET_WORKERS_MAX, sizeof(*hand));
	enum err e;

	if (hand == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	(void)pthread_mutex_init(&g.mu, NULL);
	e = wd_dir_make(o->dir, o->umask, &g.dir, em);
	if (e == ERR_OK) {
		get_work(&g, hand);
		e = g.e;
		/* One sync for all: a sync a file costs more than copying. */
		if (syncfs(g.dir) != 0 && e == ERR_OK)
			e = errmsg_set(em, wd_errno(errno), "Check the disk.",
			    "the files did not reach the disk");
		(void)close(g.dir);
	}
	(void)pthread_mutex_destroy(&g.mu);
	mem_free(hand);
	return e;
}
