/* node/imaging/helper/scu.c: ask for an association and speak in it.
 *
 * Happy path: A-ASSOCIATE-RQ, its AC; then PDVs out of P-DATA-TF PDUs, each
 * PDU read whole into one buffer (its length is bounded first); release.
 * Failure modes: a PDU out of place or one whose parts do not add up ends the
 * association; a peer that says nothing for the idle time is left. */
#include "node/imaging/helper/scu.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/imaging/helper/ident.h"
#include "store/base/clock.h"
#include "store/base/rd.h"

#define PDU_REQUEST 1u
#define PDU_ACCEPT 2u
#define PDU_REJECT 3u
#define PDU_DATA 4u
#define PDU_RELEASE 5u
#define PDU_RELEASED 6u
#define PDU_ABORT 7u
#define FRAGMENT_MAX (16 * KIB)
#define REQUEST_MAX (64 * KIB)
#define ACCEPT_FIXED 68u /* before the items: PS3.8 9.3.3 */

/* --- pure --- */

static void
put_be16(struct buf *b, size_t v)
{
	buf_u8(b, (uint8_t)(v >> 8));
	buf_u8(b, (uint8_t)v);
}

static void
put_item(struct buf *b, uint8_t type, const char *text)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	put_be16(b, strlen(text));
	buf_put_str(b, text);
}

static void
put_title(struct buf *b, const char *ae)
{
	char room[IMG_AE_MAX + 1];

	(void)snprintf(room, sizeof(room), "%-16.16s", ae);
	buf_put(b, room, IMG_AE_MAX);
}

/* An item whose body is in body, which is emptied. */
static void
put_nested(struct buf *b, uint8_t type, struct buf *body)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	put_be16(b, body->n);
	buf_put_slice(b, buf_slice(body));
	if (buf_err(body) != ERR_OK && b->err == ERR_OK)
		b->err = buf_err(body);
	buf_reset(body);
}

static void
put_context(
    struct buf *b, const struct scu_want *w, uint32_t i, struct buf *body)
{
	uint32_t k;

	buf_u8(body, (uint8_t)(2 * i + 1));
	buf_put_zero(body, 3);
	put_item(body, 0x30, w->abstract_syntax);
	for (k = 0; k < w->n_syntaxes; k++)
		put_item(body, 0x40, w->syntaxes[k]);
	put_nested(b, 0x20, body);
}

/* SCP/SCU role selection (PS3.7 D.3.3.4): the peer may be the sender. */
static void
put_role(struct buf *b, const char *uid)
{
	size_t n = strlen(uid);

	buf_u8(b, 0x54);
	buf_u8(b, 0);
	put_be16(b, n + 4);
	put_be16(b, n);
	buf_put_str(b, uid);
	buf_u8(b, 0); /* we send none */
	buf_u8(b, 1);
}

static bool
role_said(const struct scu_request *q, uint32_t i)
{
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (q->want[k].scp && strcmp(q->want[k].abstract_syntax,
					  q->want[i].abstract_syntax) == 0)
			return true;
	}
	return false;
}

static void
put_user(struct buf *b, const struct scu_request *q, struct buf *body)
{
	uint32_t i;

	buf_u8(body, 0x51);
	buf_u8(body, 0);
	put_be16(body, 4);
	buf_be32(body, SCU_PDU_MAX);
	put_item(body, 0x52, IDENT_CLASS_UID);
	for (i = 0; i < q->n; i++) {
		if (q->want[i].scp && !role_said(q, i))
			put_role(body, q->want[i].abstract_syntax);
	}
	put_item(body, 0x55, IDENT_VERSION);
	put_nested(b, 0x50, body);
}

void
scu_put_request(struct buf *b, const struct scu_request *q)
{
	struct buf items = BUF_MAX(REQUEST_MAX), body = BUF_MAX(REQUEST_MAX);
	uint32_t i;

	put_item(&items, 0x10, "1.2.840.10008.3.1.1.1");
	for (i = 0; i < q->n; i++)
		put_context(&items, &q->want[i], i, &body);
	put_user(&items, q, &body);
	buf_u8(b, PDU_REQUEST);
	buf_u8(b, 0);
	buf_be32(b, (uint32_t)items.n + ACCEPT_FIXED);
	put_be16(b, 1);
	put_be16(b, 0);
	put_title(b, q->called_ae);
	put_title(b, q->calling_ae);
	buf_put_zero(b, 32);
	buf_put_slice(b, buf_slice(&items));
	if (buf_err(&items) != ERR_OK && b->err == ERR_OK)
		b->err = buf_err(&items);
	buf_fini(&items);
	buf_fini(&body);
}

static uint16_t
get_be16(struct rd *r)
{
	uint16_t hi = rd_u8(r);

	return (uint16_t)(hi << 8 | rd_u8(r));
}

