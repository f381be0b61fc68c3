/* tests/e2e/deid_tool.c: run the walker and the de-identification engine on
 * files from the command line, as the helper does, for tests.
 *
 *   deid_tool walk FILE         one line an element: tag vr length
 *   deid_tool plan FILE         one line a piece
 *   deid_tool deid PROFILE SUBJECT IN OUT   findings and fields on stdout;
 *                               a profile that moves dates moves them back
 *                               by 1,000 days
 *
 * The UID map is deterministic: 2.25. + a 126-bit FNV of the old UID. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/imaging/helper/recode.h"
#include "store/base/mem.h"

#define SHIFT_DAYS (-1000)

static struct slice
map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	struct slice out = { 0 };
	void *p;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) {
		perror(path);
		exit(2);
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		perror(path);
		exit(2);
	}
	(void)close(fd);
	out.p = p;
	out.n = (size_t)st.st_size;
	return out;
}

static char *
new_uid(const char *old)
{
	unsigned __int128 h = 88172645463325252u;
	char *out = mem_new(IMG_UID_MAX + 1);
	char digits[48];
	int n = 0;

	for (; *old != '\0'; old++)
		h = (h ^ (unsigned char)*old) *
		    (((unsigned __int128)1 << 88) + 0x13Bu);
	h = (h << 6 >> 6) | ((unsigned __int128)1 << 120);
	while (h > 0) {
		digits[n++] = (char)('0' + (int)(h % 10));
		h /= 10;
	}
	if (out == NULL)
		exit(2);
	(void)snprintf(out, IMG_UID_MAX, "2.25.");
	for (int k = 0; k < n; k++)
		out[5 + k] = digits[n - 1 - k];
	return out;
}

static void
walk(const struct dcm_file *f)
{
	(void)printf(
	    "# %s end=%llu\n", f->transfer_syntax, (unsigned long long)f->end);
	for (uint32_t i = 0; i < f->n; i++)
		(void)printf("%u %08X %s %lld @%llu\n", f->e[i].depth,
		    f->e[i].tag, dict_vr_name((enum dcm_vr)f->e[i].vr),
		    (long long)f->e[i].len, (unsigned long long)f->e[i].off);
}

static enum err
plan(const struct dcm_file *f)
{
	struct img_piece *p = mem_array(IMG_PIECES_MAX, sizeof(*p));
	uint32_t n = 0;
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	e = dcm_plan(f, p, IMG_PIECES_MAX, &n);
	for (uint32_t k = 0; k < n; k++)
		(void)printf("%u %llu %llu w=%u h=%u bits=%u\n", p[k].kind,
		    (unsigned long long)p[k].off, (unsigned long long)p[k].len,
		    p[k].w, p[k].h, p[k].bits);
	mem_free(p);
	return e;
}

static void
write_file(const char *path, const struct buf *b)
{
	FILE *o = fopen(path, "wb");

	if (o == NULL || fwrite(b->p, 1, b->n, o) != b->n || fclose(o) != 0) {
		perror(path);
		exit(2);
	}
}

static enum err
deid(const struct dcm_file *f, char **argv, struct errmsg *em)
{
	struct img_identity id;
	struct deid_result r = { 0 };
	struct img_context ctx = {
		.profile = argv[2], .subject = argv[3], .shift_days = SHIFT_DAYS
	};
	char **map;
	enum err e = deid_identity(f, &id);

	if (e != ERR_OK)
		return e;
	map = mem_array(id.n_uids + 1, sizeof(*map));
	if (map == NULL)
		return ERR_NOMEM;
	for (uint32_t k = 0; k < id.n_uids; k++)
		map[k] = new_uid(id.uids[k]);
	ctx.new_uids = (const char *const *)map;
	ctx.n_uids = id.n_uids;
	e = deid_apply(f, &id, &ctx, &r, em);
	(void)printf("releasable=%d uids=%u\n", r.releasable, id.n_uids);
	for (uint32_t k = 0; k < r.n_findings; k++)
		(void)printf("finding %s: %s\n", r.findings[k].kind,
		    r.findings[k].detail);
	if (e == ERR_OK)
		write_file(argv[5], &r.file);
	deid_result_fini(&r);
	for (uint32_t k = 0; k < id.n_uids; k++)
		mem_free(map[k]);
	mem_free(map);
	deid_identity_fini(&id);
	return e;
}

int
main(int argc, char **argv)
{
	struct errmsg em = { 0 };
	struct dcm_file *f = NULL;
	struct recode plain = { 0 };
	struct charset *charset = NULL;
	struct slice in;
	enum err e;

	if (argc != 3 && argc != 6) {
		(void)fprintf(stderr, "usage: see the head of deid_tool.c\n");
		return 2;
	}
	in = map_file(argv[argc == 3 ? 2 : 4]);
	e = dcm_open(in, &f, &em);
	if (e == ERR_OK && argc == 6)
		e = charset_open(&charset);
	if (e == ERR_OK && argc == 6)
		e = recode_plain(f, charset, &plain, &em);
	if (e == ERR_OK && strcmp(argv[1], "walk") == 0)
		walk(f);
	else if (e == ERR_OK && strcmp(argv[1], "plan") == 0)
		e = plan(f);
	else if (e == ERR_OK && argc == 6)
		e = deid(plain.f != NULL ? plain.f : f, argv, &em);
	if (e != ERR_OK)
		(void)printf("error %d %s: %s\n", e, err_text(e), em.cause);
	recode_fini(&plain);
	charset_close(charset);
	dcm_close(f);
	(void)munmap((void *)(uintptr_t)in.p, in.n);
	return e == ERR_OK ? 0 : 1;
}
