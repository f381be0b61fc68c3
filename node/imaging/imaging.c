/* node/imaging/imaging.c: the node's end of a helper.
 *
 * spawn -> config frame (with the accepted socket) -> frames in, answers
 * out -> close.  Nothing a frame says is used before it is checked whole;
 * the first lie kills the helper and every later call says ERR_FOREIGN.
 * Memory of a message (identity, object, its mappings) lives until the next
 * imaging_next(); result files live until imaging_close(). */
#include "node/imaging/imaging_internal.h"

#include <signal.h>
#include <unistd.h>

#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define IMAGING_IDLE_MS 30000u
#define IMAGING_SMALL_FRAME (4 * KIB)

static void
imaging_kill(struct imaging *im)
{
	if (!im->dead && im->pid > 0)
		(void)kill(im->pid, SIGKILL);
	im->dead = true;
}

static enum err
imaging_put(struct imaging *im, struct buf *b, const int *fd)
{
	enum err e = ERR_FOREIGN;

	if (!im->dead)
		e = frame_send(
		    im->sock, b, fd, fd != NULL ? 1 : 0, IMAGING_SEND_MS);
	if (e == ERR_FOREIGN)
		im->dead = true;
	buf_fini(b);
	return e;
}

static enum err
imaging_configure(struct imaging *im, const struct imaging_opts *opts)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct msg_config c = { .mode = opts->mode,
		.memory_bytes_max = opts->memory_bytes_max,
		.object_bytes_max = opts->object_bytes_max,
		.idle_ms = opts->idle_ms,
		.table = opts->table };
	bool with_socket =
	    opts->mode == IMAGING_RECEIVE || opts->mode == IMAGING_PULL;

	if (c.object_bytes_max == 0 || c.object_bytes_max > LIM_OBJECT_BYTES)
		c.object_bytes_max = LIM_OBJECT_BYTES;
	if (c.idle_ms == 0)
		c.idle_ms = IMAGING_IDLE_MS;
	if (opts->called_ae != NULL)
		(void)snprintf(
		    c.called_ae, sizeof(c.called_ae), "%s", opts->called_ae);
	if (opts->profile != NULL)
		(void)snprintf(
		    c.profile, sizeof(c.profile), "%s", opts->profile);
	msg_put_config(&b, &c);
	return imaging_put(im, &b, with_socket ? &opts->accepted_fd : NULL);
}

