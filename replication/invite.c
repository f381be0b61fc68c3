/* replication/invite.c: the string that lets one device join one share.
 *
 * "psi1" + base32 of {version u8, share 32, registrar 32, expires u64,
 * secret 16, n u8, n * {host length u8, host, port u16, key 32}, check 4};
 * check = first bytes of BLAKE2b over what precedes, against typing errors
 * only.  rulings.md 22. */
#include "replication/member.h"

#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/base/rd.h"

#define INVITE_PREFIX "psi1"
#define INVITE_VERSION 1u
#define INVITE_ADDRS_MAX 4u
#define CHECK_BYTES 4u
#define INVITE_BYTES_MAX                                                       \
	(1u + 32u + 32u + 8u + 16u + 1u +                                      \
	    INVITE_ADDRS_MAX * (1u + 127u + 2u + 32u) + CHECK_BYTES)

static void
check_value(struct slice in, uint8_t out[CHECK_BYTES])
{
	struct cry_id full;

	cry_hash_parts(NULL, "psc.invite.1", &in, 1, full.b, sizeof(full.b));
	memcpy(out, full.b, CHECK_BYTES);
}

/* Host names and addresses as they are dialled: no blanks, no controls. */
static bool
host_ok(struct slice h)
{
	if (h.n == 0 || h.n > 127)
		return false;
	for (size_t i = 0; i < h.n; i++) {
		if (h.p[i] <= 0x20 || h.p[i] >= 0x7f)
			return false;
	}
	return true;
}

static enum err
addr_put(const struct invite_addr *a, struct buf *b)
{
	size_t n = strnlen(a->host, sizeof(a->host));

	if (n == sizeof(a->host) || !host_ok(slice_of(a->host, n)) ||
	    a->port == 0)
		return ERR_MALFORMED;
	buf_u8(b, (uint8_t)n);
	buf_put(b, a->host, n);
	buf_u16(b, a->port);
	buf_put(b, a->key.b, sizeof(a->key.b));
	return buf_err(b);
}

static void
addr_get(struct rd *r, struct invite_addr *a)
{
	struct slice h = rd_bytes(r, rd_u8(r));

	a->port = rd_u16(r);
	rd_copy(r, a->key.b, sizeof(a->key.b));
	if (r->err == ERR_OK && (!host_ok(h) || a->port == 0))
		rd_fail(r, ERR_MALFORMED);
	if (r->err != ERR_OK)
		return;
	memcpy(a->host, h.p, h.n);
	a->host[h.n] = '\0';
}

enum err
invite_encode(const struct invite *v, struct buf *out)
{
	char text[ENC_B32_LEN(INVITE_BYTES_MAX) + 1];
	struct buf b = BUF_MAX(INVITE_BYTES_MAX);
	uint8_t check[CHECK_BYTES];
	enum err e = ERR_OK;

	if (v->n_addrs > INVITE_ADDRS_MAX)
		return ERR_LIMIT;
	buf_u8(&b, INVITE_VERSION);
	buf_put(&b, v->share.b, sizeof(v->share.b));
	buf_put(&b, v->registrar.b, sizeof(v->registrar.b));
	buf_u64(&b, v->expires_s);
	buf_put(&b, v->secret, sizeof(v->secret));
	buf_u8(&b, (uint8_t)v->n_addrs);
	for (uint32_t i = 0; e == ERR_OK && i < v->n_addrs; i++)
		e = addr_put(&v->addrs[i], &b);
	if (e == ERR_OK)
		e = buf_err(&b);
	if (e != ERR_OK)
		goto out;
	check_value(buf_slice(&b), check);
	buf_put(&b, check, sizeof(check));
	if ((e = buf_err(&b)) != ERR_OK)
		goto out;
	enc_b32(buf_slice(&b), text);
	buf_put_str(out, INVITE_PREFIX);
	buf_put_str(out, text);
	e = buf_err(out);
	cry_wipe(text, sizeof(text));
out:
	buf_wipe(&b);
	return e;
}

static enum err
parse(struct slice in, struct invite *v)
{
	struct rd r = rd_init(in);
	uint8_t n;

	if (rd_u8(&r) != INVITE_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	rd_copy(&r, v->share.b, sizeof(v->share.b));
	rd_copy(&r, v->registrar.b, sizeof(v->registrar.b));
	v->expires_s = rd_u64(&r);
	rd_copy(&r, v->secret, sizeof(v->secret));
	n = rd_u8(&r);
	if (n > INVITE_ADDRS_MAX)
		rd_fail(&r, ERR_LIMIT);
	v->n_addrs = n;
	for (uint8_t i = 0; r.err == ERR_OK && i < n; i++)
		addr_get(&r, &v->addrs[i]);
	return rd_end(&r);
}

enum err
invite_decode(struct slice text, struct invite *out)
{
	uint8_t bytes[INVITE_BYTES_MAX], check[CHECK_BYTES];
	struct slice prefix = SLICE_LIT(INVITE_PREFIX);
	struct invite v = { 0 };
	size_t n;
	enum err e;

	if (text.n < prefix.n || memcmp(text.p, prefix.p, prefix.n) != 0)
		return ERR_MALFORMED;
	text = slice_of(text.p + prefix.n, text.n - prefix.n);
	n = text.n * 5 / 8;
	if (n <= CHECK_BYTES || n > sizeof(bytes))
		return ERR_MALFORMED;
	if ((e = dec_b32(text, bytes, n)) != ERR_OK)
		goto out;
	n -= CHECK_BYTES;
	check_value(slice_of(bytes, n), check);
	e = ERR_MALFORMED;
	if (memcmp(check, bytes + n, CHECK_BYTES) != 0)
		goto out;
	if ((e = parse(slice_of(bytes, n), &v)) == ERR_OK)
		*out = v;
out:
	cry_wipe(bytes, sizeof(bytes));
	cry_wipe(&v, sizeof(v));
	return e;
}

bool
invite_expired(const struct invite *v, uint64_t now_s)
{
	return now_s >= v->expires_s;
}

void
invite_id(const struct invite *v, struct invite_id *out)
{
	struct slice parts[2] = { slice_of(v->share.b, sizeof(v->share.b)),
		slice_of(v->secret, sizeof(v->secret)) };

	cry_hash_parts(
	    NULL, "psc.invite.id.1", parts, 2, out->b, sizeof(out->b));
}
