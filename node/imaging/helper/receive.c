/* node/imaging/helper/receive.c: the storage service class, receiving side.
 *
 * Happy path: association request -> IMG_ASSOC -> accept -> for each C-STORE
 * collect the dataset behind a file meta header of ours in a memfd ->
 * object_offer() -> C-STORE-RSP with what the node said -> release ->
 * IMG_DONE.  So a success on the wire means that the node holds the bytes.
 *
 * A sender that asked for a window of operations (PS3.7 D.3.3.3) may send on
 * while the node stores: up to so many objects wait for their verdicts, which
 * come in the order of the objects; whatever we wait for, each leaves as an
 * answer at once.  With any other sender the window is one object.
 *
 * Nagle and delayed acknowledgement cost 45-90 ms a message otherwise:
 * TCP_NODELAY is set, an answer is one send, and TCP_QUICKACK, which the
 * kernel forgets by itself, is asked for again after every message.
 *
 * A dataset above the limit, or one that no memory is left for, is read to
 * its end and thrown away, so that the association survives it (A700). */
#include "node/imaging/helper/receive.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/imaging/helper/dcm_shim.h"
#include "node/imaging/helper/commit.h"
#include "node/imaging/helper/dimse.h"
#include "node/imaging/helper/ident.h"
#include "node/imaging/helper/object.h"
#include "node/imaging/sealed.h"

#define RECEIVE_ANSWER_MAX (1 * KIB)
#define RECEIVE_INVALID_INSTANCE 0x0117u
/* Above it one object alone is at the node, whatever the window. */
#define RECEIVE_OUT_BYTES ((uint64_t)16 * MIB)

/* An object at the node, and who is to be answered. */
struct receive_out {
	struct dimse_command cmd;
	uint64_t bytes;
	uint8_t ctx;
};

struct receive {
	struct link *l;
	struct object_work *work;
	struct shim_assoc *assoc;
	struct shim_peer peer;
	int fd; /* the DICOM socket; dcmtk closes it */
	struct buf command;
	struct img_done done;
	uint32_t window;
	struct receive_out out[IMG_WINDOW_MAX]; /* a ring */
	uint32_t out_first, n_out;
	uint64_t out_bytes;
	bool gone; /* the sender is: answers have nowhere to go */
};

static void
receive_quickack(const struct receive *r)
{
	int on = 1;

	(void)setsockopt(r->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static void
receive_socket(const struct receive *r)
{
	int on = 1;

	(void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	receive_quickack(r);
}

static void
receive_address(int fd, char *out, size_t cap)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };
	socklen_t n = sizeof(a);

	out[0] = '\0';
	if (getpeername(fd, &a.any, &n) != 0)
		return;
	if (a.any.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &a.v4.sin_addr, out, (socklen_t)cap);
	else if (a.any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &a.v6.sin6_addr, out, (socklen_t)cap);
}

/* Titles come from the wire: printable, without the padding (PS3.5 6.2). */
static void
receive_title(const char *in, char *out)
{
	size_t n = 0, last = 0;

	while (*in == ' ')
		in++;
	for (; n < IMG_AE_MAX && in[n] != '\0'; n++) {
		out[n] = in[n] >= 0x20 && in[n] <= 0x7e && in[n] != '"' ? in[n]
									: '?';
		if (out[n] != ' ')
			last = n + 1;
	}
	out[last] = '\0';
}

static enum err
receive_admit(struct receive *r, enum img_admit *answer)
{
	struct buf b = BUF_MAX(RECEIVE_ANSWER_MAX);
	struct img_assoc a = { .window = r->window };
	struct slice table = { 0 };
	enum err e;

	receive_title(r->peer.calling_ae, a.calling_ae);
	receive_title(r->peer.called_ae, a.called_ae);
	(void)memcpy(r->peer.calling_ae, a.calling_ae, sizeof(a.calling_ae));
	receive_address(r->fd, a.address, sizeof(a.address));
	msg_put_assoc(&b, &a);
	e = link_send(r->l, &b, NULL, 0);
	if (e == ERR_OK)
		e = link_wait(r->l, MSG_ADMIT);
	if (e == ERR_OK)
		e = msg_get_admit(&r->l->doc, answer, &table);
	if (e == ERR_OK)
		e = link_take_table(r->l, table);
	return e;
}

static enum err
receive_answer(struct receive *r, const struct dimse_command *cmd,
    uint8_t context_id, uint16_t status)
{
	struct buf b = BUF_MAX(RECEIVE_ANSWER_MAX);
	enum err e;
	ssize_t n;

	dimse_put_response(&b, cmd, context_id, status);
	e = buf_err(&b);
	if (e == ERR_OK) {
		do
			n = send(r->fd, b.p, b.n, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		e = n == (ssize_t)b.n ? ERR_OK : ERR_IO;
	}
	buf_fini(&b);
	receive_quickack(r);
	return e;
}

static void
receive_count(struct receive *r, uint16_t status)
{
	if (status == IMG_STATUS_OK)
		r->done.stored++;
	else
		r->done.refused++;
}

/* The node's verdict on the object that waits longest. */
static enum err
receive_stored(void *ctx, uint16_t status)
{
	struct receive *r = ctx;
	const struct receive_out *o = &r->out[r->out_first];

	if (r->n_out == 0)
		return ERR_MALFORMED;
	receive_count(r, status);
	if (!r->gone)
		r->gone = receive_answer(r, &o->cmd, o->ctx, status) != ERR_OK;
	r->out_bytes -= o->bytes;
	r->out_first = (r->out_first + 1) % IMG_WINDOW_MAX;
	r->n_out--;
	return ERR_OK;
}

/* ERR_CANCELLED: the node is gone. */
static enum err
receive_verdict(struct receive *r)
{
	uint16_t status;
	enum err e = object_verdict(r->l, &status);

	if (e == ERR_OK)
		e = receive_stored(r, status);
	return e == ERR_OK ? ERR_OK : ERR_CANCELLED;
}

/* Until no more than so many objects are at the node. */
static enum err
receive_settle(struct receive *r, uint32_t max)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && r->n_out > max)
		e = receive_verdict(r);
	return e;
}

