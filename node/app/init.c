/* node/app/init.c: a new home: folders, config, store, keys.
 *
 * The keystore is written last and makes the home complete: an init that was
 * cut short can simply be run again. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/app/home.h"
#include "store/base/mem.h"

static enum err
make_folder(const char *path, struct errmsg *em)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return ERR_OK;
	return errmsg_set(em, ERR_IO,
	    "make its parent folder, or choose another --home",
	    "cannot make the folder: %s",
	    errno == EACCES   ? "permission denied"
	    : errno == ENOENT ? "its parent does not exist"
	    : errno == ENOSPC ? "no space left"
			      : "mkdir failed");
}

static enum err
init_config(const struct app_args *a, struct conf *c, struct errmsg *em)
{
	uint32_t i;
	enum err e = conf_create(a->home, a->site, em);

	for (i = 0; e == ERR_OK && i < a->n_sets; i++)
		e = conf_set(a->home, a->sets[i], em);
	return e == ERR_OK ? conf_load(a->home, c, em) : e;
}

static enum err
init_store(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, struct errmsg *em)
{
	struct store *s = NULL;
	struct app_store o;
	enum err e;

	app_store_opts(a, c, id, &o);
	e = store_open(&o.opts, &s, em);
	cry_wipe(&o, sizeof(o));
	store_close(s);
	return e;
}

static enum err
init_recovery(const struct app_args *a, const char *text, struct errmsg *em)
{
	struct buf b = BUF_MAX(1024);
	int fd;
	bool ok;

	fd = open(
	    a->recovery_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errmsg_set(em, errno == EEXIST ? ERR_EXISTS : ERR_IO,
		    "choose a new file name for --recovery-file",
		    "the recovery file cannot be written");
	buf_printf(&b, "%s\n", text);
	ok = buf_err(&b) == ERR_OK && write(fd, b.p, b.n) == (ssize_t)b.n &&
	     fsync(fd) == 0;
	(void)close(fd);
	buf_wipe(&b);
	return ok ? ERR_OK
		  : errmsg_set(em, ERR_IO, "try another disk",
			"the recovery file cannot be written");
}

static void
init_say(const struct app_args *a, const struct cry_identity *id,
    const char *recovery)
{
	char key[CRY_KEY_TEXT_LEN + 1], fp[CRY_FINGERPRINT_LEN + 1];

	cry_key_text(&id->pub, key);
	cry_fingerprint(&id->pub.site, fp);
	if (a->json) {
		printf("{\"site\": \"%s\", \"key\": \"%s\", "
		       "\"fingerprint\": \"%s\"",
		    a->site, key, fp);
		if (a->recovery_file == NULL)
			printf(", \"recovery\": \"%s\"", recovery);
		printf("}\n");
		return;
	}
	printf("site         %s\nfingerprint  %s\nkey          %s\n", a->site,
	    fp, key);
	if (a->recovery_file != NULL)
		printf("recovery key written to %s: keep it off this "
		       "machine\n",
		    a->recovery_file);
	else
		printf("recovery key (shown once, not kept; print it):\n  "
		       "%s\n",
		    recovery);
}

static enum err
init_keys(const struct app_args *a, const struct conf *c,
    struct cry_identity *id, struct errmsg *em)
{
	char keystore[APP_PATH_MAX], credential[APP_PATH_MAX];
	char sealed[APP_PATH_MAX], recovery[CRY_RECOVERY_TEXT_LEN + 1];
	struct cry_box_sk rsk;
	struct buf pass = BUF_MAX(4 * KIB);
	enum err e = ERR_OK;

	if (!a->unattended)
		e = app_passphrase(a, true, &pass, em);
	if (e != ERR_OK)
		return e;
	cry_identity_new(id, &rsk);
	cry_recovery_text(&rsk, recovery);
	cry_wipe(&rsk, sizeof(rsk));
	if ((e = init_store(a, c, id, em)) != ERR_OK)
		goto out;
	if (a->recovery_file != NULL &&
	    (e = init_recovery(a, recovery, em)) != ERR_OK)
		goto out;
	app_path(a->home, APP_RECOVERY, sealed);
	if ((e = cry_recovery_save(sealed, id, em)) != ERR_OK)
		goto out;
	app_path(a->home, APP_KEYSTORE, keystore);
	app_path(a->home, APP_CREDENTIAL, credential);
	e = cry_keystore_save(keystore, id,
	    a->unattended ? NULL : buf_cstr(&pass),
	    a->unattended ? credential : NULL, em);
	if (e == ERR_OK)
		init_say(a, id, recovery);
out:
	cry_wipe(recovery, sizeof(recovery));
	buf_wipe(&pass);
	return e;
}

static enum err
init_site_check(const struct app_args *a, struct errmsg *em)
{
	const char *p;

	if (a->site == NULL || a->site[0] == '\0' ||
	    strlen(a->site) > LIM_NAME_BYTES)
		return errmsg_set(em, ERR_MALFORMED, "give --site NAME",
		    "a site name of 1 to 64 bytes is needed");
	for (p = a->site; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || strchr("\"\\@/", *p) != NULL)
			return errmsg_set(em, ERR_MALFORMED,
			    "use letters, digits, space, - and _",
			    "the site name holds a character that it may "
			    "not");
	}
	return ERR_OK;
}

enum err
app_init(const struct app_args *a, struct errmsg *em)
{
	struct cry_identity id = { 0 };
	struct conf *c;
	char path[APP_PATH_MAX];
	enum err e = init_site_check(a, em);

	if (e != ERR_OK)
		return e;
	app_path(a->home, APP_KEYSTORE, path);
	if (app_exists(path))
		return errmsg_set(em, ERR_EXISTS,
		    "use it as it is, or choose another --home",
		    "this home is initialised already");
	if ((e = app_home_whole(a, em)) != ERR_OK ||
	    (e = make_folder(a->home, em)) != ERR_OK)
		return e;
	app_path(a->home, "keys", path);
	if ((e = make_folder(path, em)) != ERR_OK)
		return e;
	c = mem_new(sizeof(*c));
	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = init_config(a, c, em);
	if (e == ERR_OK)
		e = init_keys(a, c, &id, em);
	cry_identity_wipe(&id);
	mem_free(c);
	return e;
}
