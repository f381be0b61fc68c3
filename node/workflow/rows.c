/* node/workflow/rows.c: definitions and runs as rows. */
#include "node/workflow/workflow_internal.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define WF_DEFS_MAX 1024u

static const struct mp_limits wf_limits = {
	.bytes_max = WF_YAML_MAX + 8 * KIB,
	.count_max = 64,
	.depth_max = 4,
};

void
wf_no_key(uint64_t no, uint8_t key[8])
{
	enc_be64(no, key);
}

uint64_t
wf_no_of(struct slice key)
{
	return key.n == 8 ? dec_be64(key.p) : 0;
}

void
wf_key_of(const struct slice *parts, size_t n, struct wf_key *out)
{
	cry_hash_parts(
	    NULL, "psc.workflow.1", parts, n, out->b, sizeof(out->b));
}

enum err
wf_def_put(struct store_txn *t, const struct wf_def *d, struct slice yaml)
{
	struct buf b = BUF_MAX(WF_YAML_MAX + 8 * KIB);
	enum err e;

	mp_w_map(&b, 8);
	mp_kv_cstr(&b, "name", d->name);
	mp_kv_cstr(&b, "share_name", d->share_name);
	mp_kv_bin(&b, "share", slice_of(d->share.b, 32));
	mp_kv_bin(&b, "hash", slice_of(d->hash.b, 32));
	mp_kv_u64(&b, "added", d->added_ms);
	mp_kv_cstr(&b, "where", d->where);
	mp_kv_cstr(&b, "step", d->step);
	mp_kv_str(&b, "yaml", yaml);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(
		    t, "wf", slice_of(d->key.b, 16), buf_slice(&b));
	buf_fini(&b);
	return e;
}

enum err
wf_def_decode(struct slice key, struct slice value, struct wf_def *out)
{
	struct mp_doc d = { 0 };
	const struct mp_node *r;
	enum err e = mp_parse(value, &wf_limits, &d);

	if (e != ERR_OK || key.n != 16)
		return ERR_CORRUPT;
	memset(out, 0, sizeof(*out));
	memcpy(out->key.b, key.p, 16);
	r = d.root;
	mp_text(&d, mp_get(r, "name"), out->name, sizeof(out->name));
	mp_text(&d, mp_get(r, "share_name"), out->share_name,
	    sizeof(out->share_name));
	mp_fixed(&d, mp_get(r, "share"), out->share.b, 32);
	mp_fixed(&d, mp_get(r, "hash"), out->hash.b, 32);
	out->added_ms = mp_u64(&d, mp_get(r, "added"), UINT64_MAX);
	mp_text(&d, mp_get(r, "where"), out->where, sizeof(out->where));
	mp_text(&d, mp_get(r, "step"), out->step, sizeof(out->step));
	e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	mp_doc_fini(&d);
	return e;
}

enum err
wf_run_put(struct store_txn *t, const struct wf_run *r)
{
	struct buf b = BUF_MAX(8 * KIB);
	uint8_t key[8];
	enum err e;

	mp_w_map(&b, 11);
	mp_kv_u64(&b, "no", r->no);
	mp_kv_bin(&b, "def", slice_of(r->def.b, 16));
	mp_kv_cstr(&b, "workflow", r->workflow);
	mp_kv_cstr(&b, "state", r->state);
	mp_kv_bin(&b, "input", slice_of(r->input.b, 20));
	mp_kv_bin(&b, "op", slice_of(r->input_op.b, 32));
	mp_kv_bin(&b, "output", slice_of(r->output.b, 20));
	mp_kv_cstr(&b, "reason", r->reason);
	mp_kv_u64(&b, "started", r->started_ms);
	mp_kv_u64(&b, "ended", r->ended_ms);
	mp_kv_u64(&b, "attempt", r->attempt);
	e = buf_err(&b);
	wf_no_key(r->no, key);
	if (e == ERR_OK)
		e = store_row_put(t, "run", slice_of(key, 8), buf_slice(&b));
	buf_fini(&b);
	return e;
}

enum err
wf_run_decode(struct slice value, struct wf_run *out)
{
	struct mp_doc d = { 0 };
	const struct mp_node *r;
	enum err e = mp_parse(value, &wf_limits, &d);

	if (e != ERR_OK)
		return ERR_CORRUPT;
	memset(out, 0, sizeof(*out));
	r = d.root;
	out->no = mp_u64(&d, mp_get(r, "no"), UINT64_MAX);
	mp_fixed(&d, mp_get(r, "def"), out->def.b, 16);
	mp_text(
	    &d, mp_get(r, "workflow"), out->workflow, sizeof(out->workflow));
	mp_text(&d, mp_get(r, "state"), out->state, sizeof(out->state));
	mp_fixed(&d, mp_get(r, "input"), out->input.b, 20);
	mp_fixed(&d, mp_get(r, "op"), out->input_op.b, 32);
	mp_fixed(&d, mp_get(r, "output"), out->output.b, 20);
	mp_text(&d, mp_get(r, "reason"), out->reason, sizeof(out->reason));
	out->started_ms = mp_u64(&d, mp_get(r, "started"), UINT64_MAX);
	out->ended_ms = mp_u64(&d, mp_get(r, "ended"), UINT64_MAX);
	out->attempt = (uint32_t)mp_u64(&d, mp_get(r, "attempt"), UINT32_MAX);
	e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	mp_doc_fini(&d);
	return e;
}

enum err
wf_run_get(struct store *s, struct db_txn *t, uint64_t no, struct wf_run *out)
{
	struct buf b = BUF_MAX(8 * KIB);
	uint8_t key[8];
	enum err e;

	wf_no_key(no, key);
	e = store_row_get(s, t, "run", slice_of(key, 8), &b);
	if (e == ERR_OK)
		e = wf_run_decode(buf_slice(&b), out);
	buf_fini(&b);
	return e;
}

struct defs {
	struct wf_def *list;
	uint32_t n;
	enum err err;
};

static int
defs_row(void *ctx, struct slice key, struct slice value)
{
	struct defs *d = ctx;
	struct wf_def *p;

	if (d->n >= WF_DEFS_MAX) {
		d->err = ERR_LIMIT;
		return 1;
	}
	p = mem_grow(d->list, d->n + 1, sizeof(*p));
	if (p == NULL) {
		d->err = ERR_NOMEM;
		return 1;
	}
	d->list = p;
	d->err = wf_def_decode(key, value, &p[d->n]);
	d->n++;
	return d->err != ERR_OK;
}

enum err
wf_defs(struct workflows *w, struct wf_def **list, uint32_t *n)
{
	struct defs d = { 0 };
	struct db_txn *t;
	enum err e = store_read(w->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = store_row_each(
	    w->o.store, t, "wf", (struct slice){ 0 }, defs_row, &d);
	db_abort(t);
	if (e == ERR_OK)
		e = d.err;
	if (e != ERR_OK) {
		mem_free(d.list);
		return e;
	}
	*list = d.list;
	*n = d.n;
	return ERR_OK;
}
