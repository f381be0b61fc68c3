/* store/blob/blob_delta.c: a bundle of headers, told by what it has in common
 * with bundles that are stored already.
 *
 * A header that was edited is its former version but for a few values of
 * another length.  So a part is walked beside the part it came from: bytes
 * that are equal are copied, and where they part the two are looked through,
 * in windows that grow, for the next sixteen bytes that both have.  That costs
 * what comparing memory costs, unlike searching a whole bundle for matches.
 *
 *   D  = u8 1, u8 number of bases, bases, instructions
 *   base = cid 32, ck 32, u32 z_len, u32 p_len, u8 codec
 *   instruction = skip, copy, n (LEB128, skip zigzag), n bytes: go skip bytes
 *       on from where the last copy ended, take copy bytes from there, then
 *       the n bytes.  Places count through the bases, one after the other.
 *
 * Failure modes: nothing in D is believed: a base that is told itself by
 * others, a copy that leaves its base and a piece of another length are
 * ERR_MALFORMED. */
#include "store/blob/blob_internal.h"

#define DELTA_VERSION 1u
#define BASE_BYTES (32u + 32u + 4u + 4u + 1u)
#define SYNC 16u           /* bytes that must be equal to go on together */
#define SYNC_HASH 8u       /* of which so many are hashed */
#define WINDOW_BITS_MIN 8  /* 256 bytes */
#define WINDOW_BITS_MAX 14 /* DELTA_SLOTS */

/* --- instructions --- */

static void
put_number(struct buf *b, uint32_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_u8(b, (uint8_t)(v | 0x80));
	buf_u8(b, (uint8_t)v);
}

static uint32_t
read_number(struct rd *r)
{
	uint32_t v = 0, shift;
	uint8_t c = 0x80;

	for (shift = 0; shift < 28 && (c & 0x80) != 0; shift += 7) {
		c = rd_u8(r);
		v |= (uint32_t)(c & 0x7f) << shift;
	}
	if ((c & 0x80) != 0)
		rd_fail(r, ERR_MALFORMED);
	return v;
}

static void
put_step(struct delta *d, uint32_t from, uint32_t n, struct slice bytes)
{
	int32_t skip = n == 0 ? 0 : (int32_t)(from - d->at);
	uint32_t zigzag =
	    skip < 0 ? ((uint32_t)-skip << 1) - 1 : (uint32_t)skip << 1;

	if (n + bytes.n == 0)
		return;
	put_number(&d->steps, zigzag);
	put_number(&d->steps, n);
	put_number(&d->steps, (uint32_t)bytes.n);
	buf_put_slice(&d->steps, bytes);
	if (n > 0)
		d->at = from + n;
	d->copied += n;
}

void
delta_literal(struct delta *d, struct slice bytes)
{
	put_step(d, 0, 0, bytes);
}

/* --- two versions of one part --- */

