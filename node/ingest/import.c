/* node/ingest/import.c: files and folders handed over by a person.
 *
 * Happy path: the caller's thread walks the paths in name order (bounded
 * depth, symbolic links not followed) and hands runs of files to workers
 * (import_work.c), a core each; what they found out comes back to it and is
 * told, a file at a time, after it is durable.  Files that are done early are
 * told early: the order is not that of the walk.
 * A file that is no DICOM object is refused: nothing here can clean it
 * (domain.md 10). */
#include <dirent.h>
#include <sys/stat.h>

#include "node/ingest/import.h"
#include "store/base/mem.h"

#define IMPORT_DEPTH_MAX 16

struct import {
	struct ingest *g;
	struct sink sink;
	struct work_pool *pool;
	struct buf table; /* sink.table */
	bool stop;        /* nobody listens any more, or no memory */
};

static void import_path(
    struct import *im, const char *path, int depth, unsigned char type);

/* A row for what is no file: nothing that was asked for goes unsaid. */
static void
import_skipped(struct import *im, const char *path, const char *reason)
{
	if (work_pool_say(im->pool, path, reason) != ERR_OK)
		im->stop = true;
}

static void
import_folder(struct import *im, const char *path, int depth)
{
	struct dirent **names = NULL;
	int i, n = scandir(path, &names, NULL, alphasort);

	if (n < 0)
		import_skipped(im, path, "the node cannot read this folder");
	for (i = 0; i < n; i++) {
		struct buf b = BUF_MAX(4096);

		if (!im->stop && strcmp(names[i]->d_name, ".") != 0 &&
		    strcmp(names[i]->d_name, "..") != 0) {
			buf_printf(&b, "%s/%s", path, names[i]->d_name);
			import_path(
			    im, buf_cstr(&b), depth + 1, names[i]->d_type);
		}
		buf_fini(&b);
		free(names[i]);
	}
	free(names);
}

/* type: what the folder said it is, DT_UNKNOWN otherwise. */
static void
import_path(struct import *im, const char *path, int depth, unsigned char type)
{
	struct stat st;
	bool folder = type == DT_DIR;

	if (type == DT_UNKNOWN && path[0] != '\0')
		folder = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
	if (folder) {
		if (depth < IMPORT_DEPTH_MAX)
			import_folder(im, path, depth);
		else
			import_skipped(im, path, "folders nest too deeply");
		return;
	}
	im->stop = im->stop || work_pool_add(im->pool, path) != ERR_OK;
}

static enum err
import_check(struct ingest *g, const struct ingest_import_opts *o,
    struct import *im, struct errmsg *em)
{
	struct share_info info;
	enum err e = sink_for_share(g, o->share, o->compartment, &im->sink, em);

	if (e == ERR_OK)
		e = id_domain_check(o->domain, em);
	if (e != ERR_OK)
		return e;
	if (o->profile != NULL && o->profile[0] != '\0')
		(void)snprintf(im->sink.profile, sizeof(im->sink.profile), "%s",
		    o->profile);
	e = ingest_profile_table(g,
	    o->profile != NULL && o->profile[0] != '\0' ? o->profile
							: im->sink.profile,
	    &im->table, em);
	if (e != ERR_OK)
		return e;
	im->sink.table = buf_slice(&im->table);
	im->sink.no_deid = o->no_deid;
	(void)snprintf(im->sink.domain, sizeof(im->sink.domain), "%s",
	    o->domain != NULL ? o->domain : "");
	if (!o->no_deid)
		return ERR_OK;
	if (o->reason == NULL || o->reason[0] == '\0')
		return errmsg_set(em, ERR_MALFORMED, "add --reason TEXT",
		    "--no-deid needs a reason");
	e = shares_find(g->o.shares, o->share, &info, em);
	if (e != ERR_OK)
		return e;
	if (!info.allow_identified)
		e = errmsg_set(em, ERR_DENIED,
		    "import without --no-deid, or into a share created with "
		    "--allow-identified",
		    "share %s does not allow identified data", info.name);
	share_info_fini(&info);
	return e;
}

struct import_audit {
	const struct ingest_import_opts *o;
	const struct sink *sink;
};

static enum err
import_audit_job(struct store_txn *t, void *ctx)
{
	const struct import_audit *a = ctx;

	return cat_audit_append(t, a->o->actor, "import.no-deid",
	    a->sink->share_name, a->o->reason);
}

enum err
ingest_import(struct ingest *g, const struct ingest_import_opts *o,
    ingest_imported_fn fn, void *ctx, struct errmsg *em)
{
	struct import *im = mem_new(sizeof(*im));
	struct import_audit audit;
	uint32_t i;
	enum err e;

	if (im == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	im->g = g;
	e = import_check(g, o, im, em);
	if (e == ERR_OK && o->no_deid) {
		audit.o = o;
		audit.sink = &im->sink;
		e = store_write(g->o.store, import_audit_job, &audit);
	}
	if (e == ERR_OK)
		e = work_pool_new(g, &im->sink, -1, fn, ctx, &im->pool);
	for (i = 0; e == ERR_OK && i < o->n_paths && !im->stop; i++)
		import_path(im, o->paths[i], 0, DT_UNKNOWN);
	if (e == ERR_OK)
		e = work_pool_end(im->pool);
	buf_fini(&im->table);
	mem_free(im);
	return e;
}
