/* node/ingest/import.c: files and folders handed over by a person.
 *
 * Paths are walked in name order (bounded depth, symbolic links not
 * followed); each file goes to one confined helper, which is started anew if
 * a file makes it die.  A file that is no DICOM object is refused: nothing
 * here can clean it (domain.md 10). */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

#define IMPORT_DEPTH_MAX 16
#define IMPORT_WAIT_MS 120000u

struct import {
	struct ingest *g;
	struct sink sink;
	struct imaging *im;
	char subject[CAT_KEY_MAX + 1];
	ingest_imported_fn fn;
	void *ctx;
	bool stop;
	/* of the file at hand */
	struct ingest_imported now;
	char item[40];
	char reason[160];
};

static enum err
import_helper(struct import *im)
{
	struct imaging_opts o = {
		.program = im->g->o.helper,
		.mode = IMAGING_IMPORT,
		.accepted_fd = -1,
		.called_ae = im->g->o.conf->dicom_ae_title,
		.memory_bytes_max = im->g->o.conf->limits_helper_memory,
		.idle_ms = IMPORT_WAIT_MS,
	};

	return im->im != NULL ? ERR_OK : imaging_spawn(&o, &im->im, NULL);
}

static enum err
import_identity(struct import *im, const struct img_identity *id)
{
	struct id_answer ans;
	enum err e = id_answer_make(im->g, &im->sink, id, &ans);

	if (e != ERR_OK)
		return e;
	memcpy(im->subject, ans.subject, sizeof(im->subject));
	e = imaging_answer_identity(im->im, &ans.ctx);
	id_answer_fini(&ans);
	return e;
}

static void
import_say(struct import *im, const char *state, const char *reason)
{
	im->now.state = state;
	(void)snprintf(im->reason, sizeof(im->reason), "%s", reason);
}

static enum err
import_object(struct import *im, const struct img_object *o)
{
	struct admitted in = { 0 };
	enum err e;

	if (!o->parsed && o->n_findings > 0 &&
	    strcmp(o->findings[0].kind, "not-dicom") == 0) {
		import_say(im, "refused", "not a DICOM file");
		return imaging_answer_stored(im->im, IMG_STATUS_REFUSED);
	}
	e = admit_object(im->g, &im->sink, o, im->subject, &in);
	if (e != ERR_OK) {
		import_say(im, "refused", err_text(e));
		return imaging_answer_stored(
		    im->im, IMG_STATUS_OUT_OF_RESOURCES);
	}
	if (in.item != 0)
		q_text(in.item, im->item);
	if (in.state == ADMIT_DUPLICATE)
		import_say(im, "duplicate", "");
	else if (in.state == ADMIT_STORED)
		import_say(im, "stored", "");
	else
		import_say(im, "quarantined",
		    o->n_findings > 0 ? o->findings[0].kind
				      : "findings in its series");
	return imaging_answer_stored(im->im, IMG_STATUS_OK);
}

static enum err
import_talk(struct import *im, int fd, uint64_t bytes)
{
	struct img_msg m;
	enum err e = import_helper(im);

	if (e == ERR_OK)
		e = imaging_send_file(im->im, fd, bytes);
	while (e == ERR_OK) {
		e = imaging_next(im->im, IMPORT_WAIT_MS, &m);
		if (e != ERR_OK)
			break;
		if (m.kind == IMG_DONE) {
			if (im->reason[0] == '\0' && m.done.refused > 0)
				import_say(im, "refused", m.done.reason);
			return ERR_OK;
		}
		if (m.kind == IMG_IDENTITY)
			e = import_identity(im, &m.identity);
		else if (m.kind == IMG_OBJECT)
			e = import_object(im, &m.object);
		else
			e = ERR_MALFORMED;
	}
	imaging_close(im->im); /* a fresh one for the next file */
	im->im = NULL;
	return e;
}

static void
import_file(struct import *im, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum err e;

	im->now = (struct ingest_imported){ .path = path, .state = "refused" };
	im->item[0] = '\0';
	im->reason[0] = '\0';
	if (fd < 0 || fstat(fd, &st) != 0) {
		import_say(im, "refused", "the node cannot read it");
	} else if (!S_ISREG(st.st_mode)) {
		import_say(im, "refused", "not a regular file");
	} else if ((uint64_t)st.st_size > LIM_OBJECT_BYTES) {
		import_say(im, "refused", "larger than 2 GiB");
	} else {
		im->now.bytes = (uint64_t)st.st_size;
		e = import_talk(im, fd, (uint64_t)st.st_size);
		if (e == ERR_FOREIGN)
			import_say(im, "refused",
			    "the parser died on it; the file was not taken");
		else if (e != ERR_OK)
			import_say(im, "refused", err_text(e));
	}
	if (fd >= 0)
		(void)close(fd);
	im->now.item = im->item;
	im->now.reason = im->reason;
	if (im->fn(im->ctx, &im->now) != 0)
		im->stop = true;
}

static void import_path(struct import *im, const char *path, int depth);

/* A row for what is no file: nothing that was asked for goes unsaid. */
static void
import_skipped(struct import *im, const char *path, const char *reason)
{
	im->now = (struct ingest_imported){ .path = path };
	im->item[0] = '\0';
	import_say(im, "refused", reason);
	im->now.item = im->item;
	im->now.reason = im->reason;
	if (im->fn(im->ctx, &im->now) != 0)
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
			import_path(im, buf_cstr(&b), depth + 1);
		}
		buf_fini(&b);
		free(names[i]);
	}
	free(names);
}

static void
import_path(struct import *im, const char *path, int depth)
{
	struct stat st;

	if (path[0] != '\0' && lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (depth < IMPORT_DEPTH_MAX)
			import_folder(im, path, depth);
		else
			import_skipped(im, path, "folders nest too deeply");
		return;
	}
	import_file(im, path);
}

static enum err
import_check(struct ingest *g, const struct ingest_import_opts *o,
    struct import *im, struct errmsg *em)
{
	struct share_info info;
	enum err e = sink_for_share(g, o->share, o->compartment, &im->sink, em);

	if (e != ERR_OK)
		return e;
	if (o->profile != NULL && o->profile[0] != '\0') {
		if (strcmp(o->profile, "basic") != 0 &&
		    strcmp(o->profile, "trial-imaging") != 0)
			return errmsg_set(em, ERR_NOTFOUND,
			    "use basic or trial-imaging",
			    "no de-identification profile is called %.32s",
			    o->profile);
		(void)snprintf(im->sink.profile, sizeof(im->sink.profile), "%s",
		    o->profile);
	}
	im->sink.no_deid = o->no_deid;
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
	im->fn = fn;
	im->ctx = ctx;
	e = import_check(g, o, im, em);
	if (e == ERR_OK && o->no_deid) {
		audit.o = o;
		audit.sink = &im->sink;
		e = store_write(g->o.store, import_audit_job, &audit);
	}
	for (i = 0; e == ERR_OK && i < o->n_paths && !im->stop; i++)
		import_path(im, o->paths[i], 0);
	imaging_close(im->im);
	mem_free(im);
	return e;
}
