/* tests/unit/helper/deid_fixture.h: one hand-made object, de-identified. */
#ifndef PSC_TESTS_DEID_FIXTURE_H
#define PSC_TESTS_DEID_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "node/imaging/helper/walk.h"
#include "store/base/mem.h"
#include "tests/lib/dcm_build.h"

/* The object under test and what became of it. */
struct run {
	struct dcm_build d;
	struct dcm_file *in;
	struct dcm_file *out;
	struct img_identity id;
	struct deid_result r;
	struct errmsg em;
	char map[IMG_UIDS_MAX][24];
	const char *uids[IMG_UIDS_MAX];
};

static inline struct run *
run_new(const char *syntax)
{
	struct run *t = mem_new(sizeof(*t));

	assert_non_null(t);
	dcm_build_init(&t->d, syntax);
	return t;
}

static inline void
run_free(struct run *t)
{
	dcm_close(t->in);
	dcm_close(t->out);
	deid_identity_fini(&t->id);
	deid_result_fini(&t->r);
	dcm_build_fini(&t->d);
	mem_free(t);
}

static inline enum err
run_with(struct run *t, struct img_context *c)
{
	enum err e;

	e = dcm_open(buf_slice(&t->d.b), &t->in, &t->em);
	if (e == ERR_OK)
		e = deid_identity(t->in, &t->id);
	for (uint32_t k = 0; e == ERR_OK && k < t->id.n_uids; k++) {
		(void)snprintf(
		    t->map[k], sizeof(t->map[k]), "2.25.%u", 1000000 + k);
		if (t->uids[k] == NULL)
			t->uids[k] = t->map[k];
	}
	c->new_uids = t->uids;
	c->n_uids = t->id.n_uids;
	if (e == ERR_OK)
		e = deid_apply(t->in, &t->id, c, &t->r, &t->em);
	if (e == ERR_OK)
		e = dcm_open(buf_slice(t->r.same ? &t->d.b : &t->r.file),
		    &t->out, &t->em);
	return e;
}

static inline void
run_basic(struct run *t)
{
	struct img_context c = { .profile = "basic", .subject = "S-01" };

	assert_int_equal(run_with(t, &c), ERR_OK);
}

static inline bool
finds(const struct run *t, const char *kind)
{
	for (uint32_t k = 0; k < t->r.n_findings; k++)
		if (strcmp(t->r.findings[k].kind, kind) == 0)
			return true;
	return false;
}

static inline bool
out_has(const struct run *t, const char *bytes)
{
	return memmem(t->r.file.p, t->r.file.n, bytes, strlen(bytes)) != NULL;
}

static inline void
assert_text(const struct run *t, uint32_t tag, const char *want)
{
	char v[300];

	assert_int_not_equal(dcm_find(t->out, tag), DCM_NONE);
	dcm_text(t->out, tag, v, sizeof(v));
	assert_string_equal(v, want);
}

#endif
