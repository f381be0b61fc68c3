/* store/base/passphrase.c: read a secret without echo, or from a file that
 * only its owner can read. */
#include "store/base/passphrase.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static void
strip_line_end(struct buf *b)
{
	while (b->n > 0 && (b->p[b->n - 1] == '\n' || b->p[b->n - 1] == '\r'))
		b->n--;
}

enum err
passphrase_file(
    const char *path, const char *what, struct buf *out, struct errmsg *em)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *at = buf_room(out, PASSPHRASE_BYTES_MAX);
	ssize_t n = -1;

	if (fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 077) != 0) {
		(void)close(fd);
		return errmsg_set(em, ERR_DENIED, "chmod 600 the file",
		    "%s can be read by others", what);
	}
	if (fd >= 0 && at != NULL)
		n = read(fd, at, PASSPHRASE_BYTES_MAX);
	if (fd >= 0)
		(void)close(fd);
	if (n <= 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "give a readable file with the secret in it",
		    "%s cannot be read", what);
	buf_grew(out, (size_t)n);
	strip_line_end(out);
	return ERR_OK;
}

static enum err
ask(int tty, const char *prompt, struct buf *out)
{
	struct termios old, quiet;
	uint8_t *at = buf_room(out, PASSPHRASE_BYTES_MAX);
	ssize_t n;

	if (at == NULL || tcgetattr(tty, &old) != 0)
		return ERR_IO;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (write(tty, prompt, strlen(prompt)) < 0 ||
	    tcsetattr(tty, TCSAFLUSH, &quiet) != 0)
		return ERR_IO;
	n = read(tty, at, PASSPHRASE_BYTES_MAX);
	(void)tcsetattr(tty, TCSAFLUSH, &old);
	if (write(tty, "\n", 1) < 0 || n <= 0)
		return ERR_IO;
	buf_grew(out, (size_t)n);
	strip_line_end(out);
	return ERR_OK;
}

enum err
passphrase_ask(bool confirm, struct buf *out, struct errmsg *em)
{
	struct buf again = BUF_MAX((size_t)PASSPHRASE_BYTES_MAX * 2);
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	enum err e;

	if (tty < 0)
		return errmsg_set(em, ERR_DENIED,
		    "give --passphrase-file F, or init with --unattended",
		    "no terminal to ask for the passphrase");
	e = ask(tty, "Passphrase of this node: ", out);
	if (e == ERR_OK && confirm)
		e = ask(tty, "Again: ", &again);
	if (e == ERR_OK && confirm &&
	    !slice_eq(buf_slice(out), buf_slice(&again)))
		e = errmsg_set(
		    em, ERR_AUTH, "try again", "the two passphrases differ");
	else if (e != ERR_OK)
		e = errmsg_set(em, e, "try again", "no passphrase was read");
	buf_wipe(&again);
	(void)close(tty);
	return e;
}