/* Before the next object: is there room for one more at the node? */
static enum err
receive_room(struct receive *r)
{
	enum err e = receive_settle(r, r->window - 1);

	while (e == ERR_OK && r->n_out > 0 && r->out_bytes > RECEIVE_OUT_BYTES)
		e = receive_verdict(r);
	return e == ERR_OK && r->gone ? ERR_IO : e;
}

static enum err
receive_pdv(struct receive *r, struct shim_pdv *pdv)
{
	struct pollfd p[2] = { { .fd = r->l->sock, .events = POLLIN },
		{ .fd = r->fd, .events = POLLIN } };
	enum err e = ERR_OK;

	/* Whoever waits for answers may send nothing more before them. */
	while (e == ERR_OK && r->n_out > 0 && !shim_pdv_ready(r->assoc)) {
		if (poll(p, 2, -1) < 0) {
			e = errno == EINTR ? ERR_OK : ERR_IO;
			continue;
		}
		if (p[0].revents == 0)
			break;
		e = receive_verdict(r);
		if (e == ERR_OK && r->gone)
			e = ERR_IO;
	}
	return e == ERR_OK ? shim_next_pdv(r->assoc, pdv) : e;
}

/* PDVs of one command, joined. */
static enum err
receive_command(struct receive *r, struct dimse_command *cmd, uint8_t *ctx)
{
	struct shim_pdv pdv;
	bool first = true;
	enum err e;

	buf_reset(&r->command);
	do {
		if ((e = receive_pdv(r, &pdv)) != ERR_OK)
			return e;
		if (!pdv.command || (!first && pdv.context_id != *ctx))
			return ERR_MALFORMED;
		*ctx = pdv.context_id;
		first = false;
		buf_put(&r->command, pdv.p, pdv.n);
	} while (!pdv.last);
	if (buf_err(&r->command) != ERR_OK)
		return ERR_MALFORMED;
	receive_quickack(r);
	return dimse_parse(buf_slice(&r->command), cmd);
}

/* The dataset that follows a command, appended to fd; fd < 0 throws it away.
 * *bytes counts all of it; *kept is false once a byte had to go. */
static enum err
receive_dataset(
    struct receive *r, int fd, uint8_t ctx, uint64_t *bytes, bool *kept)
{
	struct shim_pdv pdv;
	enum err e;

	*kept = fd >= 0;
	do {
		if ((e = receive_pdv(r, &pdv)) != ERR_OK)
			return e;
		if (pdv.command || pdv.context_id != ctx)
			return ERR_MALFORMED;
		*bytes += pdv.n;
		if (*bytes > r->l->config.object_bytes_max)
			*kept = false;
		if (*kept && sealed_write(fd, slice_of(pdv.p, pdv.n)) != ERR_OK)
			*kept = false;
	} while (!pdv.last);
	return ERR_OK;
}

