/* tests/fuzz/catalog/fuzz_put.c: the first byte chooses the decoder of an
 * asset.put payload or of a content table; what decodes keeps its promises:
 * a put encodes again, members have clean names. */
#include "store/catalog/catalog_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct again {
	struct cat_node path[PUT_PATH_MAX];
	struct buf fields[PUT_PATH_MAX];
	struct buf prov;
};

static void
put_again(const struct put_view *v, struct again *a)
{
	struct buf out = BUF_MAX(2 * LIM_OP_PAYLOAD_BYTES);
	struct cat_put p = { .path = a->path,
		.n_path = v->n_path,
		.derived = v->derived,
		.source = v->source,
		.manifest = v->manifest,
		.hash = v->hash,
		.bytes = v->bytes,
		.members = v->members,
		.actor = v->actor,
		.site = v->site,
		.parents = v->parents,
		.n_parents = v->n_parents };
	uint32_t i;
	enum err e;

	for (i = 0; i < v->n_path; i++) {
		a->fields[i] = BUF_MAX(LIM_OP_PAYLOAD_BYTES * 2);
		mp_w_node(&a->fields[i], v->path[i].fields);
		a->path[i] = (struct cat_node){ v->path[i].level,
			v->path[i].key, buf_slice(&a->fields[i]) };
	}
	a->prov = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	mp_w_node(&a->prov, v->provenance);
	p.provenance = buf_slice(&a->prov);
	e = cat_put_encode(&p, &out);
	/* LIMIT: floats of four bytes are written with eight. */
	REQUIRE(e == ERR_OK || e == ERR_NOMEM || e == ERR_LIMIT);
	for (i = 0; i < v->n_path; i++)
		buf_fini(&a->fields[i]);
	buf_fini(&a->prov);
	buf_fini(&out);
}

static void
try_put(struct slice in)
{
	struct put_view *v = mem_new(sizeof(*v));
	struct again *a = mem_new(sizeof(*a));
	struct mp_doc doc = { 0 };

	if (v != NULL && a != NULL && cat_put_parse(in, &doc) == ERR_OK) {
		REQUIRE(put_view(&doc, v) == ERR_OK);
		put_again(v, a);
		mp_doc_fini(&doc);
	}
	mem_free(v);
	mem_free(a);
}

static void
try_table(struct slice in)
{
	struct buf table = BUF_MAX(in.n + 1);
	struct content *c = NULL;
	struct content_member m;
	char clean[CONTENT_NAME_MAX + 1];
	uint32_t i;

	buf_put_slice(&table, in);
	if (buf_err(&table) == ERR_OK &&
	    content_table_take(&table, &c) == ERR_OK) {
		for (i = 0; i < content_n(c); i++) {
			content_member(c, i, &m);
			content_name_clean(slice_str(m.name), clean);
			REQUIRE(strcmp(clean, m.name) == 0);
		}
		content_close(c);
	}
	buf_fini(&table);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || cry_init() != ERR_OK)
		return 0;
	if (data[0] % 2 == 0)
		try_put(slice_of(data + 1, size - 1));
	else
		try_table(slice_of(data + 1, size - 1));
	return 0;
}
