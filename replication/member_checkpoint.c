/* replication/member_checkpoint.c: the way on after two records had one number.
 *
 * A checkpoint is the next record of the branch that holds: by its hash of the
 * record before it, it names all of that branch.  It is signed by k of the
 * registrars who sign the number where the branches part, each with its device
 * or its site's root key; by the root key where one registrar signs alone, as
 * its device key signed two (rulings.md 21).  Checkpoints are counted: of two
 * chains the one with more of them holds, so nobody has to know what was
 * dropped.
 *
 * A branch travels as its records in a row, with the checkpoint last or
 * without one: registrars then see what there is to choose from.  Failure
 * modes: registrars that changed after the fork cannot be dropped by those of
 * before, so such a branch stays where it is. */
#include "replication/member_internal.h"

#include "store/base/clock.h"
#include "store/base/mem.h"

#define ROOT_DOMAIN "checkpoint.1"
#define BY_ROOT 0x80u /* of a signer: its site's root key */
#define SIG_BYTES 65u
#define CHECKPOINT_BYTES 256u /* with one signature */

struct checkpoint_rec {
	uint32_t era;
	uint64_t fork;
};

static enum err
checkpoint_decode(struct slice content, struct checkpoint_rec *out)
{
	struct rd r = rd_init(content);

	out->era = rd_u32(&r);
	out->fork = rd_u64(&r);
	return rd_end(&r);
}

/* --- in the chain --- */

static bool
ours(const struct member *m, const struct member_record *r)
{
	return r->seq < m->n_records &&
	       memcmp(&m->records[r->seq].id, &r->id, sizeof(r->id)) == 0;
}

enum err
checkpoint_signed(
    const struct member *m, const struct member_record *r, uint8_t need)
{
	const struct member_registrars *by;
	struct rd s = rd_init(r->sigs);
	struct checkpoint_rec c;
	uint32_t seen = 0;
	enum err e = checkpoint_decode(r->content, &c);

	if (e != ERR_OK)
		return e;
	by = registrars_at(m, c.fork);
	for (uint8_t i = 0; i < r->n_sigs; i++) {
		uint8_t flags = rd_u8(&s), who = flags & 0x7fu;
		bool root = (flags & BY_ROOT) != 0;
		struct cry_sig sig;

		rd_copy(&s, sig.b, sizeof(sig.b));
		if (who >= by->n || (seen & 1u << who) != 0)
			return ERR_MALFORMED;
		seen |= 1u << who;
		if (by->k == 1 && !root)
			return ERR_AUTH; /* that key signed two */
		if (cry_verify(
			root ? &by->device[who].site : &by->device[who].sign,
			root ? ROOT_DOMAIN : MEMBER_SIG_DOMAIN, r->body,
			&sig) != ERR_OK)
			return ERR_AUTH;
	}
	return r->n_sigs >= (need == 0 ? by->k : need) ? ERR_OK : ERR_AUTH;
}

/* Signed as ours of that count was, and it is another. */
bool
checkpoint_other(const struct member *m, const struct member_record *r)
{
	struct checkpoint_rec c;

	return r->kind == MEMBER_CHECKPOINT && m->era > 0 && !ours(m, r) &&
	       checkpoint_decode(r->content, &c) == ERR_OK && c.era == m->era &&
	       checkpoint_signed(m, r, 0) == ERR_OK;
}

enum err
apply_checkpoint(
    struct member *m, const struct member_record *r, struct slice raw)
{
	struct checkpoint_rec c;
	enum err e = checkpoint_decode(r->content, &c);

