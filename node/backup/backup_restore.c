/* node/backup/backup_restore.c: a home out of a backup.
 *
 * Every byte is checked before the first one is written, and again as it is
 * copied.  HOME/RESTORING is there from before the first byte until the index
 * is rebuilt: a home with it is not started, and a second restore writes over
 * it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/backup/backup_internal.h"

static enum err
damaged(struct errmsg *em, enum err e, const char *name)
{
	if (e == ERR_NOMEM || e == ERR_LIMIT)
		return errmsg_set(em, e, "", "%s", err_text(e));
	if (e == ERR_OK || e == ERR_SHORT || e == ERR_NOTFOUND)
		e = ERR_CORRUPT;
	return errmsg_set(em, e,
	    "use another copy of the backup, or make one anew while the "
	    "node it came from still runs",
	    "the backup is damaged: %.100s", name);
}

static enum err
list_check(const char *dir, const struct backup_list *l, struct errmsg *em)
{
	char path[BACKUP_PATH_MAX], name[96];
	struct cry_id is;
	uint32_t i;
	enum err e;

	for (i = 0; i < l->n_files; i++) {
		(void)snprintf(name, sizeof(name), "home/%s", l->file[i].name);
		e = backup_file_path(path, dir, &l->file[i]);
		if (e == ERR_OK)
			e = backup_hash(path, l->file[i].bytes, &is);
		if (e != ERR_OK ||
		    memcmp(&is, &l->file[i].hash, sizeof(is)) != 0)
			return damaged(em, e, name);
	}
	for (i = 0; i < l->n_seg; i++) {
		(void)snprintf(name, sizeof(name), "segments/%08x.seg",
		    (unsigned)l->seg[i].no);
		e = backup_path(path, dir, name);
		if (e == ERR_OK)
			e = backup_hash(path, l->seg[i].end, &is);
		if (e != ERR_OK ||
		    memcmp(&is, &l->seg[i].hash, sizeof(is)) != 0)
			return damaged(em, e, name);
	}
	return ERR_OK;
}

static bool
restoring(const char *home)
{
	char path[BACKUP_PATH_MAX];

	return backup_path(path, home, BACKUP_RESTORING) == ERR_OK &&
	       access(path, F_OK) == 0;
}

static enum err
home_taken(const char *home, struct errmsg *em)
{
	char path[BACKUP_PATH_MAX];

	if (backup_path(path, home, "keys/keystore") == ERR_OK &&
	    access(path, F_OK) == 0)
		return errmsg_set(em, ERR_EXISTS,
		    "start it, or choose another --home",
		    "the home is that of a node: nothing is written over");
	return errmsg_set(em, ERR_EXISTS,
	    "choose another --home, or empty it yourself",
	    "the home is not empty: nothing is written over");
}

static enum err
home_empty(const char *home, struct errmsg *em)
{
	const struct dirent *de;
	enum err e = ERR_OK;
	DIR *d;

	if (mkdir(home, 0700) == 0 || restoring(home))
		return ERR_OK;
	d = errno == EEXIST || errno == ENOENT ? opendir(home) : NULL;
	if (d == NULL)
		return errmsg_set(em, backup_errno(), "check its parent folder",
		    "the home cannot be made");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): only this thread has it */
	while (e == ERR_OK && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			e = home_taken(home, em);
	}
	(void)closedir(d);
	return e;
}

/* A restore that was cut may have left other segments: of another backup. */
static enum err
segs_clear(const char *home)
{
	char path[BACKUP_PATH_MAX], file[BACKUP_PATH_MAX];
	const struct dirent *de;
	enum err e = backup_path(path, home, "store/segments");
	DIR *d = e == ERR_OK ? opendir(path) : NULL;

	if (d == NULL)
		return e == ERR_OK ? backup_errno() : e;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): only this thread has it */
	while (e == ERR_OK && (de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		e = backup_path(file, path, de->d_name);
		if (e == ERR_OK && unlink(file) != 0)
			e = backup_errno();
	}
	(void)closedir(d);
	return e;
}

/* The mark, and the folders. */
static enum err
home_begin(const char *home)
{
	char path[BACKUP_PATH_MAX];
	enum err e = backup_path(path, home, BACKUP_RESTORING);
	int fd;

	if (e != ERR_OK)
		return e;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return backup_errno();
	(void)close(fd);
	if ((e = backup_sync(home, ".")) == ERR_OK &&
	    (e = backup_folder(home, "keys")) == ERR_OK &&
	    (e = backup_folder(home, "store")) == ERR_OK &&
	    (e = backup_folder(home, "store/segments")) == ERR_OK)
		e = segs_clear(home);
	return e;
}

