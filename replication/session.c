/* replication/session.c: one connection's bytes.
 *
 *   HELLO --message 1..3, certificate fits--> UP --any error--> DEAD
 *
 * Received bytes wait in rx until sess_next() asks for a message, so a peer
 * can make us hold one read of the host and one unfinished message per class.
 * Sending picks frames: control first, the others in turn.  The first error
 * is final and repeated by every later call. */
#include "replication/session.h"

#include "store/base/mem.h"
#include "store/base/rd.h"

#define PROLOGUE "pesscara/1"
#define HEAD_BYTES 3u /* type, class, flags */
#define FLAG_LAST 1u
#define TAG_BYTES CRY_TAG_BYTES
#define FRAME_BODY_MAX (LIM_FRAME_BYTES - TAG_BYTES - HEAD_BYTES)
#define HELLO_BYTES_MAX 512u
#define REKEY_FRAMES (1u << 16)
/* What the host may hand over between two drains. */
#define RX_BYTES_MAX (2 * MIB)

/* Longest message and longest queue per class.  The core keeps below the
 * queue bound by credit: window plus one message (docs/protocol.md 9). */
static const struct {
	size_t message_max;
	size_t queue_max;
} class_limits[SESS_CLASSES] = {
	[SESS_CONTROL] = { 64 * KIB, 512 * KIB },
	[SESS_OPS] = { LIM_MESSAGE_BYTES, 3 * MIB },
	[SESS_BULK] = { LIM_MESSAGE_BYTES, 10 * MIB },
	[SESS_RELAY] = { LIM_MESSAGE_BYTES, 3 * MIB },
};

struct out_msg {
	struct out_msg *next;
	uint8_t type;
	size_t n, off;
	uint8_t body[];
};

struct out_queue {
	struct out_msg *first, **last;
	size_t bytes;
};

struct part {
	struct buf body;
	uint8_t type;
	bool open;
};

struct sess {
	bool initiator, up;
	enum err dead; /* ERR_OK while alive */
	const struct cry_identity *me;
	struct noise *hs;
	struct noise_cipher tx, rx;
	uint32_t tx_frames, rx_frames; /* since the last rekey */
	uint8_t hash[64];
	uint8_t oldest, newest, version;
	struct cry_box_pk remote_static;
	struct cry_device_pub peer;
	struct buf in; /* from the wire, not yet decrypted */
	size_t in_off;
	struct buf frame; /* one decrypted frame */
	struct part part[SESS_CLASSES];
	struct buf msg;   /* the message last handed out */
	struct buf hello; /* handshake bytes to send */
	struct out_queue out[SESS_CLASSES];
	size_t backlog;
	uint32_t turn; /* whose turn among ops, bulk, relay */
};

static enum err
die(struct sess *s, enum err e)
{
	if (s->dead == ERR_OK)
		s->dead = e;
	return s->dead;
}

/* --- handshake --- */

/* Certificate, newest and oldest version; what a later one adds follows. */
static enum err
hello_write(struct sess *s, bool first)
{
	struct buf payload = BUF_MAX(HELLO_BYTES_MAX);
	struct buf m = BUF_MAX(HELLO_BYTES_MAX);
	enum err e;

	/* Nothing of us in the first flight: a scanner learns nothing. */
	if (!first) {
		buf_put(&payload, s->me->cert.b, sizeof(s->me->cert.b));
		buf_u8(&payload, s->newest);
		buf_u8(&payload, s->oldest);
	}
	if ((e = buf_err(&payload)) != ERR_OK ||
	    (e = noise_write(s->hs, buf_slice(&payload), &m)) != ERR_OK)
		goto out;
	buf_u16(&s->hello, (uint16_t)m.n);
	buf_put_slice(&s->hello, buf_slice(&m));
	e = buf_err(&s->hello);
out:
	buf_fini(&payload);
	buf_fini(&m);
	return e;
}

static enum err
version_choose(struct sess *s, uint8_t newest, uint8_t oldest)
{
	if (oldest == 0 || oldest > newest)
		return ERR_MALFORMED;
	s->version = newest < s->newest ? newest : s->newest;
	return s->version < oldest || s->version < s->oldest ? ERR_UNSUPPORTED
							     : ERR_OK;
}

