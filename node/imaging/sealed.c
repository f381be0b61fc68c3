/* node/imaging/sealed.c: memfds, sealed and mapped (rulings.md 14).
 *
 * Writing goes through write() and never through a shared mapping:
 * F_SEAL_WRITE fails while a writable mapping exists.  Mappings are private,
 * so even the maker of a memfd can map it before it is sealed. */
#include "node/imaging/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALED_ALL (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int
sealed_new(void)
{
	return memfd_create("pesscara", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

enum err
sealed_write(int fd, struct slice s)
{
	size_t at = 0;
	ssize_t n;

	while (at < s.n) {
		n = write(fd, s.p + at, s.n - at);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else
			return n < 0 && (errno == ENOMEM || errno == ENOSPC)
				   ? ERR_NOMEM
				   : ERR_IO;
	}
	return ERR_OK;
}

enum err
sealed_close_writes(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALED_ALL) == 0 ? ERR_OK : ERR_IO;
}

enum err
sealed_map_own(int fd, uint64_t n, struct slice *out)
{
	void *p;

	*out = (struct slice){ 0 };
	if (n == 0)
		return ERR_OK;
	if (n > SIZE_MAX)
		return ERR_LIMIT;
	p = mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return ERR_NOMEM;
	*out = slice_of(p, (size_t)n);
	return ERR_OK;
}

enum err
sealed_map(int fd, uint64_t n, struct slice *out)
{
	struct stat st;
	int seals;

	*out = (struct slice){ 0 };
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALED_ALL) != SEALED_ALL)
		return ERR_MALFORMED;
	if (fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size != n)
		return ERR_MALFORMED;
	return sealed_map_own(fd, n, out);
}

void
sealed_unmap(struct slice *s)
{
	union {
		const uint8_t *in;
		void *out;
	} p = { .in = s->p };

	if (s->n > 0)
		(void)munmap(p.out, s->n);
	*s = (struct slice){ 0 };
}
