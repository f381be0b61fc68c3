/* tests/lib/site.h: a whole site for tests of share and net: keys, a store in
 * a folder, shares, and things to put into them.  Functions are static so
 * that only programs which link the rooms need them. */
#ifndef PSC_TESTS_SITE_H
#define PSC_TESTS_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "node/share/share.h"
#include "store/base/clock.h"

#define UNUSED_FN __attribute__((unused))
#define assert_ok(e) assert_int_equal((e), ERR_OK)

struct site {
	char dir[TMPDIR_MAX];
	char name[32];
	struct cry_identity me;
	struct cry_box_sk recovery;
	struct store *st;
	struct shares *sh;
	size_t segment_bytes; /* 0: 64 MiB; site_new keeps it */
};

/* As a node has them, without the vault. */
static const struct store_owners site_owners = {
	.refs_each = oplog_refs_each,
	.chunk_came = oplog_chunk_came,
	.rec_move = oplog_rec_move,
	.rec_known = shares_rec_known,
};

static UNUSED_FN void
site_open(struct site *s)
{
	struct store_opts so = { .dir = s->dir,
		.local = s->me.local,
		.convergence = s->me.convergence,
		.owners = &site_owners,
		.segment_bytes =
		    s->segment_bytes != 0 ? s->segment_bytes : 64 * MIB,
		.map_bytes = 512 * MIB };
	struct errmsg em = { 0 };
	struct shares_opts o = { .me = &s->me, .site = s->name };

	assert_ok(store_open(&so, &s->st, &em));
	o.store = s->st;
	assert_ok(shares_open(&o, &s->sh, &em));
}

static UNUSED_FN void
site_close(struct site *s)
{
	shares_close(s->sh);
	store_close(s->st);
	s->sh = NULL;
	s->st = NULL;
}

static UNUSED_FN void
site_new(struct site *s, const char *name)
{
	size_t segment_bytes = s->segment_bytes;

	memset(s, 0, sizeof(*s));
	s->segment_bytes = segment_bytes;
	tmpdir_make(s->dir);
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	assert_ok(cry_init());
	cry_identity_new(&s->me, &s->recovery);
	site_open(s);
}

static UNUSED_FN void
site_end(struct site *s)
{
	site_close(s);
	tmpdir_remove(s->dir);
}

static UNUSED_FN struct share_info
site_share(struct site *s, const char *name)
{
	struct share_info i;
	struct errmsg em = { 0 };

	assert_ok(shares_find(s->sh, name, &i, &em));
	return i;
}

/* --- putting --- */

struct site_put {
	struct site *s;
	const char *share, *compartment, *subject;
	bool derived;
	const uint8_t *bytes;
	size_t n;
	/* filled in */
	uint32_t share_no;
	uint16_t c_no;
	struct blob_batch *batch;
	struct content_done done;
	struct asset_id asset;
};

static UNUSED_FN enum err
site_put_job(struct store_txn *t, void *ctx)
{
	struct site_put *p = ctx;
	struct cat_node path[2] = { { .level = "subject", .key = p->subject },
		{ .level = p->derived ? "nifti" : "series",
		    .key = p->subject } };
	struct cat_put put = { .path = path,
		.n_path = 2,
		.derived = p->derived,
		.manifest = buf_slice(&p->done.manifest),
		.hash = p->done.hash,
		.bytes = p->done.bytes,
		.members = p->done.members,
		.actor = "tester@site",
		.site = p->s->name };
	enum err e = blob_batch_put(t, p->batch);

	if (e == ERR_OK)
		e = shares_append_put(t, p->s->sh, p->share_no, p->c_no, &put,
		    buf_slice(&p->done.packing), &p->asset);
	return e;
}