/* The certificate must name the static key that Noise proved. */
static enum err
peer_check(struct sess *s, struct slice payload)
{
	const struct cry_box_pk *proved = &s->remote_static;
	struct rd r = rd_init(payload);
	struct slice cert = rd_bytes(&r, sizeof(s->me->cert.b));
	uint8_t newest = rd_u8(&r);
	uint8_t oldest = rd_u8(&r);
	struct cry_device_pub d;
	enum err e;

	if (r.err != ERR_OK)
		return ERR_MALFORMED;
	if (!s->initiator)
		proved = noise_remote_static(s->hs);
	if ((e = cry_cert_check(cert, &d)) != ERR_OK)
		return e;
	if (memcmp(&d.box, proved, sizeof(d.box)) != 0)
		return ERR_AUTH;
	s->peer = d;
	return version_choose(s, newest, oldest);
}

static enum err
hello_read(struct sess *s, struct slice msg)
{
	struct buf payload = BUF_MAX(HELLO_BYTES_MAX);
	enum err e;

	if ((e = noise_read(s->hs, msg, &payload)) != ERR_OK)
		goto out;
	if (s->initiator || noise_done(s->hs))
		e = peer_check(s, buf_slice(&payload));
	else
		e = payload.n == 0 ? ERR_OK : ERR_MALFORMED;
	if (e == ERR_OK && noise_my_turn(s->hs))
		e = hello_write(s, false);
	if (e == ERR_OK && noise_done(s->hs)) {
		noise_split(s->hs, &s->tx, &s->rx, s->hash);
		noise_free(s->hs);
		s->hs = NULL;
		s->up = true;
	}
out:
	buf_fini(&payload);
	return e;
}

/* The next length-prefixed block of the input; false: not all there yet. */
static bool
block_next(struct sess *s, struct slice *out)
{
	struct rd r =
	    rd_init(slice_of(s->in.p + s->in_off, s->in.n - s->in_off));
	uint16_t n = rd_u16(&r);

	*out = rd_bytes(&r, n);
	if (r.err != ERR_OK)
		return false;
	s->in_off += 2u + n;
	return true;
}

/* A length is checked as soon as it is seen, not when its bytes are there. */
static enum err
length_check(const struct sess *s, size_t min, size_t max)
{
	struct rd r =
	    rd_init(slice_of(s->in.p + s->in_off, s->in.n - s->in_off));
	uint16_t n = rd_u16(&r);

	if (r.err != ERR_OK)
		return ERR_OK;
	return n < min || n > max ? ERR_MALFORMED : ERR_OK;
}

static enum err
hello_run(struct sess *s)
{
	struct slice m;
	enum err e;

	while (!s->up) {
		if ((e = length_check(s, 1, HELLO_BYTES_MAX)) != ERR_OK)
			return e;
		if (!block_next(s, &m))
			return ERR_OK;
		if ((e = hello_read(s, m)) != ERR_OK)
			return e;
	}
	return ERR_OK;
}

