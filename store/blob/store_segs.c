/* store/blob/store_segs.c: which segment files there are, and a view of the
 * log up to one commit that a backup copies from while writes go on. */
#include "store/blob/store_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- which files there are --- */

static int
seg_cmp(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

static bool
seg_of_name(const char *name, uint32_t *seg)
{
	uint8_t b[4];

	if (strlen(name) != 12 || strcmp(name + 8, ".seg") != 0 ||
	    dec_hex(slice_of(name, 8), b, sizeof(b)) != ERR_OK)
		return false;
	*seg = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
	       (uint32_t)b[2] << 8 | b[3];
	return *seg != 0;
}

enum err
store_seg_list(struct store *s, uint32_t **list, uint32_t *n)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	uint32_t *v = NULL, *grown, seg, got = 0;
	const struct dirent *de;
	enum err e = ERR_OK;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	/* Only this thread reads this stream. */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (e == ERR_OK && (de = readdir(d)) != NULL) {
		if (!seg_of_name(de->d_name, &seg))
			continue;
		grown = mem_grow(v, (size_t)got + 1, sizeof(*v));
		if (grown == NULL) {
			e = ERR_NOMEM;
		} else {
			v = grown;
			v[got++] = seg;
		}
	}
	(void)closedir(d);
	if (e != ERR_OK) {
		mem_free(v);
		return e;
	}
	if (got > 1)
		qsort(v, got, sizeof(*v), seg_cmp);
	*list = v;
	*n = got;
	return ERR_OK;
}

uint64_t
store_seg_file_bytes(struct store *s, uint32_t seg)
{
	char name[16];
	struct stat st;

	snprintf(name, sizeof(name), "%08x.seg", (unsigned)seg);
	if (fstatat(s->dir_fd, name, &st, 0) != 0 || st.st_size < 0)
		return 0;
	return (uint64_t)st.st_size;
}

/* --- the log up to a commit --- */

static enum err
snapshot_add(struct store_snapshot *p, uint32_t seg, const struct seg_row *row)
{
	struct store_snapshot_seg *v;
	uint64_t end;

	if (row->state == SEG_DEAD)
		return ERR_OK; /* nothing in it is needed */
	v = mem_grow(p->seg, (size_t)p->n + 1, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	p->seg = v;
	/* With the zeros behind its last record: the block is written whole. */
	end = store_round(row->used, STORE_BLOCK);
	if (end > row->cap)
		end = row->used; /* a damaged file that ends there */
	p->seg[p->n++] = (struct store_snapshot_seg){ .no = seg, .end = end };
	return ERR_OK;
}

enum err
store_snapshot_open(
    struct store *s, struct db_txn *t, struct store_snapshot **out)
{
	struct store_snapshot *p = mem_new(sizeof(*p));
	struct seg_row row;
	uint32_t seg = 0, i;
	enum err e = ERR_NOMEM;

	if (p == NULL)
		return e;
	p->s = s;
	while ((e = store_seg_row_from(t, seg + 1, &seg, &row)) == ERR_OK) {
		if ((e = snapshot_add(p, seg, &row)) != ERR_OK)
			break;
	}
	if (e == ERR_NOTFOUND)
		e = store_commit_no(t, &p->commit);
	p->holds =
	    e == ERR_OK ? mem_array((size_t)p->n + 1, sizeof(*p->holds)) : NULL;
	if (e == ERR_OK && p->holds == NULL)
		e = ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < p->n; i++)
		store_seg_hold(s, p->seg[i].no, &p->holds[i]);
	if (e != ERR_OK) {
		mem_free(p->holds);
		p->holds = NULL;
		store_snapshot_close(p);
		return e;
	}
	*out = p;
	return ERR_OK;
}

void
store_snapshot_close(struct store_snapshot *p)
{
	uint32_t i;

	if (p == NULL)
		return;
	for (i = 0; p->holds != NULL && i < p->n; i++)
		store_seg_release(p->s, &p->holds[i]);
	mem_free(p->holds);
	mem_free(p->seg);
	mem_free(p);
}

enum err
store_snapshot_read(const struct store_snapshot *p, uint32_t i, uint64_t off,
    uint8_t *out, size_t n)
{
	return store_seg_read(p->s, p->seg[i].no, off, out, n);
}
