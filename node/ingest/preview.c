/* node/ingest/preview.c: what would become of a file, and nothing else.
 *
 * Happy path: the file is copied into a sealed memfd, a confined helper of
 * its own makes the rows, the look is audited.  Pseudonym, UIDs and days are
 * stand-ins of the helper: a preview gives nobody a name. */
#include "node/ingest/ingest_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define PREVIEW_WAIT_MS 60000u
#define PREVIEW_STEP (64 * KIB)

static enum err
preview_copy(int from, int to, uint64_t *bytes)
{
	uint8_t *room = mem_new(PREVIEW_STEP);
	enum err e = room == NULL ? ERR_NOMEM : ERR_OK;
	ssize_t got = 1;

	*bytes = 0;
	while (e == ERR_OK && got > 0) {
		got = read(from, room, PREVIEW_STEP);
		if (got < 0 && errno == EINTR) {
			got = 1;
			continue;
		}
		if (got < 0)
			e = ERR_IO;
		else if (got > 0 &&
			 (*bytes += (uint64_t)got) > LIM_OBJECT_BYTES)
			e = ERR_LIMIT;
		else
			e = sealed_write(to, slice_of(room, (size_t)got));
	}
	mem_free(room);
	return e == ERR_OK ? sealed_close_writes(to) : e;
}

/* A sealed copy of a regular file; -1: see em. */
static int
preview_open(const char *path, uint64_t *bytes, struct errmsg *em)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int copy = -1;
	enum err e = ERR_OK;

	if (fd < 0 || fstat(fd, &st) != 0)
		(void)errmsg_set(em, ERR_NOTFOUND,
		    "Check the path; the node's user must be able to read it.",
		    "the node cannot open the file: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		(void)errmsg_set(em, ERR_UNSUPPORTED, "Name one DICOM file.",
		    "not a regular file");
	else if ((copy = sealed_new()) >= 0)
		e = preview_copy(fd, copy, bytes);
	else
		e = ERR_NOMEM;
	if (fd >= 0)
		(void)close(fd);
	if (e != ERR_OK) {
		(void)errmsg_set(em, e, "Check the file and the memory.",
		    "the file cannot be read: %s", err_text(e));
		if (copy >= 0)
			(void)close(copy);
		copy = -1;
	}
	return copy;
}

/* --- what came back --- */

static void
check_text(struct mp_doc *d, const struct mp_node *map, const char *key)
{
	struct slice s = mp_str(d, mp_get(map, key), 1024);

	for (size_t k = 0; k < s.n; k++)
		if (s.p[k] < 0x20 || s.p[k] > 0x7E)
			d->err = ERR_MALFORMED;
}

static enum err
preview_check(struct slice in)
{
	static const char *const of_row[] = { "at", "name", "vr", "did", "was",
		"now", "why" };
	static const struct mp_limits lim = { .bytes_max = INGEST_PREVIEW_BYTES,
		.count_max = INGEST_PREVIEW_ROWS,
		.depth_max = 4 };
	const struct mp_node *list;
	struct mp_doc d = { 0 };
	enum err e;

	if (mp_parse(in, &lim, &d) != ERR_OK)
		return ERR_MALFORMED;
	(void)mp_bool(&d, mp_get(d.root, "releasable"));
	(void)mp_bool(&d, mp_get(d.root, "more"));
	list = mp_get(d.root, "findings");
	for (uint32_t i = 0; i < mp_len(list); i++) {
		check_text(&d, mp_at(list, i), "kind");
		check_text(&d, mp_at(list, i), "detail");
	}
	list = mp_get(d.root, "rows");
	if (mp_type(list) != MP_ARRAY)
		d.err = ERR_MALFORMED;
	for (uint32_t i = 0; i < mp_len(list); i++)
		for (size_t k = 0; k < sizeof(of_row) / sizeof(*of_row); k++)
			check_text(&d, mp_at(list, i), of_row[k]);
	e = d.err;
	mp_doc_fini(&d);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_MALFORMED;
}

static enum err
preview_ask(struct imaging *im, int fd, uint64_t bytes, struct buf *out,
    struct errmsg *em)
{
	struct img_msg m;
	enum err e = imaging_send_file(im, fd, bytes);

	if (e == ERR_OK)
		e = imaging_next(im, PREVIEW_WAIT_MS, &m);
	if (e == ERR_OK && m.kind != IMG_RESULT)
		e = ERR_MALFORMED;
	if (e == ERR_OK && !m.result.ok)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "Name a DICOM file that can be de-identified.", "%s",
		    m.result.reason);
	if (e == ERR_OK && m.result.n_files != 1)
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = preview_check(m.result.files[0].bytes);
	if (e == ERR_OK) {
		buf_put_slice(out, m.result.files[0].bytes);
		e = buf_err(out);
	}
	return e == ERR_OK
		   ? e
		   : errmsg_set(em, e, "Send the file to the maintainers.",
			 "the program that looks at it died on it");
}

static enum err
preview_audit(struct store_txn *t, void *ctx)
{
	const char *const *said = ctx;

	return cat_audit_append(t, said[0], "deid.preview", said[1], "");
}

enum err
ingest_preview(struct ingest *g, const char *path, const char *profile,
    const char *actor, struct buf *out, struct errmsg *em)
{
	const char *said[2] = { actor, profile == NULL ? "basic" : profile };
	struct imaging_opts o = { .program = g->o.helper,
		.mode = IMAGING_PREVIEW,
		.accepted_fd = -1,
		.profile = said[1],
		.memory_bytes_max = g->o.conf->limits_helper_memory,
		.idle_ms = PREVIEW_WAIT_MS };
	struct imaging *im = NULL;
	uint64_t bytes = 0;
	struct buf table = BUF_EMPTY;
	int fd = -1;
	enum err e = ingest_profile_table(g, said[1], &table, em);

	if (e == ERR_OK && (fd = preview_open(path, &bytes, em)) < 0)
		e = em->code;
	o.table = buf_slice(&table);
	if (e == ERR_OK)
		e = imaging_spawn(&o, &im, em);
	if (e == ERR_OK)
		e = preview_ask(im, fd, bytes, out, em);
	imaging_close(im);
	if (fd >= 0)
		(void)close(fd);
	buf_fini(&table);
	if (e == ERR_OK)
		e = store_write(
		    g->o.store, preview_audit, (void *)(uintptr_t)said);
	return e;
}
