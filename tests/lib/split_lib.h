/* tests/lib/split_lib.h: files as the helper plans them and the store cuts
 * them, in one process. */
#ifndef PSC_TESTS_SPLIT_LIB_H
#define PSC_TESTS_SPLIT_LIB_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "node/imaging/helper/walk.h"
#include "node/imaging/plan.h"
#include "store/base/mem.h"
#include "store/blob/blob.h"

/* --- plans --- */

struct split {
	struct img_piece img[IMG_PIECES_MAX];
	struct blob_piece p[IMG_PIECES_MAX];
	uint32_t n;
	bool dicom, nifti;
};

/* As node/imaging/helper/object.c and node/ingest plan it. */
static inline void
split_plan(struct slice file, struct split *s)
{
	struct dcm_file *f = NULL;
	uint32_t i;

	s->n = 0;
	s->dicom = dcm_open(file, &f, NULL) == ERR_OK;
	if (s->dicom && dcm_plan(f, s->img, IMG_PIECES_MAX, &s->n) != ERR_OK)
		s->n = 0;
	dcm_close(f);
	s->nifti = s->n == 0 &&
		   plan_nifti(file, s->img, IMG_PIECES_MAX, &s->n) == ERR_OK;
	for (i = 0; i < s->n; i++) {
		s->p[i] = (struct blob_piece){ .off = s->img[i].off,
			.len = s->img[i].len,
			.w = s->img[i].w,
			.apart = s->img[i].kind == IMG_P_FRAME };
		if (s->img[i].kind == IMG_P_FRAME)
			s->p[i].bits = s->img[i].bits;
	}
}

/* --- reading again --- */

struct split_rest {
	struct blob_reader *r;
	struct slice left;
	struct buf part;
};

static inline enum err
split_compare(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct split_rest *c = ctx;
	enum err err;

	if (depth > 0 || blob_entry_is_base(e))
		return ERR_OK;
	buf_reset(&c->part);
	if ((err = blob_reader_read(c->r, NULL, e, &c->part)) != ERR_OK)
		return err;
	if (c->part.n > c->left.n ||
	    memcmp(c->part.p, c->left.p, c->part.n) != 0)
		return ERR_CORRUPT;
	c->left = slice_of(c->left.p + c->part.n, c->left.n - c->part.n);
	return ERR_OK;
}

/* Does the manifest join to these very bytes? */
static inline enum err
split_joins(struct blob_reader *r, struct slice manifest, struct slice file)
{
	struct split_rest c = {
		.r = r, .left = file, .part = BUF_MAX(LIM_PIECE_BYTES)
	};
	struct blob_manifest m = { 0 };
	enum err e = blob_manifest_decode(manifest, &m);

	if (e == ERR_OK && m.raw_len != file.n)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		e = blob_reader_each(r, NULL, &m, split_compare, &c);
	if (e == ERR_OK && c.left.n != 0)
		e = ERR_CORRUPT;
	blob_manifest_fini(&m);
	buf_fini(&c.part);
	return e;
}

/* --- files below a folder --- */

#define SPLIT_FILES_MAX 4096u
#define SPLIT_FILE_BYTES ((size_t)64 * MIB)
struct split_files {
	char *path[SPLIT_FILES_MAX];
	uint32_t n;
};

static inline int
split_by_path(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void
split_find(struct split_files *out, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		char path[1024];
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (stat(path, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode))
			split_find(out, path);
		else if (S_ISREG(st.st_mode) && out->n < SPLIT_FILES_MAX)
			out->path[out->n++] = strdup(path);
	}
	if (d != NULL)
		closedir(d);
	qsort(out->path, out->n, sizeof(out->path[0]), split_by_path);
}

static inline void
split_files_fini(struct split_files *f)
{
	while (f->n > 0)
		free(f->path[--f->n]);
}

/* The whole file, in memory of malloc. */
static inline struct slice
split_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = malloc(SPLIT_FILE_BYTES);
	size_t n = 0;

	if (f != NULL && p != NULL) {
		n = fread(p, 1, SPLIT_FILE_BYTES, f);
		(void)fclose(f);
	}
	return slice_of(realloc(p, n > 0 ? n : 1), n);
}

static inline void
split_free(struct slice s)
{
	free((void *)(uintptr_t)s.p);
}

#endif