static enum err
receive_meta(const struct receive *r, const struct dimse_command *cmd,
    const char *syntax, int fd, uint64_t *bytes)
{
	struct dimse_meta m = { .sop_class = cmd->sop_class,
		.sop_uid = cmd->sop_uid,
		.transfer_syntax = syntax,
		.calling_ae = r->peer.calling_ae };
	struct buf b = BUF_MAX(DIMSE_COMMAND_MAX);
	enum err e;

	dimse_put_meta(&b, &m);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = sealed_write(fd, buf_slice(&b));
	*bytes = b.n;
	buf_fini(&b);
	return e;
}

/* What the command alone already decides. */
static uint16_t
receive_check(const struct dimse_command *cmd, const struct shim_context *pc)
{
	if (strcmp(cmd->sop_class, pc->abstract_syntax) != 0)
		return IMG_STATUS_REFUSED;
	if (!msg_uid_ok(cmd->sop_uid))
		return RECEIVE_INVALID_INSTANCE;
	return IMG_STATUS_OK;
}

static enum err
receive_offer(struct receive *r, const struct receive_out *o, int fd,
    uint16_t *status, bool *offered)
{
	struct object_in in = { .fd = fd,
		.bytes = o->bytes,
		.sop_class = o->cmd.sop_class,
		.sop_uid = o->cmd.sop_uid };
	uint32_t at;

	/* Only the node's end can fail this: no answer then, the sender
	 * keeps the object. */
	if (object_offer(r->l, r->work, &in, status, offered) != ERR_OK)
		return ERR_CANCELLED;
	if (!*offered)
		return ERR_OK;
	at = (r->out_first + r->n_out++) % IMG_WINDOW_MAX;
	r->out[at] = *o;
	r->out_bytes += o->bytes;
	return receive_room(r);
}

static enum err
receive_store(struct receive *r, const struct dimse_command *cmd, uint8_t ctx)
{
	struct receive_out o = { .cmd = *cmd, .ctx = ctx };
	bool kept, offered = false;
	struct shim_context pc;
	uint16_t status;
	int fd = -1;
	enum err e;

	if (cmd->data_type == DIMSE_NO_DATA ||
	    shim_context(r->assoc, ctx, &pc) != ERR_OK)
		return ERR_MALFORMED;
	status = receive_check(cmd, &pc);
	if (status == IMG_STATUS_OK && (fd = sealed_new()) >= 0 &&
	    receive_meta(r, cmd, pc.transfer_syntax, fd, &o.bytes) != ERR_OK) {
		(void)close(fd);
		fd = -1;
	}
	e = receive_dataset(r, fd, ctx, &o.bytes, &kept);
	if (e == ERR_OK && status == IMG_STATUS_OK && !kept)
		status = IMG_STATUS_OUT_OF_RESOURCES;
	if (e == ERR_OK && status == IMG_STATUS_OK)
		e = receive_offer(r, &o, fd, &status, &offered);
	if (fd >= 0)
		(void)close(fd);
	if (e != ERR_OK || offered)
		return e;
	receive_count(r, status);
	return receive_answer(r, cmd, ctx, status);
}

/* N-ACTION: our word for objects that came before (PS3.4 J). */
static enum err
receive_commit(struct receive *r, const struct dimse_command *cmd, uint8_t ctx)
{
	struct buf data = BUF_MAX(COMMIT_DATA_MAX);
	uint16_t status = DIMSE_UNRECOGNIZED;
	struct shim_context pc;
	struct shim_pdv pdv;
	enum err e = ERR_OK;

	if (cmd->data_type == DIMSE_NO_DATA ||
	    shim_context(r->assoc, ctx, &pc) != ERR_OK)
		return ERR_MALFORMED;
	commit_put_head(&data, pc.transfer_syntax);
	do {
		e = receive_pdv(r, &pdv);
		if (e == ERR_OK && (pdv.command || pdv.context_id != ctx))
			e = ERR_MALFORMED;
		if (e == ERR_OK)
			buf_put(&data, pdv.p, pdv.n);
	} while (e == ERR_OK && !pdv.last);
	/* What came before is judged before. */
	if (e == ERR_OK)
		e = receive_settle(r, 0);
	if (e == ERR_OK && strcmp(pc.abstract_syntax, SHIM_COMMIT_CLASS) == 0)
		e = commit_offer(r->l, cmd, &data, &status) == ERR_OK
			? ERR_OK
			: ERR_CANCELLED;
	buf_fini(&data);
	return e == ERR_OK ? receive_answer(r, cmd, ctx, status) : e;
}