enum err
sess_new(const struct sess_params *p, struct sess **out)
{
	struct noise_params np = { .initiator = p->initiator,
		.static_pk = p->me->pub.box,
		.static_sk = p->me->box_sk,
		.remote_static = p->remote_static,
		.prologue = SLICE_LIT(PROLOGUE) };
	struct sess *s = mem_new(sizeof(*s));
	enum err e;

	if (s == NULL)
		return ERR_NOMEM;
	s->initiator = p->initiator;
	s->me = p->me;
	s->remote_static = p->remote_static;
	s->newest = p->newest != 0 ? p->newest : SESS_VERSION_MAX;
	s->oldest = p->oldest != 0 ? p->oldest : SESS_VERSION_MIN;
	s->in = BUF_MAX(RX_BYTES_MAX);
	s->frame = BUF_MAX(LIM_FRAME_BYTES);
	s->hello = BUF_MAX((size_t)2 * HELLO_BYTES_MAX);
	for (int c = 0; c < SESS_CLASSES; c++) {
		s->part[c].body = BUF_MAX(class_limits[c].message_max);
		s->out[c].last = &s->out[c].first;
	}
	e = noise_new(&np, &s->hs);
	cry_wipe(&np.static_sk, sizeof(np.static_sk));
	if (e == ERR_OK && s->initiator)
		e = hello_write(s, true);
	if (e != ERR_OK) {
		sess_free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void
sess_free(struct sess *s)
{
	if (s == NULL)
		return;
	for (int c = 0; c < SESS_CLASSES; c++) {
		struct out_msg *m = s->out[c].first, *next;

		for (; m != NULL; m = next) {
			next = m->next;
			mem_free(m);
		}
		buf_fini(&s->part[c].body);
	}
	noise_free(s->hs);
	buf_fini(&s->in);
	buf_fini(&s->frame);
	buf_fini(&s->msg);
	buf_fini(&s->hello);
	cry_wipe(&s->tx, sizeof(s->tx));
	cry_wipe(&s->rx, sizeof(s->rx));
	mem_free(s);
}

/* --- receiving --- */

enum err
sess_recv(struct sess *s, struct slice in)
{
	enum err e;

	if (s->dead != ERR_OK)
		return s->dead;
	buf_shift(&s->in, s->in_off);
	s->in_off = 0;
	buf_put_slice(&s->in, in);
	if ((e = buf_err(&s->in)) != ERR_OK)
		return die(s, e);
	if (!s->up && (e = hello_run(s)) != ERR_OK)
		return die(s, e);
	return ERR_OK;
}

/* One decrypted frame goes to its class's message; *whole tells that the
 * message is complete. */
static enum err
frame_take(struct sess *s, enum sess_class *cls, bool *whole)
{
	struct rd r = rd_init(buf_slice(&s->frame));
	uint8_t type = rd_u8(&r), c = rd_u8(&r), flags = rd_u8(&r);
	struct slice body = rd_rest(&r);
	struct part *p;

	if (r.err != ERR_OK || c >= SESS_CLASSES || (flags & ~FLAG_LAST) != 0)
		return ERR_MALFORMED;
	p = &s->part[c];
	if (p->open && p->type != type)
		return ERR_MALFORMED;
	if ((flags & FLAG_LAST) == 0 && body.n == 0)
		return ERR_MALFORMED; /* would never end */
	p->open = true;
	p->type = type;
	buf_put_slice(&p->body, body);
	*cls = (enum sess_class)c;
	*whole = (flags & FLAG_LAST) != 0;
	return buf_err(&p->body);
}

static enum err
frame_next(struct sess *s, enum sess_class *cls, bool *whole)
{
	struct slice ct;
	enum err e;

	e = length_check(s, TAG_BYTES + HEAD_BYTES, LIM_FRAME_BYTES);
	if (e != ERR_OK)
		return e;
	if (!block_next(s, &ct))
		return ERR_AGAIN;
	buf_reset(&s->frame);
	if ((e = noise_decrypt(&s->rx, ct, &s->frame)) != ERR_OK)
		return e;
	if (++s->rx_frames == REKEY_FRAMES) {
		noise_rekey(&s->rx);
		s->rx_frames = 0;
	}
	return frame_take(s, cls, whole);
}

enum err
sess_next(struct sess *s, struct sess_msg *out)
{
	enum sess_class c = SESS_CONTROL;
	bool whole = false;
	struct part *p;
	struct buf t;
	enum err e;

	if (s->dead != ERR_OK)
		return s->dead;
	if (!s->up)
		return ERR_AGAIN;
	while (!whole) {
		e = frame_next(s, &c, &whole);
		if (e == ERR_AGAIN)
			return e;
		if (e != ERR_OK)
			return die(s, e);
	}
	p = &s->part[c];
	t = s->msg; /* swap: the old message's memory is used again */
	s->msg = p->body;
	p->body = t;
	p->body.max = class_limits[c].message_max;
	buf_reset(&p->body);
	p->open = false;
	out->type = p->type;
	out->cls = c;
	out->body = buf_slice(&s->msg);
	return ERR_OK;
}

bool
sess_up(const struct sess *s)
{
	return s->up && s->dead == ERR_OK;
}

const struct cry_device_pub *
sess_peer(const struct sess *s)
{
	REQUIRE(s->up);
	return &s->peer;
}

const uint8_t *
sess_hash(const struct sess *s)
{
	REQUIRE(s->up);
	return s->hash;
}

uint8_t
sess_version(const struct sess *s)
{
	REQUIRE(s->up);
	return s->version;
}

/* --- sending --- */

enum err
sess_send(struct sess *s, enum sess_class c, uint8_t type, struct slice body)
{
	struct out_queue *q = &s->out[c];
	struct out_msg *m;

	REQUIRE(c < SESS_CLASSES);
	if (s->dead != ERR_OK)
		return s->dead;
	if (body.n > class_limits[c].message_max)
		return ERR_LIMIT;
	if (q->bytes > 0 && q->bytes + body.n > class_limits[c].queue_max)
		return ERR_BUSY;
	if ((m = mem_new(sizeof(*m) + body.n)) == NULL)
		return ERR_NOMEM;
	m->type = type;
	m->n = body.n;
	if (body.n > 0)
		memcpy(m->body, body.p, body.n);
	*q->last = m;
	q->last = &m->next;
	q->bytes += body.n + HEAD_BYTES;
	s->backlog += body.n + HEAD_BYTES;
	return ERR_OK;
}

size_t
sess_backlog(const struct sess *s)
{
	return s->backlog + s->hello.n;
}

size_t
sess_queued(const struct sess *s, enum sess_class c)
{
	return s->out[c].bytes;
}

static bool
class_next(struct sess *s, enum sess_class *out)
{
	static const enum sess_class turns[] = { SESS_OPS, SESS_BULK,
		SESS_RELAY };

	if (s->out[SESS_CONTROL].first != NULL) {
		*out = SESS_CONTROL;
		return true;
	}
	for (uint32_t i = 0; i < 3; i++) {
		enum sess_class c = turns[(s->turn + i) % 3];

		if (s->out[c].first == NULL)
			continue;
		s->turn = (s->turn + i + 1) % 3;
		*out = c;
		return true;
	}
	return false;
}

static void
sent(struct sess *s, struct out_queue *q, size_t n)
{
	struct out_msg *m = q->first;

	m->off += n;
	q->bytes -= n;
	s->backlog -= n;
	if (m->off < m->n)
		return;
	q->bytes -= HEAD_BYTES;
	s->backlog -= HEAD_BYTES;
	q->first = m->next;
	if (q->first == NULL)
		q->last = &q->first;
	mem_free(m);
}

static enum err
frame_put(struct sess *s, enum sess_class c, struct buf *out)
{
	struct out_msg *m = s->out[c].first;
	size_t n = m->n - m->off;
	bool last = n <= FRAME_BODY_MAX;
	enum err e;

	if (!last)
		n = FRAME_BODY_MAX;
	buf_reset(&s->frame);
	buf_u8(&s->frame, m->type);
	buf_u8(&s->frame, (uint8_t)c);
	buf_u8(&s->frame, last ? FLAG_LAST : 0);
	buf_put(&s->frame, m->body + m->off, n);
	if ((e = buf_err(&s->frame)) != ERR_OK)
		return e;
	buf_u16(out, (uint16_t)(s->frame.n + TAG_BYTES));
	if ((e = buf_err(out)) != ERR_OK)
		return e;
	if ((e = noise_encrypt(&s->tx, buf_slice(&s->frame), out)) != ERR_OK)
		return e;
	if (++s->tx_frames == REKEY_FRAMES) {
		noise_rekey(&s->tx);
		s->tx_frames = 0;
	}
	sent(s, &s->out[c], n);
	return buf_err(out);
}

enum err
sess_pull(struct sess *s, size_t max, struct buf *out)
{
	size_t start = out->n;
	enum sess_class c;
	enum err e;

	if (s->dead != ERR_OK)
		return s->dead;
	buf_put_slice(out, buf_slice(&s->hello));
	if ((e = buf_err(out)) != ERR_OK)
		return die(s, e);
	buf_reset(&s->hello);
	if (!s->up)
		return ERR_OK;
	while (out->n - start < max && class_next(s, &c)) {
		if ((e = frame_put(s, c, out)) != ERR_OK)
			return die(s, e);
	}
	return ERR_OK;
}
