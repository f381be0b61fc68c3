/* replication/air.h: messages of the peer protocol in a file, for one reader
 * (docs/protocol.md 14).  Pure: bytes in, bytes out.
 *
 * A file is a head and parts; a part is a message, sealed.  The first part
 * says who wrote it, the last that it is whole.  Who reads has checked every
 * part before it believes one. */
#ifndef PSC_REPLICATION_AIR_H
#define PSC_REPLICATION_AIR_H

#include "crypto/identity.h"
#include "store/base/limits.h"

#define AIR_MAGIC "PSCAIR1\n"
#define AIR_HEAD_BYTES (8u + 32u + 32u + CRY_SEAL_BYTES)
#define AIR_FROM 0x01u /* first part: certificate, signature */
#define AIR_END 0x08u  /* last part: number of parts before it, u64 */
/* Ciphertext of a part: type, body, tag. */
#define AIR_PART_MAX (LIM_MESSAGE_BYTES + 1u + CRY_TAG_BYTES)
#define AIR_PART_MIN (1u + CRY_TAG_BYTES)

struct air {
	struct cry_key key; /* wiped by air_fini */
	uint8_t hash[64];   /* of the head; tags are made with it */
	uint64_t no;        /* of the next part written */
	struct cry_id over; /* what AIR_FROM signs */
};
void air_fini(struct air *a);

/* Head and first part of a file that only `to` opens. */
enum err air_write_begin(struct air *a, const struct cry_identity *me,
    const struct cry_box_pk *to, struct buf *out) PSC_MUST_USE;
void air_write(struct air *a, uint8_t type, struct slice body, struct buf *out);
void air_write_end(struct air *a, struct buf *out);

/* ERR_MALFORMED: no such file; ERR_DENIED: for somebody else; ERR_AUTH: its
 * head was altered. */
enum err air_read_begin(struct air *a, const struct cry_identity *me,
    struct slice head) PSC_MUST_USE;
/* Length of the part that follows these 4 bytes.  ERR_LIMIT. */
enum err air_part_len(const uint8_t in[4], uint32_t *len) PSC_MUST_USE;
/* Part number no: type and body, in out.  ERR_AUTH: altered, or not this
 * file's part of that number. */
enum err air_read(const struct air *a, uint64_t no, struct slice part,
    struct buf *out) PSC_MUST_USE;
/* Who wrote the file: the body of part 0.  ERR_AUTH, ERR_MALFORMED. */
enum err air_from(const struct air *a, struct slice body,
    struct cry_device_pub *out) PSC_MUST_USE;
/* Is this the body of AIR_END, as part number no? */
bool air_is_end(struct slice body, uint64_t no);

#endif