	if (e != ERR_OK)
		return e;
	if (c.era != m->era + 1 || c.fork == 0 || c.fork > r->seq ||
	    m->sets[m->n_sets - 1].from > c.fork)
		return ERR_MALFORMED;
	if ((e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	m->era = c.era;
	m->settled = r->seq;
	return ERR_OK;
}

uint64_t
member_settled(const struct member *m)
{
	return m->settled;
}

uint32_t
member_era(const struct member *m)
{
	return m->era;
}

/* --- branches --- */

bool
member_is_branch(struct slice bytes)
{
	return bytes.n > 1 && bytes.p[1] == MEMBER_BRANCH;
}

bool
member_is_checkpoint(struct slice record)
{
	return record.n > 1 && record.p[1] == MEMBER_CHECKPOINT;
}

enum err
member_record_link(
    struct slice record, struct cry_id *id, struct cry_id *prev, uint32_t *era)
{
	struct checkpoint_rec c = { 0 };
	struct member_record r;
	enum err e = record_decode(record, &r);

	if (e == ERR_OK && r.kind == MEMBER_CHECKPOINT)
		e = checkpoint_decode(r.content, &c);
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	*id = r.id;
	*prev = r.prev;
	*era = c.era;
	return ERR_OK;
}

static struct rd
branch_open(struct slice bytes)
{
	struct rd r = rd_init(bytes);

	if (rd_u8(&r) != MEMBER_VERSION || rd_u8(&r) != MEMBER_BRANCH)
		rd_fail(&r, ERR_MALFORMED);
	return r;
}

/* False: the end, or r has failed. */
static bool
branch_next(struct rd *r, struct slice *raw, struct member_record *out)
{
	enum err e;

	if (r->left == 0 || r->err != ERR_OK)
		return false;
	*raw = rd_bytes(r, rd_count(r, LIM_MEMBER_RECORD_BYTES, 1));
	if (r->err == ERR_OK && (e = record_decode(*raw, out)) != ERR_OK)
		rd_fail(r, e);
	return r->err == ERR_OK;
}

enum err
member_branch_at(struct slice branch, uint64_t seq, struct slice *out)
{
	struct rd r = branch_open(branch);
	struct member_record rec;

	while (branch_next(&r, out, &rec)) {
		if (rec.seq == seq)
			return ERR_OK;
	}
	return r.err == ERR_NOMEM ? ERR_NOMEM : ERR_NOTFOUND;
}

static void
branch_put(struct buf *out, struct slice record)
{
	buf_u32(out, (uint32_t)record.n);
	buf_put_slice(out, record);
}

/* In a row, of this share; where it leaves our chain. */
static enum err
branch_walk(const struct member *m, struct slice bytes, struct member_branch *b)
{
	struct rd r = branch_open(bytes);
	struct member_record rec;
	struct checkpoint_rec c;
	struct slice raw;
	struct cry_id prev = { 0 };
	enum err e = ERR_OK;

	while (branch_next(&r, &raw, &rec)) {
		if (rec.seq == 0 ||
		    memcmp(&rec.share, &m->share, sizeof(m->share)) != 0 ||
		    (b->n > 0 &&
			(rec.seq != b->last + 1 ||
			    memcmp(&rec.prev, &prev, sizeof(prev)) != 0)))
			return ERR_MALFORMED;
		if (b->n++ == 0) {
			b->first = b->fork = rec.seq;
			b->base = rec.prev;
		}
		b->checkpoint = rec.kind == MEMBER_CHECKPOINT;
		if (b->checkpoint) {
			e = checkpoint_decode(rec.content, &c);
			if (e != ERR_OK)
				return e;
			b->era = c.era;
			b->head = rec.prev;
			b->n_sigs = rec.n_sigs;
			b->k = registrars_at(m, c.fork)->k;
		} else {
			b->head = rec.id;
		}
		if (ours(m, &rec) && b->fork == rec.seq)
			b->fork++;
		b->id = prev = rec.id;
		b->last = rec.seq;
		b->kind = (enum member_kind)rec.kind;
		b->wall_ms = rec.wall_ms;
	}
	b->orders = b->checkpoint && b->era > m->era;
	if (!b->orders)
		b->head = b->id;
	e = rd_end(&r);
	return e == ERR_OK && b->n == 0 ? ERR_MALFORMED : e;
}

enum err
member_prefix(const struct member *m, uint64_t n, struct member **out)
{
	enum err e = member_new(member_record(m, 0), out);

	for (uint64_t i = 1; e == ERR_OK && i < n; i++)
		e = member_apply_known(*out, member_record(m, i));
	return e;
}

/* Our chain up to the fork, then the branch.  need: of the last record. */
static enum err
branch_state(const struct member *m, struct slice bytes,
    const struct member_branch *b, uint8_t need, struct member **out)
{
	struct rd r = branch_open(bytes);
	struct member_record rec;
	struct member *s = NULL;
	struct slice raw;
	enum err e = member_prefix(m, b->fork, &s);

	while (e == ERR_OK && branch_next(&r, &raw, &rec)) {
		if (rec.seq < b->fork)
			continue;
		e = rec.seq == b->last && need > 0 ? member_apply_draft(s, raw)
						   : member_apply(s, raw);
	}
	if (e == ERR_OK) {
		*out = s;
		return ERR_OK;
	}
	member_free(s);
	/* In its place, of this share and linked: it is only not allowed. */
	return e == ERR_NOMEM || e == ERR_AUTH ? e : ERR_MALFORMED;
}

enum err
member_branch_read(
    const struct member *m, struct slice bytes, struct member_branch *out)
{
	struct member_branch b = { 0 };
	struct member *s = NULL;
	enum err e;

	if (bytes.n > LIM_MEMBER_RECORD_BYTES)
		return ERR_LIMIT;
	if ((e = branch_walk(m, bytes, &b)) != ERR_OK)
		return e;
	if (b.first > m->n_records ||
	    memcmp(&m->records[b.first - 1].id, &b.base, sizeof(b.base)) != 0)
		return ERR_AGAIN; /* we know nothing of what it grows on */
	if (b.fork > b.last ||
	    (b.checkpoint ? b.era < m->era : b.fork <= m->settled))
		return ERR_EXISTS; /* all ours, or settled since */
	if ((e = branch_state(m, bytes, &b, b.checkpoint ? 1 : 0, &s)) ==
	    ERR_OK)
		*out = b;
	member_free(s);
	return e;
}

enum err
member_branch_take(
    const struct member *m, struct slice bytes, struct member **out)
{
	struct member_branch b = { 0 };
	struct member *s = NULL;
	enum err e = member_branch_read(m, bytes, &b);

	if (e != ERR_OK)
		return e;
	if (!b.checkpoint || b.n_sigs < b.k)
		return ERR_NOTFOUND;
	if (b.era <= m->era)
		return ERR_DENIED; /* two checkpoints of one count */
	if (b.fork < m->n_records && m->sets[m->n_sets - 1].from > b.fork)
		return ERR_UNSUPPORTED; /* dropped by those we dropped? */
	if ((e = branch_state(m, bytes, &b, 0, &s)) != ERR_OK)
		return e;
	s->feeds_gen = m->feeds_gen + 1;
	*out = s;
	return ERR_OK;
}

static void
branch_begin(struct buf *out)
{
	buf_u8(out, MEMBER_VERSION);
	buf_u8(out, MEMBER_BRANCH);
}

enum err
member_branch_build(
    const struct member *m, uint64_t from, bool open, struct buf *out)
{
	size_t room =
	    open ? CHECKPOINT_BYTES + MEMBER_SIGNERS_MAX * SIG_BYTES : 0;

	branch_begin(out);
	for (uint64_t i = from; i < m->n_records; i++) {
		struct slice rec = member_record(m, i);

		if (out->n + rec.n + 4u + room > LIM_MEMBER_RECORD_BYTES)
			break;
		branch_put(out, rec);
	}
	return buf_err(out);
}

enum err
member_branch_of(const struct member *m, struct slice record, struct buf *out)
{
	struct member_record r;
	enum err e = record_decode(record, &r);

	if (e != ERR_OK)
		return e;
	if (r.seq == 0 || r.seq > m->n_records ||
	    memcmp(&m->records[r.seq - 1].id, &r.prev, sizeof(r.prev)) != 0)
		return ERR_AGAIN;
	branch_begin(out);
	branch_put(out, record);
	return buf_err(out);
}

uint64_t
member_branch_from(const struct member *m)
{
	struct member_record r;
	struct checkpoint_rec c;

	if (m->settled == 0)
		return 0;
	if (record_decode(member_record(m, m->settled), &r) != ERR_OK ||
	    checkpoint_decode(r.content, &c) != ERR_OK)
		return 0;
	return c.fork;
}

/* --- signing --- */

/* With which keys, and at which place. */
static enum err
signer_find(const struct member *m, const struct cry_identity *me,
    uint64_t fork, uint8_t *who, bool *root)
{
	const struct member_registrars *by = registrars_at(m, fork);

	for (uint8_t i = 0; i < by->n; i++) {
		if (!same_sign(&by->device[i].sign, &me->pub.sign) &&
		    !same_sign(&by->device[i].site, &me->pub.site))
			continue;
		*who = i;
		*root = by->k == 1 ||
			!same_sign(&by->device[i].sign, &me->pub.sign);
		return ERR_OK;
	}
	return ERR_DENIED;
}

/* The last record gets one more signature. */
static enum err
checkpoint_add_sig(const struct member *m, const struct cry_identity *me,
    struct slice record, struct buf *out)
{
	struct member_record r;
	struct checkpoint_rec c;
	struct cry_sig sig;
	uint8_t who;
	bool root;
	enum err e = record_decode(record, &r);

	if (e == ERR_OK)
		e = checkpoint_decode(r.content, &c);
	if (e == ERR_OK)
		e = signer_find(m, me, c.fork, &who, &root);
	if (e != ERR_OK)
		return e;
	for (uint8_t i = 0; i < r.n_sigs; i++) {
		if ((r.sigs.p[(size_t)i * SIG_BYTES] & 0x7fu) == who)
			return ERR_EXISTS;
	}
	cry_sign(root ? &me->site_sk : &me->sign_sk,
	    root ? ROOT_DOMAIN : MEMBER_SIG_DOMAIN, r.body, &sig);
	buf_put_slice(out, r.body);
	buf_u8(out, (uint8_t)(r.n_sigs + 1));
	buf_put_slice(out, r.sigs);
	buf_u8(out, (uint8_t)(who | (root ? BY_ROOT : 0)));
	buf_put(out, sig.b, sizeof(sig.b));
	return buf_err(out);
}

static enum err
checkpoint_body(const struct member *m, uint64_t fork, struct buf *out)
{
	struct member_record r = next_record(m, MEMBER_CHECKPOINT);

	r.wall_ms = clock_wall_ms();
	record_begin(&r, out);
	buf_u32(out, 12);
	buf_u32(out, m->era + 1);
	buf_u64(out, fork);
	return buf_err(out);
}

enum err
member_build_checkpoint(const struct member *m, const struct cry_identity *me,
    struct slice branch, uint64_t fork, struct buf *out)
{
	struct buf body = BUF_MAX(CHECKPOINT_BYTES);
	struct member_branch b = { 0 };
	struct member *s = NULL;
	struct cry_sig sig;
	uint8_t who;
	bool root;
	enum err e = ERR_OK;

	if (branch.n > 2 && (e = branch_walk(m, branch, &b)) == ERR_OK)
		e = branch_state(m, branch, &b, 0, &s);
	else if (e == ERR_OK) /* what is before the fork, and no more */
		e = member_prefix(m, fork, &s);
	if (e == ERR_OK)
		e = signer_find(m, me, fork, &who, &root);
	if (e == ERR_OK)
		e = checkpoint_body(s, fork, &body);
	if (e == ERR_OK) {
		cry_sign(root ? &me->site_sk : &me->sign_sk,
		    root ? ROOT_DOMAIN : MEMBER_SIG_DOMAIN, buf_slice(&body),
		    &sig);
		buf_u8(&body, 1);
		buf_u8(&body, (uint8_t)(who | (root ? BY_ROOT : 0)));
		buf_put(&body, sig.b, sizeof(sig.b));
		if (branch.n > 2)
			buf_put_slice(out, branch);
		else
			branch_begin(out);
		branch_put(out, buf_slice(&body));
		e = buf_err(&body) != ERR_OK ? buf_err(&body) : buf_err(out);
	}
	member_free(s);
	buf_fini(&body);
	return e;
}

enum err
member_checkpoint_sign(const struct member *m, const struct cry_identity *me,
    struct slice branch, struct buf *out)
{
	struct buf last = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct rd r = branch_open(branch);
	struct member_record rec;
	struct slice raw = { 0 };
	enum err e = ERR_MALFORMED;

	branch_begin(out);
	while (branch_next(&r, &raw, &rec)) {
		if (r.left > 0)
			branch_put(out, raw);
	}
	if (rd_end(&r) == ERR_OK && raw.n > 0)
		e = checkpoint_add_sig(m, me, raw, &last);
	if (e == ERR_OK) {
		branch_put(out, buf_slice(&last));
		e = buf_err(out);
	}
	buf_fini(&last);
	return e;
}

static bool
sig_has(struct slice sigs, uint8_t who)
{
	for (size_t at = 0; at + SIG_BYTES <= sigs.n; at += SIG_BYTES) {
		if ((sigs.p[at] & 0x7fu) == (who & 0x7fu))
			return true;
	}
	return false;
}

/* The last records of both, which are one but for signatures. */
static enum err
last_join(const struct member_record *a, const struct member_record *b,
    struct buf *out)
{
	struct buf sigs = BUF_MAX((size_t)2 * MEMBER_SIGNERS_MAX * SIG_BYTES);

	buf_put_slice(&sigs, a->sigs);
	for (uint8_t i = 0; i < b->n_sigs; i++) {
		const uint8_t *sig = b->sigs.p + (size_t)i * SIG_BYTES;

		if (!sig_has(a->sigs, sig[0]))
			buf_put(&sigs, sig, SIG_BYTES);
	}
	buf_put_slice(out, a->body);
	buf_u8(out, (uint8_t)(sigs.n / SIG_BYTES));
	buf_put_slice(out, buf_slice(&sigs));
	buf_fini(&sigs);
	return buf_err(out);
}

enum err
member_branch_join(struct slice one, struct slice other, struct buf *out)
{
	struct buf last = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct rd ra = branch_open(one), rb = branch_open(other);
	struct member_record a = { 0 }, b = { 0 };
	struct slice raw = { 0 }, unused;
	enum err e = ERR_MALFORMED;

	while (branch_next(&rb, &unused, &b))
		continue;
	branch_begin(out);
	while (branch_next(&ra, &raw, &a)) {
		if (ra.left > 0)
			branch_put(out, raw);
	}
	if (raw.n > 0 && rd_end(&ra) == ERR_OK && rd_end(&rb) == ERR_OK &&
	    memcmp(&a.id, &b.id, sizeof(a.id)) == 0)
		e = last_join(&a, &b, &last);
	if (e == ERR_OK) {
		branch_put(out, buf_slice(&last));
		e = buf_err(out);
	}
	buf_fini(&last);
	return e;
}
