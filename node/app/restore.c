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
recovery_needed(struct errmsg *em)
{
	return errmsg_set(em, ERR_AUTH,
	    "give --recovery-file F: the recovery key that init gave",
	    "the backup is of an unattended node; what opened its keys by "
	    "itself is not in a backup");
}

/* Said before everything is copied, if it can be known. */
static enum err
restore_keys_ask(const struct app_args *a, struct errmsg *em)
{
	struct cry_identity id = { 0 };
	char path[APP_PATH_MAX];
	bool unattended = false;
	enum err e;

	e = backup_home_file(
	    a->sets[0], "keys/keystore", path, sizeof(path), em);
	if (e == ERR_OK &&
	    cry_keystore_unattended(path, &unattended, NULL) == ERR_OK &&
	    unattended && a->recovery_file == NULL)
		return recovery_needed(em);
	if (e == ERR_OK && a->recovery_file != NULL)
		e = backup_home_file(
		    a->sets[0], "keys/recovery", path, sizeof(path), em);
	if (e == ERR_OK && a->recovery_file != NULL &&
	    cry_recovery_load(path, a->recovery_file, &id, em) == ERR_AUTH)
		e = ERR_AUTH;
	cry_identity_wipe(&id);
	return e;
}

/* A keystore that a credential file closes comes without it: the recovery key
 * opens the copy beside it, and a new keystore is written, closed as the old
 * one was.  Also when the owner gives the recovery key because the passphrase
 * is forgotten. */
static enum err
restore_keys(
    const struct app_args *a, struct cry_identity *id, struct errmsg *em)
{
	char keystore[APP_PATH_MAX], sealed[APP_PATH_MAX], cred[APP_PATH_MAX];
	struct buf pass = BUF_MAX(4 * KIB);
	bool unattended = false;
	enum err e;

	app_path(a->home, APP_KEYSTORE, keystore);
	app_path(a->home, APP_RECOVERY, sealed);
	app_path(a->home, APP_CREDENTIAL, cred);
	e = cry_keystore_unattended(keystore, &unattended, em);
	if (e == ERR_OK && a->recovery_file == NULL && !unattended)
		return app_keys(a, id, &unattended, em);
	if (e == ERR_OK && a->recovery_file == NULL)
		e = recovery_needed(em);
	if (e == ERR_OK)
		e = cry_recovery_load(sealed, a->recovery_file, id, em);
	if (e == ERR_OK && !unattended)
		e = app_passphrase(a, true, &pass, em);
	if (e == ERR_OK)
		e = cry_keystore_save(keystore, id,
		    unattended ? NULL : buf_cstr(&pass),
		    unattended ? cred : NULL, em);
	buf_wipe(&pass);
	return e;
}

static enum err
restore_index(const struct app_args *a, struct conf *c,
    const struct backup_report *r, struct errmsg *em)
{
	char root[APP_ROOT_TEXT + 1], want[APP_ROOT_TEXT + 1];
	struct app_bad bad = { .a = a };
	struct cry_identity id = { 0 };
	struct store_stats st = { 0 };
	enum err e = conf_load(a->home, c, em);

	if (e == ERR_OK)
		e = restore_keys(a, &id, em);
	if (e == ERR_OK)
		e = app_rebuild_store(a, c, &id, &bad, em);
	if (e == ERR_OK)
		e = app_store_root(a, c, &id, root, &st, em);
	if (e == ERR_OK && (e = backup_restored(a->home)) != ERR_OK)
		errmsg_set(em, e, "run it again",
		    "the home cannot be finished: %s", err_text(e));
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
		e = restore_keys_ask(a, em);
	if (e == ERR_OK)
		e = backup_restore(a->sets[0], a->home, &r, em);
	if (e == ERR_OK)
		e = restore_index(a, c, &r, em);
	mem_free(c);
	return e;
}
