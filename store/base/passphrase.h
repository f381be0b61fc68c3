/* store/base/passphrase.h: the owner's passphrase, from a file or a person.
 * Blocks while a person types. */
#ifndef PSC_BASE_PASSPHRASE_H
#define PSC_BASE_PASSPHRASE_H

#include "store/base/buf.h"

/* Room that out->max must give. */
#define PASSPHRASE_BYTES_MAX 1024u
#define PASSPHRASE_BYTES_MIN 8u /* of a new one */

/* A file that nobody else may read (mode 0600 or tighter); the line end is
 * dropped.  what: the file in a message ("the passphrase file").  Appended to
 * out; the caller wipes it. */
enum err passphrase_file(const char *path, const char *what, struct buf *out,
    struct errmsg *em) PSC_MUST_USE;
/* Asked on the terminal, twice when confirm.  ERR_DENIED: no terminal. */
enum err passphrase_ask(
    bool confirm, struct buf *out, struct errmsg *em) PSC_MUST_USE;

#endif
