/* node/app/restore.c: `pesscara restore DIR`: a home out of a backup.
 *
 * Copy what the backup holds, rebuild the index from the log, and compare the
 * root hash with the one the backup was made at.  A node that is started on
 * it writes to new feeds (rulings.md 24): no sequence number is used twice,
 * though the node it came from went on after the backup. */
#include "node/app/home.h"
#include "node/backup/backup.h"
#include "node/conf/json.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

static void
restore_say(const struct app_args *a, const struct backup_report *r,
    const char *root, bool equal)
{
	if (a->json)
		printf("{\"root\": \"%s\", \"equal\": %s, \"commit\": %llu, "
		       "\"bytes\": %llu}\n",
		    root, equal ? "true" : "false",
		    (unsigned long long)r->commit,
		    (unsigned long long)r->bytes);
	else
		printf("restored %llu bytes of log, up to commit %llu\n"
		       "root hash %s, %s the backup's\n",
		    (unsigned long long)r->bytes, (unsigned long long)r->commit,
		    root, equal ? "equal to" : "NOT");
}

static enum err
restore_index(const struct app_args *a, struct conf *c,
    const struct backup_report *r, struct errmsg *em)
{
	char root[APP_ROOT_TEXT + 1], want[APP_ROOT_TEXT + 1];
	struct app_bad bad = { .a = a };
	struct cry_identity id = { 0 };
	struct store_stats st = { 0 };
	bool unattended;
	enum err e = conf_load(a->home, c, em);

	if (e == ERR_OK)
		e = app_keys(a, &id, &unattended, em);
	if (e == ERR_OK)
		e = app_rebuild_store(a, c, &id, &bad, em);
	if (e == ERR_OK)
		e = app_store_root(a, c, &id, root, &st, em);
	app_bad_fini(&bad);
	cry_identity_wipe(&id);
	if (e != ERR_OK)
		return e;
	enc_hex(slice_of(r->root.b, sizeof(r->root.b)), want);
	restore_say(a, r, root, strcmp(root, want) == 0);
	if (strcmp(root, want) != 0)
		return errmsg_set(em, ERR_CORRUPT,
		    "run `pesscara verify --deep`; restore another backup",
		    "what was restored is not what was backed up");
	return ERR_OK;
}

enum err
app_restore(const struct app_args *a, struct errmsg *em)
{
	struct backup_report r = { 0 };
	struct conf *c = mem_new(sizeof(*c));
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	if (a->n_sets != 1)
		e = errmsg_set(em, ERR_MALFORMED, "give the backup's folder",
		    "nothing to restore is named");
	else
		e = backup_restore(a->sets[0], a->home, &r, em);
	if (e == ERR_OK)
		e = restore_index(a, c, &r, em);
	mem_free(c);
	return e;
}