static enum err
receive_message(struct receive *r)
{
	struct dimse_command cmd;
	uint64_t bytes = 0;
	uint8_t ctx = 0;
	bool kept;
	enum err e = receive_command(r, &cmd, &ctx);

	if (e != ERR_OK)
		return e;
	if (cmd.field == DIMSE_C_STORE_RQ)
		return receive_store(r, &cmd, ctx);
	if (cmd.field == DIMSE_N_ACTION_RQ)
		return receive_commit(r, &cmd, ctx);
	if (cmd.data_type != DIMSE_NO_DATA)
		e = receive_dataset(r, -1, ctx, &bytes, &kept);
	if (e != ERR_OK || cmd.field == DIMSE_C_CANCEL_RQ)
		return e;
	if ((cmd.field & DIMSE_RSP) != 0)
		return ERR_MALFORMED;
	return receive_answer(r, &cmd, ctx,
	    cmd.field == DIMSE_C_ECHO_RQ ? IMG_STATUS_OK : DIMSE_UNRECOGNIZED);
}

static const char *
receive_reason(enum err e)
{
	if (e == ERR_NOTFOUND)
		return "release";
	if (e == ERR_TIMEOUT)
		return "idle";
	if (e == ERR_IO)
		return "abort";
	return e == ERR_MALFORMED || e == ERR_SHORT ? "malformed" : "error";
}

/* Runs until the association ends; what the node said or how it ended. */
static enum err
receive_serve(struct receive *r)
{
	enum img_admit answer = IMG_REFUSED_CALLING_AE;
	enum err e = receive_admit(r, &answer);

	if (e != ERR_OK)
		return ERR_CANCELLED;
	if (answer != IMG_ADMITTED && answer != IMG_ADMITTED_COMMIT) {
		shim_assoc_reject(r->assoc, answer == IMG_REFUSED_CALLED_AE);
		return ERR_DENIED;
	}
	e = shim_assoc_accept(r->assoc, IDENT_CLASS_UID, IDENT_VERSION,
	    r->peer.window != 1 ? (uint16_t)r->window : 0,
	    answer == IMG_ADMITTED_COMMIT);
	receive_quickack(r);
	while (e == ERR_OK)
		e = receive_message(r);
	if (e == ERR_CANCELLED)
		return e;
	/* What the node has it may keep; dcmtk may have closed the socket. */
	r->gone = e != ERR_NOTFOUND;
	if (receive_settle(r, 0) != ERR_OK)
		return ERR_CANCELLED;
	if (e == ERR_NOTFOUND)
		shim_assoc_release(r->assoc);
	else if (e != ERR_IO)
		shim_assoc_abort(r->assoc);
	return e;
}

static enum err
receive_done(struct receive *r, enum err e)
{
	struct buf b = BUF_MAX(RECEIVE_ANSWER_MAX);

	(void)snprintf(r->done.reason, sizeof(r->done.reason), "%s",
	    e == ERR_DENIED ? "refused" : receive_reason(e));
	msg_put_done(&b, &r->done);
	return link_send(r->l, &b, NULL, 0);
}

/* Of what the sender asks; 0: as much as we like. */
static uint32_t
receive_window(uint16_t asked)
{
	return asked == 0 || asked > IMG_WINDOW_MAX ? IMG_WINDOW_MAX : asked;
}

enum err
receive_run(struct link *l)
{
	struct receive r = { .l = l, .fd = l->accepted };
	uint32_t idle_s = (l->config.idle_ms + 999) / 1000;
	enum err e = object_work_new(&r.work);

	if (e != ERR_OK)
		return e;
	l->on_stored = receive_stored;
	l->ctx = &r;
	buf_init(&r.command, DIMSE_COMMAND_MAX);
	receive_socket(&r);
	e = shim_assoc_receive(r.fd, idle_s, &r.assoc, &r.peer);
	if (e == ERR_OK) {
		l->accepted = -1; /* dcmtk's now */
		r.window = receive_window(r.peer.window);
		e = receive_serve(&r);
		shim_assoc_close(r.assoc);
	}
	if (e != ERR_CANCELLED)
		e = receive_done(&r, e);
	l->on_stored = NULL;
	l->ctx = NULL;
	buf_fini(&r.command);
	object_work_free(r.work);
	return e;
}
