/* node/ingest/quarantine.c: list and count held items. */
#include "node/ingest/ingest_internal.h"
#include "store/base/enc.h"

void
q_public(const struct q_item *q, struct ingest_item *out)
{
	static const struct asset_id none;

	memset(out, 0, sizeof(*out));
	q_text(q->no, out->id);
	memcpy(out->state, q->state, sizeof(out->state));
	out->received_ms = q->received_ms;
	memcpy(out->calling_ae, q->calling_ae, sizeof(out->calling_ae));
	memcpy(out->modality, q->modality, sizeof(out->modality));
	(void)snprintf(
	    out->subject, sizeof(out->subject), "%.127s", q->subject);
	memcpy(out->share, q->share_name, sizeof(out->share));
	memcpy(out->compartment, q->compartment_name, sizeof(out->compartment));
	out->instances = q->instances;
	out->bytes = q->bytes;
	out->n_findings = q->n_findings;
	memcpy(out->findings, q->findings, sizeof(out->findings));
	if (memcmp(&q->asset, &none, sizeof(none)) != 0)
		enc_b32(slice_of(q->asset.b, 20), out->asset);
}

struct each {
	const char *state;
	ingest_item_fn fn;
	void *ctx;
	enum err err;
};

static int
each_row(void *ctx, struct slice key, struct slice value)
{
	struct each *w = ctx;
	struct ingest_item it;
	struct q_item q;

	(void)key;
	w->err = q_decode(value, &q);
	if (w->err != ERR_OK)
		return 1;
	if (strcmp(w->state, "all") != 0 && strcmp(w->state, q.state) != 0)
		return 0;
	q_public(&q, &it);
	return w->fn(w->ctx, &it);
}

enum err
ingest_quarantine_each(
    struct ingest *g, const char *state, ingest_item_fn fn, void *ctx)
{
	struct each w = { state == NULL ? "held" : state, fn, ctx, ERR_OK };
	struct db_txn *t;
	enum err e = store_read(g->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = store_row_each(
	    g->o.store, t, "q", (struct slice){ 0 }, each_row, &w);
	db_abort(t);
	return e != ERR_OK ? e : w.err;
}

static int
count_one(void *ctx, const struct ingest_item *it)
{
	uint64_t *n = ctx;

	(void)it;
	(*n)++;
	return 0;
}

uint64_t
ingest_quarantine_held(struct ingest *g)
{
	uint64_t n = 0;

	if (ingest_quarantine_each(g, "held", count_one, &n) != ERR_OK)
		return 0;
	return n;
}
