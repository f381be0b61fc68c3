/* tests/fuzz/catalog/fuzz_edit.c: the payload of an edit; what decodes says
 * who may say it and encodes again to something that means the same. */
#include "store/catalog/catalog_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
edit_again(const struct edit_view *v)
{
	struct cat_edit e = { .kind = v->kind,
		.level = v->level,
		.key = v->key,
		.name = v->name,
		.value = buf_slice(&v->value),
		.type = v->type,
		.to = v->to,
		.until_ms = v->until_ms,
		.actor = v->actor,
		.site = v->site,
		.reason = v->reason };
	struct buf out = BUF_MAX(64 * KIB);
	struct edit_view *w = mem_new(sizeof(*w));
	enum cat_edit_right right;
	enum err err = cat_edit_encode(&e, &v->seen, &out);

	REQUIRE(err == ERR_OK || err == ERR_NOMEM);
	if (w != NULL && err == ERR_OK &&
	    edit_parse(buf_slice(&out), w) == ERR_OK) {
		REQUIRE(w->kind == v->kind && w->seen.n == v->seen.n);
		REQUIRE(slice_eq(w->name, v->name));
		REQUIRE(slice_eq(buf_slice(&w->value), buf_slice(&v->value)));
		REQUIRE(
		    cat_edit_right(buf_slice(&out), &right) != ERR_MALFORMED);
		buf_fini(&w->value);
	}
	mem_free(w);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct edit_view *v = mem_new(sizeof(*v));

	if (v != NULL && cry_init() == ERR_OK &&
	    edit_parse(slice_of(data, size), v) == ERR_OK) {
		edit_again(v);
		buf_fini(&v->value);
	}
	mem_free(v);
	return 0;
}
