/* replication/member_draft.c: records on their way to k signatures.
 *
 * A draft is the records of one decision in a row, each with the signature of
 * one registrar, the same in all of them.  Another registrar who agrees makes
 * a copy with its own; whoever holds copies of k registrars joins them, and
 * the records stand.  Its name is the hash of the last record, which names
 * all before it.  Layout: docs/protocol.md section 6. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

#define DRAFT_SIG_BYTES 65u

bool
member_is_draft(struct slice bytes)
{
	return bytes.n > 1 && bytes.p[1] == MEMBER_DRAFT;
}

void
member_draft_begin(struct buf *out)
{
	buf_u8(out, MEMBER_VERSION);
	buf_u8(out, MEMBER_DRAFT);
}

void
member_draft_add(struct buf *draft, struct slice record)
{
	buf_u32(draft, (uint32_t)record.n);
	buf_put_slice(draft, record);
}

static struct rd
draft_open(struct slice draft)
{
	struct rd r = rd_init(draft);

	if (rd_u8(&r) != MEMBER_VERSION || rd_u8(&r) != MEMBER_DRAFT)
		rd_fail(&r, ERR_MALFORMED);
	return r;
}

/* False: the end, or r has failed. */
static bool
draft_next(struct rd *r, struct member_record *out)
{
	struct slice raw;
	enum err e;

	if (r->left == 0 || r->err != ERR_OK)
		return false;
	raw = rd_bytes(r, rd_count(r, LIM_MEMBER_RECORD_BYTES, 1));
	if (r->err == ERR_OK && (e = record_decode(raw, out)) != ERR_OK)
		rd_fail(r, e);
	return r->err == ERR_OK;
}

/* Whom and what the first record is about. */
static enum err
draft_subject(const struct member_record *r, struct member_draft *d)
{
	struct revoke_rec v;
	struct rotate_rec ro;
	struct grant_rec g;
	enum err e = ERR_OK;

	d->kind = (enum member_kind)r->kind;
	if (r->kind == MEMBER_GRANT) {
		if ((e = grant_decode(r->content, &g)) != ERR_OK)
			return e;
		d->device = g.device;
		d->role = (enum role)g.role;
		d->compartment = g.compartment;
		d->no_history = g.no_history;
	} else if (r->kind == MEMBER_REVOKE || r->kind == MEMBER_ADOPT) {
		if ((e = revoke_decode(r->content, &v)) == ERR_OK)
			d->device = v.device;
	} else if (r->kind == MEMBER_ROTATE) {
		if ((e = rotate_decode(r->content, &ro)) == ERR_OK)
			d->compartment = ro.compartment;
	}
	return e;
}

/* Who signs sees the first: the others only carry it out. */
static enum err
draft_follows(const struct member_draft *d, const struct member_record *r)
{
	struct revoke_rec v;
	enum err e;

	if (r->kind == MEMBER_ROTATE &&
	    (d->kind == MEMBER_ROTATE || d->kind == MEMBER_REVOKE))
		return ERR_OK;
	if (r->kind != MEMBER_ADOPT ||
	    (d->kind != MEMBER_REVOKE && d->kind != MEMBER_ADOPT))
		return ERR_MALFORMED;
	if ((e = revoke_decode(r->content, &v)) != ERR_OK)
		return e;
	return memcmp(&v.device, &d->device, sizeof(v.device)) == 0
		   ? ERR_OK
		   : ERR_MALFORMED;
}

/* Each in its place, signed by the one who signed the first. */
static enum err
draft_record(const struct member *m, const struct member_record *r,
    struct member_draft *d)
{
	const struct member_registrars *by =
	    registrars_at(m, member_seq(m) + 1);
	uint64_t first = member_seq(m) + 1;
	struct rd s = rd_init(r->sigs);
	uint8_t who = rd_u8(&s);
	struct cry_sig sig;

