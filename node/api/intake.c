/* node/api/intake.c: import, quarantine, release, reject, lookup lists.
 *
 * Paths are opened by the node: these routes are for its own machine only.
 * Rows of an import go out as the files are done. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"
#include "store/base/mem.h"

#define IMPORT_PATHS_MAX 4096u

/* --- import --- */
struct import_run {
	struct api_rows rows;
	uint64_t files, bytes;
	uint64_t stored, duplicate, quarantined, refused;
	bool brief;       /* only counts of files that need nobody */
	uint64_t told_ms; /* when they were told last */
	enum err e;       /* why rows could not be written */
};

static void
import_count(struct import_run *run, const struct ingest_imported *f)
{
	run->files++;
	run->bytes += f->bytes;
	if (strcmp(f->state, "stored") == 0)
		run->stored++;
	else if (strcmp(f->state, "duplicate") == 0)
		run->duplicate++;
	else if (strcmp(f->state, "quarantined") == 0)
		run->quarantined++;
	else
		run->refused++;
}

/* How far it is, ten times a second at most. */
static int
import_progress(struct import_run *run)
{
	uint64_t now = clock_mono_ms();
	struct jw *w;

	if (now - run->told_ms < 100)
		return 0;
	run->told_ms = now;
	w = api_row(&run->rows);
	jw_obj(w, "progress");
	jw_u64(w, "files", run->files);
	jw_u64(w, "bytes", run->bytes);
	jw_end(w);
	api_row_end(&run->rows);
	run->e = api_rows_flush(&run->rows);
	return run->e == ERR_OK ? 0 : 1;
}

static int
import_row(void *ctx, const struct ingest_imported *f)
{
	struct import_run *run = ctx;
	struct jw *w;

	import_count(run, f);
	if (run->brief && (strcmp(f->state, "stored") == 0 ||
			      strcmp(f->state, "duplicate") == 0))
		return import_progress(run);
	w = api_row(&run->rows);
	jw_str(w, "path", f->path);
	jw_str(w, "state", f->state);
	jw_null(w, "asset"); /* an item gets its asset when it is released */
	jw_str(
	    w, "item", f->item != NULL && f->item[0] != '\0' ? f->item : NULL);
	jw_str(w, "reason",
	    f->reason != NULL && f->reason[0] != '\0' ? f->reason : NULL);
	jw_u64(w, "bytes", f->bytes);
	api_row_end(&run->rows);
	run->e = api_rows_flush(&run->rows);
	return run->e == ERR_OK ? 0 : 1;
}

static void
import_summary(struct import_run *run, uint64_t started_ms)
{
	struct jw *w = api_row(&run->rows);

	jw_obj(w, "summary");
	jw_u64(w, "files", run->files);
	jw_u64(w, "bytes", run->bytes);
	jw_u64(w, "stored", run->stored);
	jw_u64(w, "duplicate", run->duplicate);
	jw_u64(w, "quarantined", run->quarantined);
	jw_u64(w, "refused", run->refused);
	jw_f64(w, "seconds", (double)(clock_mono_ms() - started_ms) / 1000.0);
	jw_end(w);
	api_row_end(&run->rows);
}

static enum err
import_paths(struct api_call *c, const char ***out, uint32_t *n)
{
	const struct json *list = json_get(c->body, "paths");
	size_t i, len = json_len(list);
	const char **p;

	if (!json_is_array(list) || len == 0 || len > IMPORT_PATHS_MAX)
		return errmsg_set(&c->em, ERR_MALFORMED, "Name files.",
		    "paths must be a list of 1 to %u paths", IMPORT_PATHS_MAX);
	p = mem_array(len, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	for (i = 0; i < len; i++) {
		p[i] = json_str(json_at(list, i));
		if (p[i] == NULL || p[i][0] != '/') {
			mem_free(p);
			return errmsg_set(&c->em, ERR_MALFORMED,
			    "Give absolute paths.", "a path is not absolute");
		}
	}
	*out = p;
	*n = (uint32_t)len;
	return ERR_OK;
}

enum err
api_h_import(struct api_call *c)
{
	static const char *const keys[] = { "l:paths", "s:share",
		"s:compartment", "s:profile", "s:domain", "b:no_deid",
		"s:reason", "b:brief", NULL };
	uint64_t started = clock_mono_ms();
	struct ingest_import_opts o = { 0 };
	struct import_run run = { 0 };
	const char **paths = NULL;
	char actor[API_ACTOR_BYTES];
	uint32_t n = 0;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "share", &o.share)) != ERR_OK ||
	    (e = import_paths(c, &paths, &n)) != ERR_OK)
		return e;
	api_actor(c, actor);
	o.actor = actor;
	o.compartment = json_get_str(c->body, "compartment", NULL);
	o.profile = json_get_str(c->body, "profile", NULL);
	o.domain = json_get_str(c->body, "domain", NULL);
	o.no_deid = json_get_bool(c->body, "no_deid", false);
	o.reason = json_get_str(c->body, "reason", NULL);
	run.brief = json_get_bool(c->body, "brief", false);
	api_rows_init(&run.rows, c, API_ROW_BYTES);
	if (o.no_deid && o.reason == NULL)
		e = errmsg_set(&c->em, ERR_MALFORMED, "Give --reason TEXT.",
		    "no_deid needs a reason");
	o.paths = paths;
	o.n_paths = n;
	if (e == ERR_OK)
		e = ingest_import(c->a->o.ingest, &o, import_row, &run, &c->em);
	if (run.e != ERR_OK)
		e = run.e;
	if (e == ERR_OK) {
		import_summary(&run, started);
		e = api_rows_flush(&run.rows);
	}
	api_rows_fini(&run.rows);
	mem_free(paths);
	return e;
}