static uint64_t
eight(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static size_t
equal_run(struct slice a, struct slice b)
{
	size_t max = a.n < b.n ? a.n : b.n, n = 0;

	while (n + 8 <= max && eight(a.p + n) == eight(b.p + n))
		n += 8;
	while (n < max && a.p[n] == b.p[n])
		n++;
	return n;
}

static uint32_t
slot_at(const uint8_t *p, unsigned bits)
{
	return (
	    uint32_t)((eight(p) * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - bits));
}

/* The first place of b in a window that stands in the window of a too. */
static bool
sync_in(uint16_t *slot, struct slice a, struct slice b, unsigned bits,
    size_t *i, size_t *j)
{
	size_t window = (size_t)1 << bits, k, at;

	if (a.n < SYNC || b.n < SYNC)
		return false;
	memset(slot, 0, sizeof(slot[0]) << bits);
	k = a.n - SYNC + 1 < window ? a.n - SYNC + 1 : window;
	while (k-- > 0)
		slot[slot_at(a.p + k, bits)] = (uint16_t)(k + 1);
	for (k = 0; k < window && k + SYNC <= b.n; k++) {
		at = slot[slot_at(b.p + k, bits)];
		if (at == 0 || memcmp(a.p + at - 1, b.p + k, SYNC) != 0)
			continue;
		*i = at - 1;
		*j = k;
		return true;
	}
	return false;
}

static bool
sync_find(uint16_t *slot, struct slice a, struct slice b, size_t *i, size_t *j)
{
	unsigned bits;

	for (bits = WINDOW_BITS_MIN; bits <= WINDOW_BITS_MAX; bits += 2) {
		if (sync_in(slot, a, b, bits, i, j))
			return true;
	}
	return false;
}

static struct slice
rest_of(struct slice s, size_t n)
{
	return slice_of(s.p + n, s.n - n);
}

void
delta_part(struct delta *d, struct slice was, uint32_t was_at, struct slice now)
{
	size_t i = 0, j = 0, n, di, dj;

	for (;;) {
		n = equal_run(rest_of(was, i), rest_of(now, j));
		i += n;
		j += n;
		if (!sync_find(
			d->slot, rest_of(was, i), rest_of(now, j), &di, &dj))
			break;
		put_step(d, was_at + (uint32_t)(i - n), (uint32_t)n,
		    slice_of(now.p + j, dj));
		i += di;
		j += dj;
	}
	put_step(d, was_at + (uint32_t)(i - n), (uint32_t)n, rest_of(now, j));
}

/* --- D --- */

void
delta_head_put(struct buf *b, const struct blob_entry *base, uint32_t n)
{
	uint32_t i;

	buf_u8(b, DELTA_VERSION);
	buf_u8(b, (uint8_t)n);
	for (i = 0; i < n; i++) {
		buf_put(b, base[i].cid.b, sizeof(base[i].cid.b));
		buf_put(b, base[i].ck.b, sizeof(base[i].ck.b));
		buf_u32(b, base[i].z_len);
		buf_u32(b, base[i].p_len);
		buf_u8(b, base[i].codec);
	}
}

enum err
delta_head_read(
    struct rd *r, struct blob_entry base[BLOB_BASES_MAX], uint32_t *n)
{
	uint32_t i, said;

	*n = 0;
	if (rd_u8(r) != DELTA_VERSION)
		return ERR_MALFORMED;
	said = rd_u8(r);
	if (said == 0 || said > BLOB_BASES_MAX ||
	    r->left < (size_t)said * BASE_BYTES)
		return ERR_MALFORMED;
	*n = said;
	for (i = 0; i < *n; i++) {
		struct blob_entry *e = &base[i];

		*e = (struct blob_entry){ 0 };
		rd_copy(r, e->cid.b, sizeof(e->cid.b));
		rd_copy(r, e->ck.b, sizeof(e->ck.b));
		e->z_len = rd_u32(r);
		e->p_len = rd_u32(r);
		e->codec = rd_u8(r);
		if (e->z_len > LIM_PIECE_BYTES)
			return ERR_MALFORMED;
		e->c_len = blob_padded(e->z_len) + CRY_TAG_BYTES;
		if (blob_entry_check(e) != ERR_OK)
			return ERR_MALFORMED;
	}
	return r->err;
}

/* range->n bytes at from, which must lie in one base. */
static bool
base_range(const struct delta_base *base, uint32_t n_bases, uint64_t from,
    struct slice *range)
{
	uint32_t i;

	for (i = 0; i < n_bases; i++) {
		uint64_t start = base[i].start;
		struct slice s = base[i].bytes;

		if (from < start || from - start >= s.n)
			continue;
		if (range->n > s.n - (from - start))
			return false;
		range->p = s.p + (from - start);
		return true;
	}
	return false;
}

static enum err
step_apply(struct rd *r, uint64_t *at, const struct delta_base *base,
    uint32_t n_bases, struct buf *out)
{
	uint32_t zigzag = read_number(r);
	struct slice copy = { .n = read_number(r) };
	struct slice bytes = rd_bytes(r, read_number(r));
	int64_t from =
	    (int64_t)*at + ((zigzag & 1) != 0 ? -(int64_t)((zigzag + 1) >> 1)
					      : (int64_t)(zigzag >> 1));

	if (r->err != ERR_OK || (copy.n == 0 && zigzag != 0) ||
	    copy.n + bytes.n == 0)
		return ERR_MALFORMED;
	if (copy.n > 0) {
		if (from < 0 ||
		    !base_range(base, n_bases, (uint64_t)from, &copy))
			return ERR_MALFORMED;
		*at = (uint64_t)from + copy.n;
	}
	if (copy.n + bytes.n > out->max - out->n)
		return ERR_MALFORMED;
	buf_put_slice(out, copy);
	buf_put_slice(out, bytes);
	return buf_err(out);
}

enum err
delta_apply(struct slice steps, uint64_t at, const struct delta_base *base,
    uint32_t n_bases, struct buf *out)
{
	struct rd r = rd_init(steps);
	enum err e = ERR_OK;

	while (r.left > 0 && e == ERR_OK)
		e = step_apply(&r, &at, base, n_bases, out);
	return e;
}
