/* node/imaging/helper/window.h: the asynchronous operations window (PS3.7
 * D.3.3.3) in the bytes of association PDUs, which dcmtk neither reads nor
 * writes.  Pure. */
#ifndef PSC_HELPER_WINDOW_H
#define PSC_HELPER_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that the item takes. */
#define WINDOW_BYTES 8u

/* How many operations the requestor of this A-ASSOCIATE-RQ would have
 * unanswered: 0, as many as it likes; 1, one at a time, also where it does not
 * say or the PDU does not hold together. */
uint16_t window_asked(const uint8_t *rq, size_t n);

/* This A-ASSOCIATE-AC with an item that grants so many (and one operation of
 * ours) at the end of its user information, into out[n + WINDOW_BYTES]; the
 * bytes of it, or 0: it is no such PDU, or has no room. */
size_t window_grant(
    const uint8_t *ac, size_t n, uint16_t granted, uint8_t *out);

#ifdef __cplusplus
}
#endif

#endif
