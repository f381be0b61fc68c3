/* node/imaging/sealed.h: bulk bytes in a memfd that nobody can change any
 * more.  The writer fills it by write(), seals it and passes it on; the
 * reader maps it only after checking seals and size. */
#ifndef PSC_IMAGING_SEALED_H
#define PSC_IMAGING_SEALED_H

#include "store/base/err.h"
#include "store/base/slice.h"

/* A new empty memfd, close-on-exec; -1 if there is none to be had. */
int sealed_new(void);
/* Append, whole or not at all: ERR_NOMEM, ERR_IO. */
enum err sealed_write(int fd, struct slice s) PSC_MUST_USE;
/* Seal against write, shrink, grow and further seals. */
enum err sealed_close_writes(int fd) PSC_MUST_USE;
/* Map n bytes for reading.  Sealed memfd of exactly n bytes, else
 * ERR_MALFORMED; ERR_NOMEM.  n = 0 gives an empty slice.  The caller ends
 * it with sealed_unmap(); fd may be closed before that. */
enum err sealed_map(int fd, uint64_t n, struct slice *out) PSC_MUST_USE;
/* The same without the check: only for a memfd of our own making. */
enum err sealed_map_own(int fd, uint64_t n, struct slice *out) PSC_MUST_USE;
void sealed_unmap(struct slice *s); /* empty ok; leaves it empty */

#endif
