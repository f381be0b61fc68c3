/* backup.json: any bytes are refused or give a list within its bounds, which
 * is written as the same text again.  The check in front of the list is made
 * to fit, so that what it says is read. */
#include "node/backup/backup_internal.h"
#include "store/base/enc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
list_bounded(const struct backup_list *l)
{
	uint32_t i;

	REQUIRE(l->n_files <= BACKUP_FILES_MAX);
	REQUIRE(l->n_seg <= BACKUP_SEGMENTS_MAX);
	for (i = 0; i < l->n_files; i++) {
		REQUIRE(strchr(l->file[i].name, '.') == NULL ||
			strcmp(l->file[i].name, "pesscara.yaml") == 0);
		REQUIRE(l->file[i].name[0] != '/');
	}
	for (i = 1; i < l->n_seg; i++)
		REQUIRE(l->seg[i].no > l->seg[i - 1].no);
}

static enum err
once(struct slice text, struct buf *back)
{
	struct backup_list *l = mem_new(sizeof(*l));
	enum err e;

	REQUIRE(l != NULL);
	e = backup_list_parse(text, l);
	if (e == ERR_OK) {
		list_bounded(l);
		buf_reset(back);
		REQUIRE(backup_list_text(l, back) == ERR_OK);
	}
	backup_list_fini(l);
	mem_free(l);
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_MAX(64 * MIB), a = BUF_MAX(64 * MIB),
		   b = BUF_MAX(64 * MIB);
	char hex[ENC_HEX_LEN(32) + 1];
	struct cry_id check;

	(void)once(slice_of(data, size), &a);
	cry_hash(slice_of(data, size), &check);
	enc_hex(slice_of(check.b, sizeof(check.b)), hex);
	buf_put_str(&text, "{\"check\":\"");
	buf_put_str(&text, hex);
	buf_put_str(&text, "\",\"list\":");
	buf_put(&text, data, size);
	buf_put_str(&text, "}");
	REQUIRE(buf_err(&text) == ERR_OK);
	if (once(buf_slice(&text), &a) == ERR_OK) {
		REQUIRE(once(buf_slice(&a), &b) == ERR_OK);
		REQUIRE(slice_eq(buf_slice(&a), buf_slice(&b)));
	}
	buf_fini(&text);
	buf_fini(&a);
	buf_fini(&b);
	return 0;
}
