/* tests/crash/fuse/blocklog.c: a disk that remembers the order of things.
 *
 *   blocklog MEGABYTES LOG MOUNTPOINT
 *
 * Serves two files: disk.img, in memory, for a loop device; and pos, the
 * number of records in LOG.  Every write to the disk is appended to LOG as
 * u64 offset, u64 length, bytes; every flush as offset and length all ones.
 * Little-endian.  Runs in the foreground until it is unmounted. */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	char *img;
	uint64_t size;
	FILE *log;
	uint64_t records;
} disk;

static int
log_add(uint64_t off, uint64_t n, const char *p)
{
	uint64_t head[2] = { off, n };

	disk.records++;
	if (fwrite(head, sizeof(head), 1, disk.log) != 1 ||
	    (p != NULL && n > 0 && fwrite(p, n, 1, disk.log) != 1))
		return -EIO;
	return 0;
}

static int
is_disk(const char *path)
{
	return strcmp(path, "/disk.img") == 0;
}

static int
do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	memset(st, 0, sizeof(*st));
	st->st_nlink = 1;
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0700;
		return 0;
	}
	if (!is_disk(path) && strcmp(path, "/pos") != 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_size = is_disk(path) ? (off_t)disk.size : 32;
	return 0;
}

static int
do_open(const char *path, struct fuse_file_info *fi)
{
	fi->direct_io = !is_disk(path); /* pos is asked anew each time */
	return 0;
}

static int
do_read(
    const char *path, char *out, size_t n, off_t off, struct fuse_file_info *fi)
{
	char text[32];

	(void)fi;
	if (!is_disk(path)) {
		size_t len = (size_t)snprintf(text, sizeof(text), "%llu\n",
		    (unsigned long long)disk.records);

		if (off != 0)
			return 0;
		n = n < len ? n : len;
		memcpy(out, text, n);
		return (int)n;
	}
	if ((uint64_t)off >= disk.size)
		return 0;
	if (n > disk.size - (uint64_t)off)
		n = disk.size - (uint64_t)off;
	memcpy(out, disk.img + off, n);
	return (int)n;
}

static int
do_write(const char *path, const char *in, size_t n, off_t off,
    struct fuse_file_info *fi)
{
	(void)fi;
	if (!is_disk(path) || off < 0 || (uint64_t)off > disk.size ||
	    n > disk.size - (uint64_t)off)
		return -EIO;
	memcpy(disk.img + off, in, n);
	return log_add((uint64_t)off, n, in) == 0 ? (int)n : -EIO;
}

static int
do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	(void)path;
	(void)data;
	(void)fi;
	return log_add(UINT64_MAX, UINT64_MAX, NULL);
}

static const struct fuse_operations ops = {
	.getattr = do_getattr,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.fsync = do_fsync,
};

int
main(int argc, char **argv)
{
	char *run[] = { argv[0], "-f", "-s", argc == 4 ? argv[3] : NULL, NULL };
	int rc;

	if (argc != 4 || atoi(argv[1]) <= 0)
		return 2;
	disk.size = (uint64_t)atoi(argv[1]) << 20;
	disk.img = calloc(1, disk.size);
	disk.log = fopen(argv[2], "wb");
	if (disk.img == NULL || disk.log == NULL)
		return 1;
	rc = fuse_main(4, run, &ops, NULL);
	if (fclose(disk.log) != 0)
		rc = 1;
	free(disk.img);
	return rc;
}
