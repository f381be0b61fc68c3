/* node/backup/backup_file.c: copying and hashing files in bounded memory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/backup/backup_internal.h"
#include "node/conf/profile.h"
#include "store/base/enc.h"

/* Not keys/credential: it opens the keystore, and a copy of both is a copy
 * of everything in the clear. */
const char *const backup_home_files[] = { "pesscara.yaml", "keys/keystore",
	"keys/recovery", NULL };

bool
backup_holds(const char *name)
{
	static const char sub[] = BACKUP_PROFILES "/";
	size_t n = strlen(name), head = sizeof(sub) - 1;
	size_t tail = strlen(PROFILE_SUFFIX);
	char profile[TABLE_NAME_MAX + 1];

	for (size_t k = 0; backup_home_files[k] != NULL; k++)
		if (strcmp(backup_home_files[k], name) == 0)
			return true;
	if (n <= head + tail || n - head - tail > TABLE_NAME_MAX ||
	    strncmp(name, sub, head) != 0 ||
	    strcmp(name + n - tail, PROFILE_SUFFIX) != 0)
		return false;
	(void)snprintf(profile, sizeof(profile), "%.*s", (int)(n - head - tail),
	    name + head);
	return profile_name_ok(profile);
}

enum err
backup_errno(void)
{
	switch (errno) {
	case ENOENT: return ERR_NOTFOUND;
	case ENOSPC:
	case EDQUOT: return ERR_FULL;
	case EACCES:
	case EPERM: return ERR_DENIED;
	case EEXIST: return ERR_EXISTS;
	default: return ERR_IO;
	}
}

enum err
backup_path(char out[BACKUP_PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(out, BACKUP_PATH_MAX, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= BACKUP_PATH_MAX ? ERR_LIMIT : ERR_OK;
}

enum err
backup_seg_path(char out[BACKUP_PATH_MAX], const char *dir, uint32_t no)
{
	int n = snprintf(
	    out, BACKUP_PATH_MAX, "%s/segments/%08x.seg", dir, (unsigned)no);

	return n < 0 || (size_t)n >= BACKUP_PATH_MAX ? ERR_LIMIT : ERR_OK;
}

enum err
backup_file_path(
    char out[BACKUP_PATH_MAX], const char *dir, const struct backup_file *f)
{
	char hex[ENC_HEX_LEN(8) + 1];
	int n;

	enc_hex(slice_of(f->hash.b, 8), hex);
	n = snprintf(out, BACKUP_PATH_MAX, "%s/home/%s.%s", dir, f->name, hex);
	return n < 0 || (size_t)n >= BACKUP_PATH_MAX ? ERR_LIMIT : ERR_OK;
}

enum err
backup_folder(const char *dir, const char *sub)
{
	char path[BACKUP_PATH_MAX];
	enum err e = backup_path(path, dir, sub);

	if (e != ERR_OK)
		return e;
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return ERR_OK;
	return backup_errno();
}

enum err
backup_sync(const char *dir, const char *sub)
{
	char path[BACKUP_PATH_MAX];
	enum err e = backup_path(path, dir, sub);
	int fd, rc;

	if (e != ERR_OK)
		return e;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return backup_errno();
	rc = fsync(fd);
	(void)close(fd);
	return rc == 0 ? ERR_OK : ERR_IO;
}

static enum err
write_whole(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? backup_errno() : ERR_IO;
		p += w;
		n -= (size_t)w;
	}
	return ERR_OK;
}

/* From in to out (-1: only hashed). */
static enum err
pump(int in, int out, uint64_t bytes, struct cry_id *hash, uint64_t *did)
{
	uint8_t *p = mem_new(BACKUP_PIECE);
	struct cry_hasher h;
	enum err e = p == NULL ? ERR_NOMEM : ERR_OK;

	*did = 0;
	cry_hasher_init(&h);
	while (e == ERR_OK && *did < bytes) {
		uint64_t left = bytes - *did;
		size_t want = left < BACKUP_PIECE ? (size_t)left : BACKUP_PIECE;
		ssize_t got = read(in, p, want);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			e = backup_errno();
		if (got <= 0)
			break;
		cry_hasher_add(&h, slice_of(p, (size_t)got));
		if (out >= 0)
			e = write_whole(out, p, (size_t)got);
		*did += (uint64_t)got;
	}
	cry_hasher_end(&h, hash);
	mem_free(p);
	return e;
}

enum err
backup_copy(const char *from, const char *to, uint64_t bytes,
    struct cry_id *hash, uint64_t *copied)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	enum err e;

	if (in < 0)
		return backup_errno();
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	e = out < 0 ? backup_errno() : pump(in, out, bytes, hash, copied);
	if (e == ERR_OK && bytes != UINT64_MAX && *copied != bytes)
		e = ERR_SHORT;
	if (e == ERR_OK && fsync(out) != 0)
		e = ERR_IO;
	(void)close(in);
	if (out >= 0 && close(out) != 0 && e == ERR_OK)
		e = ERR_IO;
	return e;
}

enum err
backup_hash(const char *path, uint64_t bytes, struct cry_id *hash)
{
	int in = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t did;
	enum err e;

	if (in < 0)
		return backup_errno();
	e = pump(in, -1, bytes, hash, &did);
	(void)close(in);
	return e == ERR_OK && did != bytes ? ERR_SHORT : e;
}