/* type, then its bytes. */
static struct rd
get_item(struct rd *r, uint8_t *type)
{
	*type = rd_u8(r);
	(void)rd_u8(r);
	return rd_init(rd_bytes(r, get_be16(r)));
}

static enum err
get_context(struct rd item, struct scu_accepted *out)
{
	uint8_t id = rd_u8(&item), type, result;
	struct slice uid;
	struct rd syntax;

	(void)rd_u8(&item);
	result = rd_u8(&item);
	(void)rd_u8(&item);
	if (item.err != ERR_OK || id % 2 == 0)
		return ERR_MALFORMED;
	if (result != 0)
		return ERR_OK; /* what else it says then means nothing */
	syntax = get_item(&item, &type);
	uid = rd_rest(&syntax);
	while (uid.n > 0 && (uid.p[uid.n - 1] == 0 || uid.p[uid.n - 1] == ' '))
		uid.n--;
	if (item.err != ERR_OK || type != 0x40 || uid.n == 0 ||
	    uid.n > IMG_UID_MAX)
		return ERR_MALFORMED;
	memcpy(out->syntax[id / 2], uid.p, uid.n);
	out->syntax[id / 2][uid.n] = '\0';
	return ERR_OK;
}

static enum err
get_user(struct rd items, struct scu_accepted *out)
{
	struct rd one;
	uint8_t type;

	while (items.left > 0 && items.err == ERR_OK) {
		one = get_item(&items, &type);
		if (type == 0x51 && items.err == ERR_OK)
			out->max_pdu = rd_be32(&one);
		if (one.err != ERR_OK)
			return ERR_MALFORMED;
	}
	return items.err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}

enum err
scu_get_accept(struct slice body, struct scu_accepted *out)
{
	struct rd r = rd_init(body), one;
	enum err e = ERR_OK;
	uint8_t type;

	memset(out, 0, sizeof(*out));
	(void)rd_bytes(&r, ACCEPT_FIXED);
	while (r.left > 0 && r.err == ERR_OK && e == ERR_OK) {
		one = get_item(&r, &type);
		if (r.err != ERR_OK)
			break;
		if (type == 0x21)
			e = get_context(one, out);
		else if (type == 0x50)
			e = get_user(one, out);
	}
	return r.err == ERR_OK ? e : ERR_MALFORMED;
}

/* --- the wire --- */

static enum err
scu_wait(struct scu *s, short what, uint64_t until)
{
	struct pollfd p = { .fd = s->fd, .events = what };
	uint64_t now = clock_mono_ms();
	int n = poll(&p, 1, now >= until ? 0 : (int)(until - now));

	if (n < 0)
		return errno == EINTR ? ERR_OK : ERR_IO;
	return n == 0 ? ERR_TIMEOUT : ERR_OK;
}

static enum err
scu_read(struct scu *s, uint8_t *out, size_t n)
{
	uint64_t until = clock_mono_ms() + s->idle_ms;
	enum err e = ERR_OK;
	ssize_t got;

	while (n > 0 && e == ERR_OK) {
		got = recv(s->fd, out, n, MSG_DONTWAIT);
		if (got > 0) {
			out += got;
			n -= (size_t)got;
			until = clock_mono_ms() + s->idle_ms;
		} else if (got < 0 && errno == EAGAIN) {
			e = scu_wait(s, POLLIN, until);
		} else if (got == 0 || errno != EINTR) {
			e = ERR_IO;
		}
	}
	return e;
}

