/* crypto/keyfile.h: small secret files: read with a check of their modes,
 * written atomically.  Inside the room only. */
#ifndef PSC_CRYPTO_KEYFILE_H
#define PSC_CRYPTO_KEYFILE_H

#include "store/base/buf.h"

/* Write n bytes as path, mode 0600: temp file beside it, fsync, rename,
 * fsync of the folder.  On failure path is what it was before.
 * ERR_NOTFOUND: no such folder; ERR_DENIED, ERR_IO, ERR_FULL. */
enum err keyfile_write(
    const char *path, struct slice in, struct errmsg *em) PSC_MUST_USE;

/* Append the whole file to out.  ERR_NOTFOUND; ERR_DENIED: not a regular
 * file, owned by another user (root excepted), or open to group or others;
 * ERR_LIMIT: longer than out may grow; ERR_IO. */
enum err keyfile_read(
    const char *path, struct buf *out, struct errmsg *em) PSC_MUST_USE;

#endif
