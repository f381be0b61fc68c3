/* replication/air.c: see air.h.
 *
 * The key is random and sealed to the reader, so only writer and reader have
 * it.  The writer signs the head, which names the reader and holds the sealed
 * key: nobody else's file can be passed off as its own, and no reader can
 * hand it on as if it were meant for another. */
#include "replication/air.h"

#include "store/base/rd.h"

#define AIR_DOMAIN "air.1"

void
air_fini(struct air *a)
{
	cry_wipe(a, sizeof(*a));
}

static void
head_take(struct air *a, struct slice head)
{
	cry_hash_parts(NULL, "psc.air.1", &head, 1, a->hash, sizeof(a->hash));
	cry_hash(head, &a->over);
}

static void
nonce_make(uint64_t no, uint8_t out[CRY_NONCE_BYTES])
{
	memset(out, 0, CRY_NONCE_BYTES);
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(no >> (8 * i));
}

void
air_write(struct air *a, uint8_t type, struct slice body, struct buf *out)
{
	uint8_t nonce[CRY_NONCE_BYTES];
	struct buf plain = BUF_MAX(LIM_MESSAGE_BYTES + 1);

	buf_u8(&plain, type);
	buf_put_slice(&plain, body);
	if (buf_err(&plain) != ERR_OK)
		out->err = out->err == ERR_OK ? buf_err(&plain) : out->err;
	nonce_make(a->no++, nonce);
	buf_u32(out, (uint32_t)(plain.n + CRY_TAG_BYTES));
	cry_aead_seal(&a->key, nonce, slice_of(a->hash, sizeof(a->hash)),
	    buf_slice(&plain), out);
	buf_fini(&plain);
}

enum err
air_write_begin(struct air *a, const struct cry_identity *me,
    const struct cry_box_pk *to, struct buf *out)
{
	struct buf from = BUF_MAX(CRY_CERT_BYTES + 64u);
	struct cry_sig sig;
	size_t at = out->n;

	memset(a, 0, sizeof(*a));
	cry_random(a->key.b, sizeof(a->key.b));
	buf_put_str(out, AIR_MAGIC);
	buf_put(out, to->b, sizeof(to->b));
	cry_seal(to, slice_of(a->key.b, sizeof(a->key.b)), out);
	if (buf_err(out) != ERR_OK)
		return buf_err(out);
	head_take(a, slice_of(out->p + at, out->n - at));
	cry_sign(&me->sign_sk, AIR_DOMAIN,
	    slice_of(a->over.b, sizeof(a->over.b)), &sig);
	buf_put(&from, me->cert.b, sizeof(me->cert.b));
	buf_put(&from, sig.b, sizeof(sig.b));
	air_write(a, AIR_FROM, buf_slice(&from), out);
	buf_fini(&from);
	return buf_err(out);
}

void
air_write_end(struct air *a, struct buf *out)
{
	struct buf b = BUF_MAX(8);

	buf_u64(&b, a->no);
	air_write(a, AIR_END, buf_slice(&b), out);
	buf_fini(&b);
}

enum err
air_read_begin(struct air *a, const struct cry_identity *me, struct slice head)
{
	struct rd r = rd_init(head);
	struct buf key = BUF_MAX(sizeof(a->key.b));
	struct cry_box_pk to;
	struct slice magic = rd_bytes(&r, 8);
	enum err e;

	memset(a, 0, sizeof(*a));
	rd_copy(&r, to.b, sizeof(to.b));
	if (r.err != ERR_OK || head.n != AIR_HEAD_BYTES ||
	    !slice_eq(magic, slice_str(AIR_MAGIC)))
		return ERR_MALFORMED;
	if (memcmp(to.b, me->pub.box.b, sizeof(to.b)) != 0)
		return ERR_DENIED;
	e = cry_unseal(&me->pub.box, &me->box_sk, rd_rest(&r), &key);
	if (e == ERR_OK && key.n != sizeof(a->key.b))
		e = ERR_AUTH;
	if (e == ERR_OK) {
		memcpy(a->key.b, key.p, sizeof(a->key.b));
		head_take(a, head);
	}
	buf_wipe(&key);
	return e;
}

enum err
air_part_len(const uint8_t in[4], uint32_t *len)
{
	struct rd r = rd_init(slice_of(in, 4));

	*len = rd_u32(&r);
	return *len < AIR_PART_MIN || *len > AIR_PART_MAX ? ERR_LIMIT : ERR_OK;
}

enum err
air_read(const struct air *a, uint64_t no, struct slice part, struct buf *out)
{
	uint8_t nonce[CRY_NONCE_BYTES];

	if (part.n < AIR_PART_MIN || part.n > AIR_PART_MAX)
		return ERR_LIMIT;
	nonce_make(no, nonce);
	return cry_aead_open(
	    &a->key, nonce, slice_of(a->hash, sizeof(a->hash)), part, out);
}

enum err
air_from(const struct air *a, struct slice body, struct cry_device_pub *out)
{
	struct rd r = rd_init(body);
	struct slice cert = rd_bytes(&r, CRY_CERT_BYTES);
	struct cry_sig sig;
	enum err e;

	rd_copy(&r, sig.b, sizeof(sig.b));
	if ((e = rd_end(&r)) != ERR_OK)
		return e;
	if ((e = cry_cert_check(cert, out)) != ERR_OK)
		return e;
	return cry_verify(&out->sign, AIR_DOMAIN,
	    slice_of(a->over.b, sizeof(a->over.b)), &sig);
}

bool
air_is_end(struct slice body, uint64_t no)
{
	struct rd r = rd_init(body);
	uint64_t n = rd_u64(&r);

	return rd_end(&r) == ERR_OK && n == no;
}