enum err
api_h_lookup(struct api_call *c)
{
	static const char *const keys[] = { "s:path", "s:domain", NULL };
	struct buf b = BUF_MAX(256);
	char actor[API_ACTOR_BYTES];
	const char *path;
	uint64_t added = 0;
	struct jw w;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "path", &path)) != ERR_OK)
		return e;
	if (path[0] != '/')
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Give an absolute path.", "the path is not absolute");
	api_actor(c, actor);
	e = ingest_lookup_import(c->a->o.ingest, path,
	    json_get_str(c->body, "domain", NULL), actor, &added, &c->em);
	if (e != ERR_OK)
		return e;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_u64(&w, "added", added);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* --- preview --- */
static void
preview_row(struct jw *w, const struct mp_node *row)
{
	static const char *const keys[] = { "at", "name", "vr", "did", "was",
		"now", "why" };
	struct mp_doc d = { 0 };
	char text[1025];

	for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
		mp_text(&d, mp_get(row, keys[k]), text, sizeof(text));
		jw_str(w, keys[k], text);
	}
}

/* The findings close the rows, as the summary of an import does. */
static enum err
preview_rows(struct api_call *c, const struct mp_doc *d)
{
	const struct mp_node *rows = mp_get(d->root, "rows");
	const struct mp_node *list = mp_get(d->root, "findings");
	struct mp_doc read = { 0 };
	struct api_rows out;
	char text[200];
	struct jw *w;
	enum err e = ERR_OK;

	api_rows_init(&out, c, API_ROW_BYTES);
	for (uint32_t i = 0; e == ERR_OK && i < mp_len(rows); i++) {
		preview_row(api_row(&out), mp_at(rows, i));
		api_row_end(&out);
		e = api_rows_flush(&out);
	}
	w = api_row(&out);
	jw_obj(w, "summary");
	jw_bool(w, "releasable", mp_bool(&read, mp_get(d->root, "releasable")));
	jw_bool(w, "more", mp_bool(&read, mp_get(d->root, "more")));
	jw_arr(w, "findings");
	for (uint32_t i = 0; i < mp_len(list); i++) {
		jw_obj(w, NULL);
		mp_text(
		    &read, mp_get(mp_at(list, i), "kind"), text, sizeof(text));
		jw_str(w, "kind", text);
		mp_text(&read, mp_get(mp_at(list, i), "detail"), text,
		    sizeof(text));
		jw_str(w, "detail", text);
		jw_end(w);
	}
	jw_end(w);
	jw_end(w);
	api_row_end(&out);
	if (e == ERR_OK)
		e = api_rows_flush(&out);
	api_rows_fini(&out);
	return e;
}

enum err
api_h_preview(struct api_call *c)
{
	static const char *const keys[] = { "s:path", "s:profile", NULL };
	static const struct mp_limits lim = { INGEST_PREVIEW_BYTES,
		INGEST_PREVIEW_ROWS, 4 };
	struct buf b = BUF_MAX(INGEST_PREVIEW_BYTES);
	char actor[API_ACTOR_BYTES];
	struct mp_doc d = { 0 };
	const char *path;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "path", &path)) != ERR_OK)
		return e;
	if (path[0] != '/')
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Give an absolute path.", "the path is not absolute");
	api_actor(c, actor);
	e = ingest_preview(c->a->o.ingest, path,
	    json_get_str(c->body, "profile", NULL), actor, &b, &c->em);
	if (e == ERR_OK)
		e = mp_parse(buf_slice(&b), &lim, &d);
	if (e == ERR_OK)
		e = preview_rows(c, &d);
	mp_doc_fini(&d);
	buf_wipe(&b);
	return e;
}

