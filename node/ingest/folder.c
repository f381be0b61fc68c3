/* node/ingest/folder.c: watch folders, import what is complete.
 *
 * Happy path of a pass: every file below the folder is looked at; one whose
 * inode, size and times are as they were a quiet time ago is claimed (renamed
 * into FOLDER_CLAIMED, where its name is nobody else's); what is claimed goes
 * through the workers of an import; each file is put away once it is durable.
 * Failure modes: a file that changed after it was claimed stays and is looked
 * at again; so does one that could not be stored for no fault of its own (no
 * space, no memory).  A folder or share that is not there is said once, and
 * looked for again.  File names may name patients: no line of the log has
 * one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "node/ingest/folder.h"
#include "node/ingest/import.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define LOOK_MS_MIN 500u
#define LOOK_MS_MAX 5000u
#define SEEN_MAX 200000u
#define CLAIMS_MAX 2000u /* a pass */

/* A file as it was seen, and since when it is so. */
struct seen {
	struct key16 path;
	struct key16 stat;
	uint64_t since_ms;
};

struct seen_list {
	struct seen *s;
	uint32_t n, cap;
};

struct watch {
	const struct conf_folder *conf;
	struct seen_list seen; /* in the order of path */
	char said[200];        /* the last trouble that was told */
};

struct folders {
	struct ingest *g;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping; /* guarded by mu */
	uint32_t n;
	struct watch w[8];
};

/* One pass over one folder. */
struct pass {
	struct folders *all;
	struct watch *w;
	struct sink sink;
	int root;
	uint64_t now_ms;
	struct seen_list next; /* takes the place of w->seen */
	char **claims;         /* paths below root, in FOLDER_CLAIMED */
	uint32_t n_claims;
	uint64_t stored, duplicate, quarantined, failed, waiting;
	char why[160]; /* of one that waits */
	enum err e;
};

static bool
folders_stopping(struct folders *f)
{
	bool stopping;

	pthread_mutex_lock(&f->mu);
	stopping = f->stopping;
	pthread_mutex_unlock(&f->mu);
	return stopping;
}

/* Once, until it is something else; "": all is well again. */
static void
watch_say(struct watch *w, const char *cause, const char *next)
{
	if (strcmp(w->said, cause) == 0)
		return;
	(void)snprintf(w->said, sizeof(w->said), "%s", cause);
	if (*cause != '\0')
		log_warn("folder", "files wait",
		    "folder=\"%s\" cause=\"%s\" next=\"%s\"", w->conf->path,
		    cause, next);
}

/* --- what was seen --- */