enum err
scu_send(struct scu *s, struct slice in)
{
	uint64_t until = clock_mono_ms() + s->idle_ms;
	enum err e = ERR_OK;
	ssize_t n;

	while (in.n > 0 && e == ERR_OK) {
		n = send(s->fd, in.p, in.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			in = slice_of(in.p + n, in.n - (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			e = scu_wait(s, POLLOUT, until);
		else if (n == 0 || errno != EINTR)
			e = ERR_IO;
	}
	return e;
}

static enum err
scu_read_pdu(struct scu *s, uint8_t *type)
{
	uint8_t head[6];
	uint8_t *at;
	size_t n;
	enum err e = scu_read(s, head, sizeof(head));

	s->rest = (struct slice){ 0 };
	if (e != ERR_OK)
		return e;
	*type = head[0];
	n = (size_t)head[2] << 24 | (size_t)head[3] << 16 |
	    (size_t)head[4] << 8 | head[5];
	if (n > SCU_PDU_MAX)
		return ERR_MALFORMED;
	buf_reset(&s->pdu);
	at = buf_room(&s->pdu, n > 0 ? n : 1);
	if (at == NULL)
		return ERR_NOMEM;
	e = scu_read(s, at, n);
	buf_grew(&s->pdu, e == ERR_OK ? n : 0);
	return e;
}

/* PS3.8 9.3.4, table 9-21. */
static void
reject_text(struct slice body, char why[64])
{
	static const char *const user[] = { "", "no reason given",
		"application context not supported",
		"calling AE title not recognised", "", "", "",
		"called AE title not recognised" };
	uint8_t source = body.n == 4 ? body.p[2] : 0;
	uint8_t reason = body.n == 4 ? body.p[3] : 0;
	const char *text = "no reason given";

	if (source == 1 && reason < 8 && user[reason][0] != '\0')
		text = user[reason];
	else if (source == 3)
		text = reason == 2 ? "local limit exceeded" : "congestion";
	(void)snprintf(why, 64, "rejected: %s", text);
}

enum err
scu_open(struct scu *s, int fd, uint32_t idle_ms, const struct scu_request *q,
    char why[64])
{
	struct buf b = BUF_MAX(REQUEST_MAX + 128);
	uint8_t type = 0;
	enum err e;

	why[0] = '\0';
	s->fd = fd;
	s->idle_ms = idle_ms;
	s->rest = (struct slice){ 0 };
	buf_init(&s->pdu, SCU_PDU_MAX);
	scu_put_request(&b, q);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = scu_send(s, buf_slice(&b));
	buf_fini(&b);
	if (e == ERR_OK)
		e = scu_read_pdu(s, &type);
	if (e != ERR_OK)
		return e;
	if (type == PDU_REJECT) {
		reject_text(buf_slice(&s->pdu), why);
		return ERR_DENIED;
	}
	if (type == PDU_ABORT)
		return ERR_IO;
	return type == PDU_ACCEPT
		   ? scu_get_accept(buf_slice(&s->pdu), &s->accepted)
		   : ERR_MALFORMED;
}

static enum err
scu_more(struct scu *s)
{
	uint8_t type;
	enum err e = scu_read_pdu(s, &type);

	if (e != ERR_OK)
		return e;
	switch (type) {
	case PDU_DATA: s->rest = buf_slice(&s->pdu); return ERR_OK;
	case PDU_RELEASE: return ERR_NOTFOUND;
	case PDU_ABORT: return ERR_IO;
	default: return ERR_MALFORMED;
	}
}

enum err
scu_next_pdv(struct scu *s, struct scu_pdv *out)
{
	enum err e = ERR_OK;
	struct rd r;
	uint32_t n;
	uint8_t flags;

	while (s->rest.n == 0 && e == ERR_OK)
		e = scu_more(s);
	if (e != ERR_OK)
		return e;
	r = rd_init(s->rest);
	n = rd_be32(&r);
	out->context_id = rd_u8(&r);
	flags = rd_u8(&r);
	if (n < 2)
		return ERR_MALFORMED;
	out->data = rd_bytes(&r, n - 2);
	out->command = (flags & 1u) != 0;
	out->last = (flags & 2u) != 0;
	s->rest = rd_rest(&r);
	return r.err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}

static enum err
send_fragment(struct scu *s, uint8_t context_id, struct slice in, bool last)
{
	struct buf b = BUF_MAX(in.n + 16);
	enum err e;

	buf_u8(&b, PDU_DATA);
	buf_u8(&b, 0);
	buf_be32(&b, (uint32_t)in.n + 6);
	buf_be32(&b, (uint32_t)in.n + 2);
	buf_u8(&b, context_id);
	buf_u8(&b, last ? 2 : 0);
	buf_put_slice(&b, in);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = scu_send(s, buf_slice(&b));
	buf_fini(&b);
	return e;
}

enum err
scu_send_data(struct scu *s, uint8_t context_id, struct slice in)
{
	size_t max = s->accepted.max_pdu, n;
	enum err e = ERR_OK;

	if (max == 0 || max > FRAGMENT_MAX)
		max = FRAGMENT_MAX;
	if (max <= 6)
		return ERR_MALFORMED;
	do {
		n = in.n < max - 6 ? in.n : max - 6;
		e = send_fragment(s, context_id, slice_of(in.p, n), n == in.n);
		in = slice_of(in.p + n, in.n - n);
	} while (e == ERR_OK && in.n > 0);
	return e;
}

void
scu_release(struct scu *s)
{
	static const uint8_t ask[] = { PDU_RELEASE, 0, 0, 0, 0, 4, 0, 0, 0, 0 };
	uint8_t type;

	if (scu_send(s, slice_of(ask, sizeof(ask))) == ERR_OK)
		(void)!scu_read_pdu(s, &type);
}

void
scu_abort(struct scu *s)
{
	static const uint8_t say[] = { PDU_ABORT, 0, 0, 0, 0, 4, 0, 0, 0, 0 };

	(void)!scu_send(s, slice_of(say, sizeof(say)));
}

void
scu_close(struct scu *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	buf_fini(&s->pdu);
}
