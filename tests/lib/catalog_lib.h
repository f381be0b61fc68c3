/* tests/lib/catalog_lib.h: an open store and easy puts for catalog tests.
 * A header only, because the other tests do not link the catalog. */
#ifndef PSC_TESTS_CATALOG_LIB_H
#define PSC_TESTS_CATALOG_LIB_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include "lib/tmpdir.h"
#include "store/catalog/catalog.h"

#define CL_UNUSED __attribute__((unused))

struct cl {
	char dir[TMPDIR_MAX];
	struct store *s;
};

static CL_UNUSED void
cl_open(struct cl *c)
{
	struct store_opts o = { .dir = c->dir,
		.segment_bytes = 16 * 1024 * 1024,
		.map_bytes = (size_t)1 << 30 };
	struct errmsg em = { 0 };

	memset(o.local.b, 1, sizeof(o.local.b));
	memset(o.convergence.b, 2, sizeof(o.convergence.b));
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&o, &c->s, &em), ERR_OK);
}

static CL_UNUSED void
cl_init(struct cl *c)
{
	memset(c, 0, sizeof(*c));
	tmpdir_make(c->dir);
	cl_open(c);
}

static CL_UNUSED void
cl_fini(struct cl *c)
{
	store_close(c->s);
	tmpdir_remove(c->dir);
}

static CL_UNUSED struct db_txn *
cl_read(struct cl *c)
{
	struct db_txn *t = NULL;

	assert_int_equal(store_read(c->s, &t), ERR_OK);
	return t;
}

/* One put, as node/share would hand it over. */
struct cl_put {
	struct cat_origin o;
	struct buf payload;
	struct asset_id asset; /* out */
};

static CL_UNUSED struct cry_id
cl_id(const char *domain, uint64_t n)
{
	struct slice s = slice_of(&n, sizeof(n));
	struct cry_id id;

	cry_hash_parts(NULL, domain, &s, 1, id.b, sizeof(id.b));
	return id;
}

static CL_UNUSED enum err
cl_put_job(struct store_txn *t, void *ctx)
{
	struct cl_put *p = ctx;
	enum err e = oplog_share_add(t, &p->o.share, &p->o.share_no);

	return e == ERR_OK
		   ? cat_apply_put(t, &p->o, buf_slice(&p->payload), &p->asset)
		   : e;
}

static CL_UNUSED struct cat_put
cl_put_of(const struct cat_node *path, uint32_t n)
{
	struct cat_put p = {
		.path = path, .n_path = n, .actor = "ada@north", .site = "north"
	};

	return p;
}

/* Field maps from text: cl_map(&b, "Modality", "MR", "Age", 3.5 ...) would
 * need types; these two are enough. */
static CL_UNUSED struct slice
cl_map1(struct buf *b, const char *k, const char *v)
{
	*b = BUF_MAX(4096);
	mp_w_map(b, 1);
	mp_kv_cstr(b, k, v);
	assert_int_equal(buf_err(b), ERR_OK);
	return buf_slice(b);
}

#endif
