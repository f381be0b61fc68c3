/* node/imaging/helper/convert.c: the conversion run.
 *
 * Happy path: map the sealed container -> add every file to a volume ->
 * build it -> image.nii.gz and image.json into memfds -> IMG_RESULT.  What
 * cannot be converted faithfully is refused with a reason in the result;
 * nothing is ever guessed. */
#include "node/imaging/helper/convert.h"

#include <unistd.h>

#include "node/imaging/helper/nifti_out.h"
#include "node/imaging/helper/sidecar.h"
#include "node/imaging/sealed.h"
#include "store/base/rd.h"

#define CONVERT_JSON_MAX (64 * MIB)
#define CONVERT_FIELDS_MAX (16 * KIB)

struct convert {
	struct slice in; /* the container, mapped */
	struct volume v;
	int fds[2];
	struct img_result result;
	struct buf fields;
};

/* Container: u32 n, n x u64 length, then the files (msg.h). */
static enum err
convert_read(struct convert *c, struct errmsg *em)
{
	struct rd head = rd_init(c->in), body;
	uint32_t i, n = rd_count(&head, MSG_SERIES_MAX, 8);
	struct slice lens = rd_bytes(&head, (size_t)n * 8), file;
	struct rd len = rd_init(lens);
	enum err e = head.err;
	uint64_t bytes;

	body = rd_init(rd_rest(&head));
	for (i = 0; i < n && e == ERR_OK; i++) {
		bytes = rd_u64(&len);
		if (bytes > body.left)
			return ERR_SHORT;
		file = rd_bytes(&body, (size_t)bytes);
		e = volume_add(&c->v, file, em);
	}
	return e == ERR_OK ? rd_end(&body) : e;
}

static void
convert_file(struct convert *c, const char *name, uint64_t bytes)
{
	struct img_out_file *f = &c->result.files[c->result.n_files++];

	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	f->bytes.n = (size_t)bytes;
}

static enum err
convert_image(struct convert *c, struct errmsg *em)
{
	uint64_t bytes = 0;
	enum err e;

	if ((c->fds[0] = sealed_new()) < 0)
		return ERR_NOMEM;
	e = nifti_out_write(&c->v, c->fds[0], &bytes, em);
	if (e == ERR_OK)
		e = sealed_close_writes(c->fds[0]);
	if (e == ERR_OK)
		convert_file(c, "image.nii.gz", bytes);
	return e;
}

static enum err
convert_sidecar(struct convert *c)
{
	struct buf b = BUF_MAX(CONVERT_JSON_MAX);
	enum err e = sidecar_json(&c->v, &b);

	if (e == ERR_OK && (c->fds[1] = sealed_new()) < 0)
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = sealed_write(c->fds[1], buf_slice(&b));
	if (e == ERR_OK)
		e = sealed_close_writes(c->fds[1]);
	if (e == ERR_OK)
		convert_file(c, "image.json", b.n);
	buf_fini(&b);
	if (e == ERR_OK)
		e = sidecar_fields(&c->v, &c->fields);
	return e;
}

static enum err
convert_work(struct convert *c, int fd, uint64_t bytes, struct errmsg *em)
{
	enum err e = sealed_map(fd, bytes, &c->in);

	if (e == ERR_OK)
		e = convert_read(c, em);
	if (e == ERR_OK)
		e = volume_build(&c->v, em);
	if (e == ERR_OK)
		e = convert_image(c, em);
	if (e == ERR_OK)
		e = convert_sidecar(c);
	return e;
}

static enum err
convert_answer(
    struct link *l, struct convert *c, enum err e, const struct errmsg *em)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	const char *why = em->cause[0] != '\0' ? em->cause : err_text(e);

	c->result.ok = e == ERR_OK;
	if (e == ERR_OK) {
		c->result.fields = buf_slice(&c->fields);
	} else {
		c->result.n_files = 0;
		(void)snprintf(c->result.reason, sizeof(c->result.reason),
		    "%.*s", (int)sizeof(c->result.reason) - 1, why);
	}
	msg_put_result(&b, &c->result);
	return link_send(l, &b, c->fds, c->result.n_files);
}

static void
convert_fini(struct convert *c)
{
	volume_fini(&c->v);
	buf_fini(&c->fields);
	sealed_unmap(&c->in);
	if (c->fds[0] >= 0)
		(void)close(c->fds[0]);
	if (c->fds[1] >= 0)
		(void)close(c->fds[1]);
}

enum err
convert_run(struct link *l)
{
	struct convert c = { .fds = { -1, -1 } };
	struct errmsg em = { 0 };
	uint64_t bytes = 0;
	enum err e = link_wait(l, MSG_SERIES);
	int fd;

	if (e == ERR_OK)
		e = msg_get_series(&l->doc, &bytes);
	if (e != ERR_OK)
		return e;
	fd = frame_take_fd(&l->in, 0);
	if (fd < 0)
		return ERR_MALFORMED;
	volume_init(&c.v);
	buf_init(&c.fields, CONVERT_FIELDS_MAX);
	e = convert_work(&c, fd, bytes, &em);
	e = convert_answer(l, &c, e, &em);
	convert_fini(&c);
	(void)close(fd);
	return e;
}