/* --- quarantine --- */
static void
item_members(struct jw *w, const struct ingest_item *it)
{
	uint32_t i;

	jw_str(w, "id", it->id);
	jw_str(w, "state", it->state);
	api_jw_time(w, "received", it->received_ms);
	jw_str(w, "calling_ae", it->calling_ae);
	jw_str(w, "modality", it->modality);
	jw_str(w, "subject", it->subject[0] != '\0' ? it->subject : NULL);
	jw_str(w, "share", it->share);
	jw_str(w, "compartment", it->compartment);
	jw_u64(w, "instances", it->instances);
	jw_u64(w, "bytes", it->bytes);
	jw_str(w, "asset", it->asset[0] != '\0' ? it->asset : NULL);
	jw_arr(w, "findings");
	for (i = 0; i < it->n_findings; i++) {
		jw_obj(w, NULL);
		jw_str(w, "kind", it->findings[i].kind);
		jw_str(w, "detail", it->findings[i].detail);
		jw_end(w);
	}
	jw_end(w);
}

static int
item_row(void *ctx, const struct ingest_item *it)
{
	struct api_rows *s = ctx;

	item_members(api_row(s), it);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_quarantine(struct api_call *c)
{
	struct api_rows s;
	enum err e;

	api_rows_init(&s, c, API_LIST_BYTES);
	e = ingest_quarantine_each(
	    c->a->o.ingest, api_arg(c, "state"), item_row, &s);
	if (e == ERR_OK || buf_err(&s.b) != ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}

struct item_search {
	const char *prefix;
	struct ingest_item found;
	uint32_t n;
};

static int
item_match(void *ctx, const struct ingest_item *it)
{
	struct item_search *q = ctx;

	if (strncmp(it->id, q->prefix, strlen(q->prefix)) != 0)
		return 0;
	q->found = *it;
	q->n++;
	return strcmp(it->id, q->prefix) == 0 ? 1 : 0;
}

static enum err
item_answer(struct api_call *c, const struct ingest_item *it)
{
	struct buf b = BUF_MAX(64 * KIB);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	item_members(&w, it);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

enum err
api_h_quarantine_one(struct api_call *c)
{
	struct item_search *q = mem_new(sizeof(*q));
	enum err e;

	if (q == NULL)
		return ERR_NOMEM;
	q->prefix = c->param[0];
	e = ingest_quarantine_each(c->a->o.ingest, "all", item_match, q);
	if (q->n > 0 && strcmp(q->found.id, q->prefix) == 0) {
		e = ERR_OK;
		q->n = 1;
	}
	if (e == ERR_OK && q->n == 0)
		e = errmsg_set(&c->em, ERR_NOTFOUND,
		    "See: pesscara quarantine list",
		    "no quarantine item has this id");
	if (e == ERR_OK && q->n > 1)
		e = errmsg_set(&c->em, ERR_LIMIT, "Give more characters.",
		    "several quarantine items begin so");
	if (e == ERR_OK)
		e = item_answer(c, &q->found);
	mem_free(q);
	return e;
}

typedef enum err (*item_act_fn)(struct ingest *g, const char *id,
    const char *actor, const char *reason, struct ingest_item *out,
    struct errmsg *em);

static enum err
item_act(struct api_call *c, item_act_fn act, bool reason_needed)
{
	static const char *const keys[] = { "s:reason", NULL };
	struct ingest_item *it;
	char actor[API_ACTOR_BYTES];
	const char *reason;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	reason = json_get_str(c->body, "reason", "");
	if (reason_needed && (e = api_need(c, "reason", &reason)) != ERR_OK)
		return e;
	it = mem_new(sizeof(*it));
	if (it == NULL)
		return ERR_NOMEM;
	api_actor(c, actor);
	e = act(c->a->o.ingest, c->param[0], actor, reason, it, &c->em);
	if (e == ERR_OK)
		e = item_answer(c, it);
	mem_free(it);
	return e;
}

enum err
api_h_release(struct api_call *c)
{
	return item_act(c, ingest_release, false);
}

enum err
api_h_reject(struct api_call *c)
{
	return item_act(c, ingest_reject, true);
}
