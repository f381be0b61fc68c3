/* All message decoders, and the core on a live connection, fed with hostile
 * bytes: nothing crashes, what decodes encodes to the same bytes, nothing
 * unverified goes to disk. */
#include "replication/member.h"
#include "replication/msg.h"
#include "replication/repl.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const uint8_t types[] = { MSG_OPEN, MSG_CREDIT, MSG_PING, MSG_PONG,
	MSG_MLOG_REQ, MSG_MLOG, MSG_ROOT, MSG_FRONT, MSG_OPS_REQ, MSG_OPS,
	MSG_OPS_NONE, MSG_HAVE, MSG_GET, MSG_CHUNK, MSG_NOT_HAVE, MSG_CLAIM,
	MSG_STATEMENT, MSG_PUSH, MSG_IHAVE, MSG_GRAFT, MSG_PRUNE, MSG_CANCEL,
	MSG_BUSY, MSG_CHALLENGE, MSG_PROOF, MSG_RBSR, MSG_NEED, MSG_WITNESS,
	MSG_WITNESSES };

#define N_TYPES (sizeof(types) / sizeof(types[0]))

static struct cry_identity me, peer;
static struct member *chain;
static const uint8_t hash64[64] = { 1 };

static void
once(void)
{
	static struct member_keys keys;
	struct member_grant g = { .role = ROLE_WRITER, .compartment = 1 };
	struct buf rec = BUF_MAX(MIB);
	struct cry_box_sk recovery;

	if (chain != NULL)
		return;
	REQUIRE(cry_init() == ERR_OK);
	cry_identity_new(&me, &recovery);
	cry_identity_new(&peer, &recovery);
	g.device = peer.pub;
	REQUIRE(member_build_genesis(&me, "s", "l", false, &rec) == ERR_OK);
	REQUIRE(member_new(buf_slice(&rec), &chain) == ERR_OK);
	REQUIRE(member_open_keys(chain, &me.pub, &me.box_sk, &keys) == ERR_OK);
	buf_reset(&rec);
	REQUIRE(
	    member_build_compartment(chain, &me, &keys, "c", &rec) == ERR_OK);
	REQUIRE(member_apply(chain, buf_slice(&rec)) == ERR_OK);
	buf_reset(&rec);
	REQUIRE(member_build_grant(chain, &me, &keys, &g, "p", &rec) == ERR_OK);
	REQUIRE(member_apply(chain, buf_slice(&rec)) == ERR_OK);
	buf_fini(&rec);
}

static struct msg_tag
their_tag(void)
{
	struct cry_key key;
	struct msg_tag t;
	uint8_t dir = 0;
	struct slice parts[2] = { slice_of(hash64, 64), slice_of(&dir, 1) };

	memcpy(key.b, member_share(chain)->b, sizeof(key.b));
	cry_hash_parts(&key, "psc.tag.1", parts, 2, t.b, sizeof(t.b));
	return t;
}

/* Effects are answered with failures; ops must never reach the disk, for
 * nobody here can sign. */
static bool
step(struct repl *r, struct repl_event *ev)
{
	struct repl_effects fx;
	uint64_t fetches[64];
	uint32_t n = 0;
	bool closed = false;

	REQUIRE(repl_step(r, ev, &fx) == ERR_OK);
	for (uint32_t i = 0; i < fx.n; i++) {
		REQUIRE(fx.fx[i].kind != RX_PERSIST_OPS);
		REQUIRE(fx.fx[i].kind != RX_PERSIST_MEMBER);
		REQUIRE(fx.fx[i].kind != RX_PERSIST_CHUNK);
		closed |= fx.fx[i].kind == RX_CLOSE;
		if ((fx.fx[i].kind == RX_FETCH_OPS ||
			fx.fx[i].kind == RX_FETCH_CHUNK) &&
		    n < 64)
			fetches[n++] = fx.fx[i].token;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct repl_event f = { .kind = RE_FETCHED,
			.now_ms = ev->now_ms,
			.token = fetches[i],
			.err = ERR_NOTFOUND };

		closed |= step(r, &f);
	}
	return closed;
}

static struct repl *
core_new(void)
{
	struct repl_opts o = { .me = me.pub, .seed = 1, .chunk_window = 4 };
	struct slice recs[3];
	struct repl_event share = { .kind = RE_SHARE,
		.share = *member_share(chain),
		.records = recs,
		.n_records = 3 };
	struct repl_event up = {
		.kind = RE_CONN_UP, .conn = 1, .peer = peer.pub, .hash = hash64
	};
	struct repl_event want = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = 1,
		.c_len = 100 };
	struct repl *r;

	for (uint32_t i = 0; i < 3; i++)
		recs[i] = member_record(chain, i);
	REQUIRE(repl_new(&o, &r) == ERR_OK);
	(void)step(r, &share);
	(void)step(r, &up);
	(void)step(r, &want);
	return r;
}

static void
open_link(struct repl *r)
{
	struct msg m = { .type = MSG_OPEN, .tag = their_tag() };
	struct repl_event ev = { .kind = RE_MSG, .conn = 1, .type = MSG_OPEN };
	struct buf b = BUF_MAX(KIB);

	m.seq = member_seq(chain);
	m.id = *member_head(chain);
	REQUIRE(msg_encode(&m, &b) == ERR_OK);
	ev.bytes = buf_slice(&b);
	(void)step(r, &ev);
	buf_fini(&b);
}

/* Input: {type index, length u16, body}*; a tag, where a body starts with
 * one, is set right for every second message. */
static void
talk(struct slice in)
{
	struct repl *r = core_new();
	struct msg_tag t = their_tag();
	uint64_t now = 1;
	bool closed = false;

	open_link(r);
	while (in.n > 3 && !closed) {
		uint8_t type = types[in.p[0] % N_TYPES];
		size_t n = (size_t)(in.p[1] | in.p[2] << 8);
		struct buf b = BUF_MAX(MIB);
		struct repl_event ev = {
			.kind = RE_MSG, .conn = 1, .type = type
		};

		if (n > in.n - 3)
			n = in.n - 3;
		buf_put(&b, in.p + 3, n);
		if (n >= sizeof(t.b) && (in.p[0] & 0x80) == 0)
			memcpy(b.p, t.b, sizeof(t.b));
		if (n >= 18 && (in.p[0] & 0x40) == 0)
			b.p[16] = 1, b.p[17] = 0; /* compartment */
		now += (uint64_t)in.p[1] * 100;
		ev.now_ms = now;
		ev.bytes = buf_slice(&b);
		closed = step(r, &ev);
		buf_fini(&b);
		in = slice_of(in.p + 3 + n, in.n - 3 - n);
	}
	repl_free(r);
}

static void
decode_all(struct slice in)
{
	for (size_t i = 0; i < N_TYPES; i++) {
		struct buf again = BUF_MAX(MIB);
		struct msg m;

		if (msg_decode(types[i], in, &m) != ERR_OK)
			continue;
		REQUIRE(msg_encode(&m, &again) == ERR_OK);
		REQUIRE(slice_eq(in, buf_slice(&again)));
		buf_fini(&again);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	once();
	if (n > 64 * KIB)
		return 0;
	decode_all(slice_of(p, n));
	talk(slice_of(p, n));
	return 0;
}
