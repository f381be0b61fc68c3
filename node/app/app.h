/* node/app/app.h: the program pesscarad: arguments, start, stop, and the
 * verbs that need no running node. */
#ifndef PSC_APP_APP_H
#define PSC_APP_APP_H

#include "crypto/identity.h"
#include "node/conf/conf.h"

#define APP_PATH_MAX 1024u
#define APP_SETS_MAX 64u

struct app_args {
	const char *home;
	const char *verb; /* --do VERB, NULL: run the node */
	bool check;
	bool json;
	bool unattended;
	const char *site;
	const char *recovery_file;
	const char *passphrase_file;
	const char *sets[APP_SETS_MAX];
	uint32_t n_sets;
};

/* Exit status; the usage text was printed when it is 2. */
int app_main(int argc, char **argv);

/* run.c: the node until SIGTERM or SIGINT. */
enum err app_run(const struct app_args *a, struct errmsg *em) PSC_MUST_USE;

/* init.c */
enum err app_init(const struct app_args *a, struct errmsg *em) PSC_MUST_USE;

/* rebuild.c */
enum err app_rebuild(const struct app_args *a, struct errmsg *em) PSC_MUST_USE;

/* restore.c */
enum err app_restore(const struct app_args *a, struct errmsg *em) PSC_MUST_USE;

/* paths.c: names inside a home; out holds APP_PATH_MAX. */
void app_path(const char *home, const char *name, char *out);
bool app_exists(const char *path);
/* A program beside this one: "pesscara-imaging". */
enum err app_sibling(
    const char *name, char *out, struct errmsg *em) PSC_MUST_USE;
/* The passphrase: from a file (mode 0600 or tighter), or asked on the
 * terminal (twice when confirm).  ERR_DENIED: neither is there. */
enum err app_passphrase(const struct app_args *a, bool confirm, struct buf *out,
    struct errmsg *em) PSC_MUST_USE;

#define APP_KEYSTORE "keys/keystore"
#define APP_CREDENTIAL "keys/credential"
#define APP_PROXY "keys/proxy" /* user:password, if there is one */
#define APP_RECOVERY "keys/recovery"
#define APP_STORE "store"

#endif
