/* node/api/pull.c: ask an archive, and tell series by series what came. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"

struct pull_run {
	struct api_rows rows;
	uint64_t started_ms, told_ms;
	uint64_t series, found, here;
	bool dry_run;
	enum err e; /* why rows could not be written */
};

/* How far it is, ten times a second at most. */
static int
pull_progress(struct pull_run *run, uint32_t images)
{
	uint64_t now = clock_mono_ms();
	struct jw *w;

	if (now - run->told_ms < 100)
		return 0;
	run->told_ms = now;
	w = api_row(&run->rows);
	jw_obj(w, "progress");
	jw_u64(w, "images", images);
	jw_end(w);
	api_row_end(&run->rows);
	run->e = api_rows_flush(&run->rows);
	return run->e == ERR_OK ? 0 : 1;
}

static int
pull_row(void *ctx, const struct ingest_pulled *p)
{
	struct pull_run *run = ctx;
	struct jw *w;

	if (p->series == NULL)
		return pull_progress(run, p->stored);
	run->series++;
	run->found += p->found;
	run->here += p->here;
	w = api_row(&run->rows);
	jw_str(w, "study", p->study);
	jw_str(w, "series", p->series);
	jw_str(w, "modality", p->modality);
	jw_u64(w, "found", p->found);
	jw_u64(w, "here", p->here);
	jw_u64(w, "missing", p->found - p->here);
	if (!run->dry_run) {
		jw_u64(w, "stored", p->stored);
		jw_u64(w, "duplicate", p->duplicates);
		jw_u64(w, "refused", p->refused);
		jw_str(w, "reason", p->reason[0] != '\0' ? p->reason : NULL);
	}
	api_row_end(&run->rows);
	run->e = api_rows_flush(&run->rows);
	return run->e == ERR_OK ? 0 : 1;
}

static enum err
pull_summary(struct pull_run *run)
{
	struct jw *w = api_row(&run->rows);

	jw_obj(w, "summary");
	jw_u64(w, "series", run->series);
	jw_u64(w, "found", run->found);
	jw_u64(w, "here", run->here);
	jw_u64(w, "missing", run->found - run->here);
	jw_bool(w, "dry_run", run->dry_run);
	jw_f64(
	    w, "seconds", (double)(clock_mono_ms() - run->started_ms) / 1000.0);
	jw_end(w);
	api_row_end(&run->rows);
	return api_rows_flush(&run->rows);
}

enum err
api_h_pull(struct api_call *c)
{
	static const char *const keys[] = { "s:archive", "s:patient", "s:study",
		"s:series", "s:accession", "s:date", "s:modality", "b:dry_run",
		"b:move", NULL };
	struct pull_run run = { .started_ms = clock_mono_ms() };
	struct ingest_pull_opts o = { 0 };
	char actor[API_ACTOR_BYTES];
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "archive", &o.archive)) != ERR_OK)
		return e;
	api_actor(c, actor);
	o.actor = actor;
	o.patient = json_get_str(c->body, "patient", NULL);
	o.study = json_get_str(c->body, "study", NULL);
	o.series = json_get_str(c->body, "series", NULL);
	o.accession = json_get_str(c->body, "accession", NULL);
	o.date = json_get_str(c->body, "date", NULL);
	o.modality = json_get_str(c->body, "modality", NULL);
	o.dry_run = run.dry_run = json_get_bool(c->body, "dry_run", false);
	o.move = json_get_bool(c->body, "move", false);
	api_rows_init(&run.rows, c, API_ROW_BYTES);
	e = ingest_pull(c->a->o.ingest, &o, pull_row, &run, &c->em);
	if (run.e != ERR_OK)
		e = run.e;
	if (e == ERR_OK)
		e = pull_summary(&run);
	api_rows_fini(&run.rows);
	return e;
}
