/* node/imaging/helper/window.c: one sub-item of the user information.
 *
 *   PDU: type, 0, be32 length | 68 bytes | items; the last is user information
 *   item: type, 0, be16 length | value; user information holds items again
 *   0x53: be16 operations invoked, be16 operations performed
 *
 * Any length that passes its frame ends the search: the item is not there. */
#include "node/imaging/helper/window.h"

#include <string.h>

#include "store/base/rd.h"

#define PDU_RQ 0x01u
#define PDU_AC 0x02u
#define PDU_HEAD 6u
#define PDU_FIXED 68u
#define ITEM_HEAD 4u
#define ITEM_USER 0x50u
#define ITEM_WINDOW 0x53u
#define WINDOW_VALUE 4u

/* The value of the first item of this type. */
static bool
item_find(struct slice in, uint8_t type, struct slice *value)
{
	struct rd r = rd_init(in);

	while (r.left >= ITEM_HEAD) {
		uint32_t head = rd_be32(&r);
		uint8_t is = (uint8_t)(head >> 24);

		*value = rd_bytes(&r, head & UINT16_MAX);
		if (r.err != ERR_OK)
			return false;
		if (is == type)
			return true;
	}
	return false;
}

/* The user information of an association PDU of this type. */
static bool
user_find(struct slice pdu, uint8_t type, struct slice *user)
{
	struct rd r = rd_init(pdu);
	uint8_t is = rd_u8(&r);

	(void)rd_u8(&r);
	if (rd_be32(&r) != pdu.n - PDU_HEAD || pdu.n < PDU_HEAD || is != type)
		return false;
	(void)rd_bytes(&r, PDU_FIXED);
	return r.err == ERR_OK && item_find(rd_rest(&r), ITEM_USER, user);
}

uint16_t
window_asked(const uint8_t *rq, size_t n)
{
	struct slice user, value;

	if (!user_find(slice_of(rq, n), PDU_RQ, &user) ||
	    !item_find(user, ITEM_WINDOW, &value) || value.n != WINDOW_VALUE)
		return 1;
	return (uint16_t)(value.p[0] << 8 | value.p[1]);
}

static void
be16_put(uint8_t *at, size_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

size_t
window_grant(const uint8_t *ac, size_t n, uint16_t granted, uint8_t *out)
{
	static const uint8_t head[ITEM_HEAD] = { ITEM_WINDOW, 0, 0,
		WINDOW_VALUE };
	struct slice user;
	uint8_t *item;
	size_t at;

	if (!user_find(slice_of(ac, n), PDU_AC, &user) ||
	    user.n > UINT16_MAX - WINDOW_BYTES || n > UINT32_MAX - WINDOW_BYTES)
		return 0;
	at = (size_t)(user.p - ac);
	item = out + at + user.n;
	memcpy(out, ac, at + user.n);
	memcpy(item, head, ITEM_HEAD);
	be16_put(item + 4, granted);
	be16_put(item + 6, 1);
	memcpy(item + WINDOW_BYTES, ac + at + user.n, n - at - user.n);
	be16_put(out + at - 2, user.n + WINDOW_BYTES);
	n += WINDOW_BYTES;
	be16_put(out + 2, (n - PDU_HEAD) >> 16);
	be16_put(out + 4, (n - PDU_HEAD) & UINT16_MAX);
	return n;
}