/* One file as a new version; what the job said. */
static UNUSED_FN enum err
site_put(struct site_put *p)
{
	struct share_info i = site_share(p->s, p->share);
	struct content_add add = { .name = "file.bin", .len = p->n };
	struct content_writer *w;
	struct buf body = BUF_MAX(4 * MIB);
	struct errmsg em = { 0 };
	uint32_t k;
	enum err e;

	p->share_no = i.no;
	p->c_no = 0;
	for (k = 0; k < i.n_compartments; k++) {
		if (strcmp(i.c[k].name, p->compartment) == 0)
			p->c_no = i.c[k].no;
	}
	assert_true(p->c_no != 0);
	share_info_fini(&i);
	(void)em;
	p->batch = blob_batch_new(p->s->st);
	assert_non_null(p->batch);
	w = content_writer_new(p->batch);
	assert_non_null(w);
	assert_ok(
	    blob_batch_add(p->batch, slice_of(p->bytes, p->n), NULL, 0, &body));
	add.body = buf_slice(&body);
	cry_hash(slice_of(p->bytes, p->n), &add.hash);
	assert_ok(content_writer_add(w, &add));
	assert_ok(content_writer_end(w, &p->done));
	content_writer_free(w);
	e = store_write(p->s->st, site_put_job, p);
	blob_batch_free(p->batch);
	content_done_fini(&p->done);
	buf_fini(&body);
	return e;
}

/* Bytes of the asset's only file at a site. ERR_NOTFOUND: not (all) here. */
static UNUSED_FN enum err
site_read(struct site *s, const struct asset_id *id, struct buf *out)
{
	struct buf manifest = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct db_txn *txn = NULL;
	struct content *c = NULL;
	enum err e;

	assert_ok(store_read(s->st, &txn));
	e = cat_manifest(s->st, txn, id, &manifest);
	db_abort(txn);
	if (e == ERR_OK)
		e = content_open(s->st, buf_slice(&manifest), &c);
	if (e == ERR_OK)
		e = content_read(c, 0, out);
	content_close(c);
	buf_fini(&manifest);
	return e;
}

static UNUSED_FN bool
site_has(
    struct site *s, const struct asset_id *id, const uint8_t *bytes, size_t n)
{
	struct buf got = BUF_MAX(64 * MIB);
	enum err e = site_read(s, id, &got);
	bool same =
	    e == ERR_OK && slice_eq(buf_slice(&got), slice_of(bytes, n));

	buf_fini(&got);
	return same;
}

/* --- counting --- */

struct site_count {
	uint64_t n;
	const char *type;
	char detail[200];
};

static UNUSED_FN int
site_count_row(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	((struct site_count *)ctx)->n++;
	return 0;
}

static UNUSED_FN uint64_t
site_rows(struct site *s, const char *tag)
{
	struct site_count c = { 0 };
	struct db_txn *txn = NULL;

	assert_ok(store_read(s->st, &txn));
	assert_ok(store_row_each(
	    s->st, txn, tag, (struct slice){ 0 }, site_count_row, &c));
	db_abort(txn);
	return c.n;
}

static UNUSED_FN int
site_count_event(void *ctx, const struct cat_event *e)
{
	struct site_count *c = ctx;

	if (strcmp(e->type, c->type) != 0)
		return 0;
	c->n++;
	memcpy(c->detail, e->detail, sizeof(c->detail));
	return 0;
}

static UNUSED_FN struct site_count
site_events(struct site *s, const char *type)
{
	struct site_count c = { .type = type };
	struct db_txn *txn = NULL;

	assert_ok(store_read(s->st, &txn));
	assert_ok(cat_events_each(s->st, txn, 0, site_count_event, &c));
	db_abort(txn);
	return c;
}

static UNUSED_FN uint64_t
site_table(struct site *s, enum db_table tab)
{
	struct db_txn *txn = NULL;
	uint64_t n = 0;

	assert_ok(store_read(s->st, &txn));
	assert_ok(db_count(txn, tab, &n));
	db_abort(txn);
	return n;
}

/* Chunks whose bytes are here. */
static UNUSED_FN uint64_t
site_chunks(struct site *s)
{
	struct store_stats st;

	assert_ok(store_stats(s->st, &st));
	return st.chunks;
}

#endif