enum err
imaging_spawn(
    const struct imaging_opts *opts, struct imaging **out, struct errmsg *em)
{
	struct imaging *im = mem_new(sizeof(*im));
	enum err e;

	if (im == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	im->mode = opts->mode;
	im->sock = -1;
	im->pid = -1;
	im->pidfd = -1;
	e = frame_init(&im->in);
	if (e == ERR_OK)
		e = spawn_helper(opts, im, em);
	if (e == ERR_OK && (e = imaging_configure(im, opts)) != ERR_OK)
		(void)errmsg_set(em, e, "check the installation",
		    "the imaging helper ended at start");
	if (e != ERR_OK) {
		imaging_close(im);
		return e;
	}
	*out = im;
	return ERR_OK;
}

/* Forget the last message and what it mapped. */
static void
imaging_forget(struct imaging *im)
{
	mp_doc_fini(&im->doc);
	msg_identity_fini(&im->identity);
	msg_object_fini(&im->object);
	sealed_unmap(&im->original);
	sealed_unmap(&im->deid);
	sealed_unmap(&im->detail);
}

static enum err
imaging_map(struct imaging *im, uint32_t i, uint64_t n, struct slice *out)
{
	int fd = frame_take_fd(&im->in, i);
	enum err e;

	if (fd < 0)
		return ERR_MALFORMED;
	e = sealed_map(fd, n, out);
	(void)close(fd);
	return e;
}

static enum err
imaging_take_object(struct imaging *im, struct img_object *out)
{
	struct msg_object *m = &im->object;
	struct slice detail;
	uint32_t at = 0;
	enum err e;

	e = msg_get_object(&im->doc, m);
	if (e != ERR_OK)
		return e;
	e = imaging_map(im, at++, m->object.original.n, &im->original);
	if (e == ERR_OK && m->object.deid.n > 0 && !m->same)
		e = imaging_map(im, at++, m->object.deid.n, &im->deid);
	detail = m->detail;
	if (e == ERR_OK && m->detail_n > 0 && detail.n == 0) {
		e = imaging_map(im, at++, m->detail_n, &im->detail);
		detail = im->detail;
	}
	if (e == ERR_OK && im->in.n_fds != at)
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = msg_get_detail(detail, m);
	if (e != ERR_OK)
		return e;
	*out = m->object;
	out->original = im->original;
	out->deid = m->same ? im->original : im->deid;
	m->object = *out;
	return ERR_OK;
}

struct img_held {
	struct msg_object m;
	struct slice original, deid;
	struct buf fields;
};

enum err
imaging_hold(struct imaging *im, struct img_held **out)
{
	struct img_held *h = mem_new(sizeof(*h));

	if (h == NULL)
		return ERR_NOMEM;
	h->fields = BUF_MAX(MSG_FIELDS_MAX);
	buf_put_slice(&h->fields, im->object.object.fields);
	if (buf_err(&h->fields) != ERR_OK) {
		mem_free(h);
		return ERR_NOMEM;
	}
	h->m = im->object;
	h->original = im->original;
	h->deid = im->deid;
	h->m.object.fields = buf_slice(&h->fields);
	im->object = (struct msg_object){ 0 };
	im->original = im->deid = (struct slice){ 0 };
	*out = h;
	return ERR_OK;
}

const struct img_object *
img_held_object(const struct img_held *h)
{
	return &h->m.object;
}

void
img_held_free(struct img_held *h)
{
	if (h == NULL)
		return;
	msg_object_fini(&h->m);
	sealed_unmap(&h->original);
	sealed_unmap(&h->deid);
	buf_fini(&h->fields);
	mem_free(h);
}

static enum err
imaging_take_result(struct imaging *im, struct img_result *out)
{
	struct img_result r;
	enum err e = msg_get_result(&im->doc, &r);
	uint32_t i;

	if (e != ERR_OK)
		return e;
	if (im->result.n_files != 0 || im->in.n_fds != r.n_files)
		return ERR_MALFORMED; /* one conversion, one result */
	im->result = r;
	im->result.n_files = 0;
	for (i = 0; i < r.n_files && e == ERR_OK; i++) {
		e = imaging_map(
		    im, i, r.files[i].bytes.n, &im->result.files[i].bytes);
		im->result.n_files++;
	}
	if (e == ERR_OK)
		*out = im->result;
	return e;
}

/* Which kinds a helper of this mode may send at all. */
static bool
imaging_expects(enum imaging_mode mode, uint32_t kind)
{
	switch (kind) {
	case IMG_ASSOC: return mode == IMAGING_RECEIVE;
	case IMG_RESULT:
		return mode == IMAGING_CONVERT || mode == IMAGING_PREVIEW;
	case IMG_VERDICT: return mode == IMAGING_CHECK;
	case IMG_ROW:
	case IMG_ANSWER: return mode == IMAGING_PULL;
	case IMG_COMMIT: return mode == IMAGING_RECEIVE;
	case IMG_IDENTITY:
	case IMG_OBJECT:
		return mode == IMAGING_RECEIVE || mode == IMAGING_IMPORT ||
		       mode == IMAGING_PULL;
	case IMG_DONE: return mode == IMAGING_RECEIVE || mode == IMAGING_IMPORT;
	default: return false;
	}
}

static enum err
imaging_take(struct imaging *im, struct img_msg *out)
{
	uint32_t kind;
	enum err e;

	e = msg_open(slice_of(im->in.bytes, im->in.n), &im->doc, &kind);
	if (e != ERR_OK)
		return e;
	if (!imaging_expects(im->mode, kind))
		return ERR_MALFORMED;
	if (kind != IMG_OBJECT && kind != IMG_RESULT && im->in.n_fds != 0)
		return ERR_MALFORMED;
	out->kind = (enum img_msg_kind)kind;
	switch (out->kind) {
	case IMG_ASSOC: return msg_get_assoc(&im->doc, &out->assoc);
	case IMG_IDENTITY:
		e = msg_get_identity(&im->doc, &im->identity);
		out->identity = im->identity;
		return e;
	case IMG_OBJECT: return imaging_take_object(im, &out->object);
	case IMG_RESULT: return imaging_take_result(im, &out->result);
	case IMG_DONE: return msg_get_done(&im->doc, &out->done);
	case IMG_VERDICT: return msg_get_verdict(&im->doc, &out->verdict);
	case IMG_ROW: return msg_get_row(&im->doc, &out->row);
	case IMG_ANSWER: return msg_get_answer(&im->doc, &out->answer);
	case IMG_COMMIT:
		if (im->refs == NULL)
			im->refs = mem_array(IMG_REFS_MAX, sizeof(*im->refs));
		return im->refs == NULL
			   ? ERR_NOMEM
			   : msg_get_commit(&im->doc, im->refs, &out->commit);
	}
	return ERR_MALFORMED;
}

enum err
imaging_next(struct imaging *im, uint32_t timeout_ms, struct img_msg *out)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	imaging_forget(im);
	if (im->dead)
		return ERR_FOREIGN;
	e = frame_recv(im->sock, timeout_ms, &im->in);
	if (e == ERR_OK)
		e = imaging_take(im, out);
	if (e == ERR_MALFORMED)
		imaging_kill(im);
	if (e == ERR_FOREIGN)
		im->dead = true;
	if (e != ERR_OK)
		memset(out, 0, sizeof(*out));
	return e;
}