static enum err
segs_restore(const char *dir, const char *home, const struct backup_list *l)
{
	char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX], store[BACKUP_PATH_MAX];
	enum err e = backup_path(store, home, "store");
	struct cry_id is;
	uint64_t n;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < l->n_seg; i++) {
		e = backup_seg_path(from, dir, l->seg[i].no);
		if (e == ERR_OK)
			e = backup_seg_path(to, store, l->seg[i].no);
		if (e == ERR_OK)
			e = backup_copy(from, to, l->seg[i].end, &is, &n);
		if (e == ERR_OK &&
		    memcmp(&is, &l->seg[i].hash, sizeof(is)) != 0)
			e = ERR_CORRUPT;
	}
	return e == ERR_OK ? backup_sync(store, "segments") : e;
}

enum err
backup_files_restore(
    const char *dir, const char *home, const struct backup_list *l)
{
	char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
	enum err e = ERR_OK;
	bool profiles = false, profile;
	struct cry_id is;
	uint64_t n;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < l->n_files; i++) {
		e = backup_file_path(from, dir, &l->file[i]);
		profile = strncmp(l->file[i].name, BACKUP_PROFILES "/",
			      sizeof(BACKUP_PROFILES)) == 0;
		profiles = profiles || profile;
		if (e == ERR_OK && profile)
			e = backup_folder(home, BACKUP_PROFILES);
		if (e == ERR_OK)
			e = backup_path(to, home, l->file[i].name);
		if (e == ERR_OK)
			e = backup_copy(from, to, l->file[i].bytes, &is, &n);
		if (e == ERR_OK &&
		    memcmp(&is, &l->file[i].hash, sizeof(is)) != 0)
			e = ERR_CORRUPT;
	}
	if (e == ERR_OK)
		e = backup_sync(home, "keys");
	if (e == ERR_OK && profiles)
		e = backup_sync(home, BACKUP_PROFILES);
	return e == ERR_OK ? backup_sync(home, ".") : e;
}

enum err
backup_restore(const char *dir, const char *home, struct backup_report *out,
    struct errmsg *em)
{
	struct backup_list *l = mem_new(sizeof(*l));
	enum err e;

	if (l == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = backup_list_read(dir, l, em);
	if (e == ERR_OK)
		e = list_check(dir, l, em);
	if (e == ERR_OK)
		e = home_empty(home, em);
	if (e != ERR_OK)
		goto out;
	if ((e = home_begin(home)) == ERR_OK &&
	    (e = segs_restore(dir, home, l)) == ERR_OK)
		e = backup_files_restore(dir, home, l);
	if (e == ERR_OK)
		*out = l->r;
	else
		errmsg_set(em, e,
		    e == ERR_FULL ? "free some space, then run it again"
				  : "run it again, from another copy of the "
				    "backup if it fails again",
		    "the backup was not restored: %s", err_text(e));
out:
	backup_list_fini(l);
	mem_free(l);
	return e;
}

enum err
backup_home_file(
    const char *dir, const char *name, char *out, size_t cap, struct errmsg *em)
{
	struct backup_list *l = mem_new(sizeof(*l));
	char path[BACKUP_PATH_MAX];
	uint32_t i;
	enum err e;

	if (l == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = backup_list_read(dir, l, em);
	for (i = 0; e == ERR_OK && i < l->n_files; i++) {
		if (strcmp(l->file[i].name, name) == 0)
			break;
	}
	if (e == ERR_OK && i == l->n_files)
		e = ERR_NOTFOUND;
	if (e == ERR_OK)
		e = backup_file_path(path, dir, &l->file[i]);
	if (e == ERR_OK && strlen(path) >= cap)
		e = ERR_LIMIT;
	if (e == ERR_OK)
		memcpy(out, path, strlen(path) + 1);
	backup_list_fini(l);
	mem_free(l);
	return e;
}

enum err
backup_restored(const char *home)
{
	char path[BACKUP_PATH_MAX];
	enum err e = backup_path(path, home, BACKUP_RESTORING);

	if (e == ERR_OK && unlink(path) != 0)
		e = backup_errno();
	return e == ERR_OK ? backup_sync(home, ".") : e;
}
