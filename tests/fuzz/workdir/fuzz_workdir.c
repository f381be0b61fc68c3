/* wd_manifest_parse: any bytes give a manifest or an error with a cause; what
 * came out names nothing outside its directory, and written again it is read
 * as the same. */
#include "node/workdir/workdir_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(const char *name)
{
	REQUIRE(name[0] != '\0' && name[0] != '.');
	REQUIRE(strchr(name, '/') == NULL && strchr(name, '\n') == NULL);
}

static void
check(const struct wd_manifest *m)
{
	uint32_t i, k;

	for (i = 0; i < m->n; i++) {
		if (strcmp(m->a[i].path, WD_TOP) != 0)
			inside(m->a[i].path);
		for (k = 0; k < m->a[i].n; k++)
			inside(m->a[i].f[k].name);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wd_manifest m = { .n = 0 }, back = { .n = 0 };
	struct buf text = BUF_MAX(WD_MANIFEST_BYTES);
	struct errmsg em = { 0 };

	if (wd_manifest_parse(slice_of(data, size), &m, &em) != ERR_OK) {
		REQUIRE(em.cause[0] != '\0');
		return 0;
	}
	check(&m);
	REQUIRE(wd_manifest_encode(&m, &text) == ERR_OK);
	REQUIRE(wd_manifest_parse(buf_slice(&text), &back, &em) == ERR_OK);
	REQUIRE(back.n == m.n);
	wd_manifest_fini(&m);
	wd_manifest_fini(&back);
	buf_fini(&text);
	return 0;
}