static void
seen_of(const struct pass *p, const char *path, const struct stat *st,
    struct seen *out)
{
	uint64_t fact[7] = { st->st_dev, st->st_ino, (uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec };
	struct slice name = slice_str(path);
	struct slice facts = slice_of((const uint8_t *)fact, sizeof(fact));

	key16_of(p->all->g, "psc.folder.1", &name, 1, &out->path);
	key16_of(p->all->g, "psc.folder.2", &facts, 1, &out->stat);
	out->since_ms = p->now_ms;
}

static int
seen_order(const void *a, const void *b)
{
	return memcmp(&((const struct seen *)a)->path,
	    &((const struct seen *)b)->path, sizeof(struct key16));
}

static struct seen *
seen_find(const struct seen_list *l, const struct seen *like)
{
	return l->n == 0 ? NULL
			 : bsearch(like, l->s, l->n, sizeof(*l->s), seen_order);
}

static enum err
seen_add(struct seen_list *l, const struct seen *s)
{
	struct seen *more;
	uint32_t cap;

	if (l->n == l->cap) {
		cap = l->cap == 0 ? 64 : l->cap * 2;
		more = mem_grow(l->s, cap, sizeof(*more));
		if (more == NULL)
			return ERR_NOMEM;
		l->s = more;
		l->cap = cap;
	}
	l->s[l->n++] = *s;
	return ERR_OK;
}

/* Remembers the file; has it been the same for the quiet time? */
static bool
pass_settled(struct pass *p, const char *path, const struct stat *st)
{
	struct seen now;
	const struct seen *old;

	if (p->next.n >= SEEN_MAX)
		return false;
	seen_of(p, path, st, &now);
	old = seen_find(&p->w->seen, &now);
	if (old != NULL && memcmp(&old->stat, &now.stat, 16) == 0)
		now.since_ms = old->since_ms;
	p->e = seen_add(&p->next, &now);
	return p->e == ERR_OK &&
	       p->now_ms - now.since_ms >= (uint64_t)p->w->conf->quiet_s * 1000;
}

/* --- claiming --- */

static bool
pass_claims(struct pass *p, const char *path)
{
	char *copy;

	if (p->n_claims == CLAIMS_MAX)
		return false;
	copy = mem_strdup(path);
	if (copy == NULL) {
		p->e = ERR_NOMEM;
		return false;
	}
	p->claims[p->n_claims++] = copy;
	return true;
}

static bool
pass_claimed_file(void *ctx, const char *path, const struct stat *st)
{
	struct pass *p = ctx;

	if (pass_settled(p, path, st) && !pass_claims(p, path))
		return false;
	return p->e == ERR_OK;
}

/* Under its new name it is what it was: the time of the inode alone moved. */
static bool
pass_claim_same(
    struct pass *p, const char *path, const struct stat *was, struct stat *now)
{
	return folder_stat(p->root, path, now) == ERR_OK &&
	       now->st_ino == was->st_ino && now->st_size == was->st_size &&
	       now->st_mtim.tv_sec == was->st_mtim.tv_sec &&
	       now->st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

static bool
pass_new_file(void *ctx, const char *path, const struct stat *st)
{
	char claimed[FOLDER_PATH_MAX];
	struct pass *p = ctx;
	struct stat now;
	struct seen s;

	if (!pass_settled(p, path, st) || p->n_claims == CLAIMS_MAX)
		return p->e == ERR_OK;
	if (snprintf(claimed, sizeof(claimed), FOLDER_CLAIMED "/%s", path) >=
	    (int)sizeof(claimed))
		return true;
	/* One of its name is claimed already: after that one. */
	if (folder_move(p->root, path, FOLDER_CLAIMED, path) != ERR_OK)
		return true;
	if (!pass_claim_same(p, claimed, st, &now))
		return true; /* it waits there */
	seen_of(p, claimed, &now, &s);
	p->e = seen_add(&p->next, &s);
	return p->e == ERR_OK && pass_claims(p, claimed);
}

/* --- importing --- */

/* Is it still what was imported?  If not, its quiet time begins again. */
static bool
pass_unchanged(struct pass *p, const char *path)
{
	struct seen now;
	struct seen *old;
	struct stat st;

	if (folder_stat(p->root, path, &st) != ERR_OK)
		return false;
	seen_of(p, path, &st, &now);
	old = seen_find(&p->next, &now);
	if (old == NULL)
		return false;
	if (memcmp(&old->stat, &now.stat, sizeof(now.stat)) == 0)
		return true;
	*old = now;
	return false;
}

static void
pass_wait(struct pass *p, const char *path, const char *why)
{
	struct slice name = slice_str(path);
	struct seen like;
	struct seen *old;

	p->waiting++;
	(void)snprintf(p->why, sizeof(p->why), "%s", why);
	key16_of(p->all->g, "psc.folder.1", &name, 1, &like.path);
	old = seen_find(&p->next, &like);
	if (old != NULL)
		old->since_ms = clock_mono_ms();
}

static void
pass_away(struct pass *p, const struct ingest_imported *f)
{
	const char *rel = f->path + strlen(FOLDER_CLAIMED "/");
	enum err e;

	if (strcmp(f->state, "refused") == 0) {
		e = folder_put_away(
		    p->root, f->path, FOLDER_FAILED, rel, f->reason);
		p->failed += e == ERR_OK;
	} else if (strcmp(p->w->conf->after, "remove") == 0) {
		e = folder_remove(p->root, f->path);
	} else {
		e = folder_put_away(p->root, f->path, FOLDER_DONE, rel, NULL);
	}
	if (e != ERR_OK)
		pass_wait(p, f->path,
		    "files cannot be moved or removed there; let the node's "
		    "user write there");
}

static int
pass_imported(void *ctx, const struct ingest_imported *f)
{
	struct pass *p = ctx;

	if (f->again) {
		pass_wait(p, f->path, f->reason);
	} else if (pass_unchanged(p, f->path)) {
		p->stored += strcmp(f->state, "stored") == 0;
		p->duplicate += strcmp(f->state, "duplicate") == 0;
		p->quarantined += strcmp(f->state, "quarantined") == 0;
		pass_away(p, f);
	} else {
		pass_wait(p, f->path, "they change while they are read");
	}
	return folders_stopping(p->all) ? 1 : 0;
}

static enum err
pass_import(struct pass *p, struct errmsg *em)
{
	struct buf table = BUF_EMPTY;
	struct work_pool *pool;
	uint32_t i;
	enum err end,
	    e = ingest_profile_table(p->all->g, p->sink.profile, &table, em);

	p->sink.table = buf_slice(&table);
	if (e == ERR_OK)
		e = work_pool_new(
		    p->all->g, &p->sink, p->root, pass_imported, p, &pool);
	if (e != ERR_OK) {
		buf_fini(&table);
		return e;
	}
	for (i = 0; e == ERR_OK && i < p->n_claims; i++)
		e = work_pool_add(pool, p->claims[i]);
	end = work_pool_end(pool);
	buf_fini(&table);
	return e == ERR_OK || e == ERR_CANCELLED ? end : e;
}

/* --- a pass --- */

static void
pass_tell(struct pass *p, const struct errmsg *em, enum err e)
{
	uint64_t taken = p->stored + p->duplicate + p->quarantined + p->failed;

	if (taken > 0)
		log_info("folder", "files taken",
		    "folder=\"%s\" stored=%" PRIu64 " duplicates=%" PRIu64
		    " quarantined=%" PRIu64 " failed=%" PRIu64,
		    p->w->conf->path, p->stored, p->duplicate, p->quarantined,
		    p->failed);
	if (e == ERR_CANCELLED)
		return;
	if (e != ERR_OK)
		watch_say(p->w, em->cause[0] != '\0' ? em->cause : err_text(e),
		    em->next);
	else
		watch_say(p->w, p->why, "they are tried again");
}

static enum err
pass_look(struct pass *p, struct errmsg *em)
{
	enum err e;

	p->root = open(
	    p->w->conf->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->root < 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "make the folder, and let the node's user read and write "
		    "there",
		    "the folder cannot be opened: %s", strerrordesc_np(errno));
	/* What was claimed first: it came first. */
	e = folder_each(p->root, FOLDER_CLAIMED, pass_claimed_file, p);
	if (e == ERR_OK)
		e = folder_each(p->root, "", pass_new_file, p);
	if (e == ERR_OK)
		e = p->e;
	if (e == ERR_LIMIT)
		(void)errmsg_set(
		    em, e, "move them up", "folders nest too deeply");
	if (p->next.n > 0)
		qsort(p->next.s, p->next.n, sizeof(*p->next.s), seen_order);
	return e;
}

static void
folder_pass(struct folders *all, struct watch *w)
{
	struct pass p = {
		.all = all, .w = w, .root = -1, .now_ms = clock_mono_ms()
	};
	struct errmsg em = { 0 };
	enum err e = ERR_NOMEM, end;
	uint32_t i;

	p.claims = mem_array(CLAIMS_MAX, sizeof(*p.claims));
	if (p.claims != NULL)
		e = sink_for_target(
		    all->g, &w->conf->to, INGEST_FOLDER_AE, &p.sink, &em);
	if (e == ERR_OK)
		e = pass_look(&p, &em);
	if (p.n_claims > 0) { /* also where part of the folder is no good */
		end = pass_import(&p, &em);
		e = e == ERR_OK ? end : e;
	}
	pass_tell(&p, &em, e);
	for (i = 0; i < p.n_claims; i++)
		mem_free(p.claims[i]);
	mem_free(p.claims);
	mem_free(w->seen.s);
	w->seen = p.next;
	if (p.root >= 0)
		(void)close(p.root);
}

/* --- the thread --- */

/* Often enough for the shortest quiet time. */
static uint64_t
folders_pause_ms(const struct folders *f)
{
	uint64_t ms = LOOK_MS_MAX;
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		uint64_t quarter = (uint64_t)f->w[i].conf->quiet_s * 250;

		ms = quarter < ms ? quarter : ms;
	}
	return ms < LOOK_MS_MIN ? LOOK_MS_MIN : ms;
}

static void *
folders_main(void *arg)
{
	struct folders *f = arg;
	uint64_t pause = folders_pause_ms(f);
	struct timespec t;
	uint32_t i;
	int rc;

	while (!folders_stopping(f)) {
		for (i = 0; i < f->n && !folders_stopping(f); i++)
			folder_pass(f, &f->w[i]);
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += (time_t)(pause / 1000);
		t.tv_nsec += (long)(pause % 1000) * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_mutex_lock(&f->mu);
		for (rc = 0; !f->stopping && rc != ETIMEDOUT;)
			rc = pthread_cond_timedwait(&f->wake, &f->mu, &t);
		pthread_mutex_unlock(&f->mu);
	}
	return NULL;
}

static void
folders_free(struct folders *f)
{
	uint32_t i;

	for (i = 0; i < f->n; i++)
		mem_free(f->w[i].seen.s);
	(void)pthread_cond_destroy(&f->wake);
	(void)pthread_mutex_destroy(&f->mu);
	mem_free(f);
}

enum err
folders_start(struct ingest *g, struct errmsg *em)
{
	const struct conf *c = g->o.conf;
	pthread_condattr_t mono;
	struct folders *f;

	if (c->n_folders == 0)
		return ERR_OK;
	f = mem_new(sizeof(*f));
	if (f == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	f->g = g;
	for (f->n = 0; f->n < c->n_folders; f->n++)
		f->w[f->n].conf = &c->folders[f->n];
	(void)pthread_mutex_init(&f->mu, NULL);
	(void)pthread_condattr_init(&mono);
	(void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->wake, &mono);
	(void)pthread_condattr_destroy(&mono);
	if (pthread_create(&f->thread, NULL, folders_main, f) != 0) {
		folders_free(f);
		return errmsg_set(em, ERR_NOMEM, "", "no thread left");
	}
	g->folders = f;
	return ERR_OK;
}

bool
folders_stop(struct ingest *g, const struct timespec *until)
{
	struct folders *f = g->folders;

	if (f == NULL)
		return true;
	pthread_mutex_lock(&f->mu);
	f->stopping = true;
	pthread_cond_broadcast(&f->wake);
	pthread_mutex_unlock(&f->mu);
	if (pthread_timedjoin_np(f->thread, NULL, until) != 0) {
		log_warn("folder", "an import from a folder is cut off", "n=%u",
		    f->n);
		return false;
	}
	folders_free(f);
	g->folders = NULL;
	return true;
}
