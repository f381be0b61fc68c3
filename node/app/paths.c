/* node/app/paths.c: where things are, and the owner's passphrase. */
#include <limits.h>
#include <unistd.h>

#include "node/app/app.h"
#include "store/base/passphrase.h"

void
app_path(const char *home, const char *name, char *out)
{
	(void)snprintf(out, APP_PATH_MAX, "%s/%s", home, name);
}

bool
app_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

enum err
app_sibling(const char *name, char *out, struct errmsg *em)
{
	ssize_t n = readlink("/proc/self/exe", out, APP_PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return errmsg_set(em, ERR_IO, "mount /proc",
		    "cannot find out where pesscarad lies");
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (slash == NULL ||
	    (size_t)(slash + 1 - out) + strlen(name) >= APP_PATH_MAX)
		return errmsg_set(em, ERR_LIMIT, "install it elsewhere",
		    "the path of pesscarad is too long");
	memcpy(slash + 1, name, strlen(name) + 1);
	if (access(out, X_OK) != 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "install the programs into one folder",
		    "%s is not beside pesscarad", name);
	return ERR_OK;
}

enum err
app_passphrase(
    const struct app_args *a, bool confirm, struct buf *out, struct errmsg *em)
{
	enum err e = a->passphrase_file != NULL
			 ? passphrase_file(a->passphrase_file,
			       "the passphrase file", out, em)
			 : passphrase_ask(confirm, out, em);

	if (e == ERR_OK && out->n < PASSPHRASE_BYTES_MIN && confirm)
		e = errmsg_set(em, ERR_LIMIT, "choose a longer one",
		    "the passphrase is shorter than 8 bytes");
	return e;
}