enum err
imaging_answer_assoc(
    struct imaging *im, enum img_admit answer, struct slice table)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);

	msg_put_admit(&b, answer, table);
	return imaging_put(im, &b, NULL);
}

enum err
imaging_answer_identity(struct imaging *im, const struct img_context *ctx)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);

	msg_put_context(&b, ctx);
	return imaging_put(im, &b, NULL);
}

enum err
imaging_answer_stored(struct imaging *im, uint16_t status)
{
	struct buf b = BUF_MAX(IMAGING_SMALL_FRAME);

	msg_put_stored(&b, status);
	return imaging_put(im, &b, NULL);
}

enum err
imaging_send_file(struct imaging *im, int fd, uint64_t bytes)
{
	struct buf b = BUF_MAX(IMAGING_SMALL_FRAME);

	REQUIRE(im->mode == IMAGING_IMPORT || im->mode == IMAGING_CHECK ||
		im->mode == IMAGING_PREVIEW || im->mode == IMAGING_PULL);
	msg_put_file(&b, bytes);
	return imaging_put(im, &b, &fd);
}

enum err
imaging_dial(struct imaging *im, const struct img_dial *d)
{
	struct buf b = BUF_MAX(IMAGING_SMALL_FRAME);

	REQUIRE(im->mode == IMAGING_PULL);
	msg_put_dial(&b, d);
	return imaging_put(im, &b, NULL);
}

enum err
imaging_query(struct imaging *im, const struct img_query *q)
{
	struct buf b = BUF_MAX(IMAGING_SMALL_FRAME);

	REQUIRE(im->mode == IMAGING_PULL);
	msg_put_query(&b, q);
	return imaging_put(im, &b, NULL);
}

/* The container of MSG_SERIES (see msg.h), sealed. */
static enum err
imaging_pack(int fd, const struct slice *files, uint32_t n, uint64_t *bytes)
{
	struct buf head = BUF_MAX(4 + 8 * (size_t)MSG_SERIES_MAX);
	enum err e;
	uint32_t i;

	buf_u32(&head, n);
	for (i = 0; i < n; i++)
		buf_u64(&head, files[i].n);
	e = buf_err(&head);
	if (e == ERR_OK)
		e = sealed_write(fd, buf_slice(&head));
	*bytes = head.n;
	for (i = 0; i < n && e == ERR_OK; i++) {
		e = sealed_write(fd, files[i]);
		*bytes += files[i].n;
	}
	if (e == ERR_OK)
		e = sealed_close_writes(fd);
	buf_fini(&head);
	return e;
}

enum err
imaging_send_series(
    struct imaging *im, const struct slice *files, uint32_t n_files)
{
	struct buf b = BUF_MAX(IMAGING_SMALL_FRAME);
	uint64_t bytes = 0;
	enum err e;
	int fd;

	REQUIRE(im->mode == IMAGING_CONVERT);
	if (n_files > MSG_SERIES_MAX)
		return ERR_LIMIT;
	if ((fd = sealed_new()) < 0)
		return ERR_NOMEM;
	e = imaging_pack(fd, files, n_files, &bytes);
	if (e == ERR_OK) {
		msg_put_series(&b, bytes);
		e = imaging_put(im, &b, &fd);
	}
	(void)close(fd);
	return e;
}

int
imaging_pid(const struct imaging *im)
{
	return (int)im->pid;
}

void
imaging_close(struct imaging *im)
{
	uint32_t i;

	if (im == NULL)
		return;
	imaging_forget(im);
	for (i = 0; i < im->result.n_files; i++)
		sealed_unmap(&im->result.files[i].bytes);
	if (im->sock >= 0)
		(void)close(im->sock);
	spawn_reap(im, IMAGING_CLOSE_MS);
	frame_fini(&im->in);
	mem_free(im->refs);
	mem_free(im);
}