	if (memcmp(&r->share, &m->share, sizeof(m->share)) != 0 ||
	    r->n_sigs != 1 || r->kind == MEMBER_CHECKPOINT ||
	    d->kind == MEMBER_REGISTRARS)
		return ERR_MALFORMED; /* others sign after such a record */
	/* Before the signer: a chain of another length has other registrars. */
	if (d->n == 0 && r->seq != first)
		return r->seq < first ? ERR_EXISTS : ERR_AGAIN;
	if (d->n == 0 && memcmp(&r->prev, member_head(m), sizeof(r->prev)) != 0)
		return ERR_DENIED;
	if (who >= by->n)
		return ERR_MALFORMED;
	if (d->n > 0 && (who != d->signer || r->seq != first + d->n ||
			    memcmp(&r->prev, &d->id, sizeof(d->id)) != 0 ||
			    r->kind == MEMBER_REGISTRARS))
		return ERR_MALFORMED;
	rd_copy(&s, sig.b, sizeof(sig.b));
	if (cry_verify(&by->device[who].sign, MEMBER_SIG_DOMAIN, r->body,
		&sig) != ERR_OK)
		return ERR_AUTH;
	if (d->n == 0) {
		d->seq = r->seq;
		d->signer = who;
	}
	return ERR_OK;
}

enum err
member_draft_read(
    const struct member *m, struct slice draft, struct member_draft *out)
{
	struct rd r = draft_open(draft);
	struct member_draft d = { 0 };
	struct member_record rec;
	enum err e = ERR_OK;

	if (draft.n > LIM_MEMBER_RECORD_BYTES)
		return ERR_LIMIT;
	while (e == ERR_OK && draft_next(&r, &rec)) {
		if ((e = draft_record(m, &rec, &d)) != ERR_OK)
			break;
		if (d.n > 0 && (e = draft_follows(&d, &rec)) != ERR_OK)
			break;
		if (d.n++ == 0)
			e = draft_subject(&rec, &d);
		d.id = rec.id;
	}
	if (e == ERR_OK && (rd_end(&r) != ERR_OK || d.n == 0))
		e = r.err == ERR_NOMEM ? r.err : ERR_MALFORMED;
	if (e == ERR_OK)
		*out = d;
	return e;
}

enum err
member_draft_stands(const struct member *m, struct slice draft)
{
	struct rd r = draft_open(draft);
	struct member *s = NULL;
	enum err e = member_prefix(m, m->n_records, &s);

	while (e == ERR_OK && r.left > 0 && r.err == ERR_OK)
		e = member_apply_draft(
		    s, rd_bytes(&r, rd_count(&r, LIM_MEMBER_RECORD_BYTES, 1)));
	member_free(s);
	return e == ERR_OK ? rd_end(&r) : e;
}

enum err
member_draft_sign(const struct member *m, const struct cry_identity *me,
    struct slice draft, struct buf *out)
{
	struct rd r = draft_open(draft);
	struct buf one = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record rec;
	struct cry_sig sig;
	uint8_t who = 0;
	enum err e;

	while (who < member_n_registrars(m) &&
	       !same_sign(&member_registrar(m, who)->sign, &me->pub.sign))
		who++;
	if (who == member_n_registrars(m))
		return ERR_DENIED;
	member_draft_begin(out);
	while (draft_next(&r, &rec)) {
		buf_reset(&one);
		buf_put_slice(&one, rec.body);
		cry_sign(&me->sign_sk, MEMBER_SIG_DOMAIN, rec.body, &sig);
		buf_u8(&one, 1);
		buf_u8(&one, who);
		buf_put(&one, sig.b, sizeof(sig.b));
		if (buf_err(&one) != ERR_OK)
			break;
		member_draft_add(out, buf_slice(&one));
	}
	e = buf_err(&one) != ERR_OK ? buf_err(&one) : rd_end(&r);
	buf_fini(&one);
	return e == ERR_OK ? buf_err(out) : e;
}

enum err
member_draft_join(
    const struct slice *drafts, uint32_t n, uint32_t i, struct buf *out)
{
	struct member_record rec;

	REQUIRE(n > 0 && n <= MEMBER_SIGNERS_MAX);
	for (uint32_t k = 0; k < n; k++) {
		struct rd r = draft_open(drafts[k]);

		for (uint32_t at = 0; at <= i; at++) {
			if (!draft_next(&r, &rec))
				return ERR_NOTFOUND; /* no such record */
		}
		if (k == 0) {
			buf_put_slice(out, rec.body);
			buf_u8(out, (uint8_t)n);
		}
		if (rec.sigs.n != DRAFT_SIG_BYTES)
			return ERR_MALFORMED;
		buf_put_slice(out, rec.sigs);
	}
	return buf_err(out);
}
