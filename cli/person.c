/* cli/person.c: acts that a person signs (domain.md 25).
 *
 * A node that a passphrase opened asks for it again at release, reject,
 * grant, invite, lookup and import without de-identification; it travels over
 * the unix socket in a header, as hex.  An unattended node asks nothing.
 * Where nobody can be asked, the node's own answer says what to do. */
#include "cli/cli_internal.h"

#include <unistd.h>

#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/base/passphrase.h"

bool
cli_signs(const struct cli_verb *v)
{
	uint32_t i;

	if (strcmp(v->name, "init") == 0 || strcmp(v->name, "import") == 0 ||
	    strcmp(v->name, "rebuild") == 0 || strcmp(v->name, "restore") == 0)
		return false;
	for (i = 0; i < CLI_OPTIONS_MAX && v->options[i].name != NULL; i++) {
		if (strcmp(v->options[i].name, "passphrase-file") == 0)
			return true;
	}
	return false;
}

static int
person_row(void *ctx, json_t *row, const char *text)
{
	bool *needed = ctx;

	(void)text;
	*needed = strcmp(cli_str(row, "unlock"), "passphrase") == 0;
	return 0;
}

static enum cli_exit
person_keep(struct cli *c, const struct buf *pass)
{
	char *hex = mem_new(ENC_HEX_LEN(pass->n) + 1);

	if (hex == NULL)
		return cli_fail(c, ERR_NOMEM, "", "out of memory");
	enc_hex(buf_slice(pass), hex);
	buf_init(&c->person, 4 * KIB);
	if (buf_room(&c->person, 3 * KIB) != NULL)
		buf_printf(&c->person, "X-Pesscara-Passphrase: %s", hex);
	explicit_bzero(hex, ENC_HEX_LEN(pass->n));
	mem_free(hex);
	return buf_err(&c->person) == ERR_OK
		   ? CLI_OK
		   : cli_fail(c, ERR_NOMEM, "", "out of memory");
}

enum cli_exit
cli_person(struct cli *c)
{
	const char *file = cli_opt(c, "passphrase-file");
	struct buf pass = BUF_MAX((size_t)PASSPHRASE_BYTES_MAX * 2);
	struct errmsg em = { 0 };
	bool needed = false;
	enum cli_exit rc = cli_get(c, "/status", person_row, &needed);
	enum err e = ERR_OK;

	if (rc != CLI_OK || !needed)
		return rc;
	if (file != NULL)
		e = passphrase_file(file, "the passphrase file", &pass, &em);
	else if (access("/dev/tty", R_OK | W_OK) == 0)
		e = passphrase_ask(false, &pass, &em);
	if (e == ERR_DENIED && file == NULL)
		rc = CLI_OK; /* nobody to ask: the node says what it needs */
	else if (e != ERR_OK)
		rc = cli_fail(c, e, em.next, "%s", em.cause);
	else if (pass.n > 0)
		rc = person_keep(c, &pass);
	buf_wipe(&pass);
	return rc;
}
