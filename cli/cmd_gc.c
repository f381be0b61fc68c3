/* cli/cmd_gc.c: gc. */
#include "cli/cli_internal.h"

#include <inttypes.h>

static uint64_t
num(const json_t *map, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(map, key));

	return v > 0 ? (uint64_t)v : 0;
}

static int
gc_print(void *ctx, json_t *doc, const char *text)
{
	struct cli *c = ctx;
	bool dry = json_is_true(json_object_get(doc, "dry_run"));
	char bytes[16], waiting[16], freed[16], copied[16];

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	cli_bytes_text(num(doc, "bytes"), bytes);
	cli_bytes_text(num(doc, "waiting_bytes"), waiting);
	cli_bytes_text(num(doc, "freed_bytes"), freed);
	cli_bytes_text(num(doc, "copied_bytes"), copied);
	if (num(doc, "let_go_versions") > 0)
		(void)printf("let go the content of %" PRIu64
			     " versions that are not subscribed to\n",
		    num(doc, "let_go_versions"));
	if (num(doc, "kept_unproven") > 0)
		(void)printf("kept the content of %" PRIu64
			     " versions: not enough other nodes prove that "
			     "they hold it (store.copies); bring them online "
			     "and run it again\n",
		    num(doc, "kept_unproven"));
	(void)printf("%s %" PRIu64 " chunks (%s) that nothing refers to\n",
	    dry ? "would collect" : "collected", num(doc, "chunks"), bytes);
	(void)printf("%s %" PRIu64 " segments (%s), copying %s of them "
		     "forward\n",
	    dry ? "would remove" : "removed", num(doc, "segments"), freed,
	    copied);
	(void)printf("%" PRIu64 " chunks (%s) wait for their grace to end\n",
	    num(doc, "waiting_chunks"), waiting);
	if (num(doc, "damaged_segments") > 0)
		(void)printf("%" PRIu64 " segments are damaged and were kept: "
			     "run `pesscara verify --deep`\n",
		    num(doc, "damaged_segments"));
	return 0;
}

enum cli_exit
cmd_gc(struct cli *c)
{
	return cli_post(c, "/gc",
	    json_pack("{s:b}", "dry_run", cli_flag(c, "dry-run") ? 1 : 0),
	    gc_print, c);
}
