/* store/catalog/content.h: what a version's content is made of.
 *
 * A version = an ordered table of members (the files of a series, or one
 * derived file).  Headers of a DICOM series lie together in one bundle, so
 * that small files cost what their bytes cost; a member is header bytes from
 * the bundle followed by the pieces of its body.  The table itself is stored
 * as content; the op carries the table's manifest.  rulings.md 7. */
#ifndef PSC_CATALOG_CONTENT_H
#define PSC_CATALOG_CONTENT_H

#include "store/base/limits.h"
#include "store/blob/blob.h"

#define CONTENT_NAME_MAX 128u
/* A file name that is safe to create in a folder: no separators, controls or
 * leading dot or dash; never empty.  Content keeps only such names. */
void content_name_clean(struct slice in, char out[CONTENT_NAME_MAX + 1]);

/* Is this such a name as it stands, and whole UTF-8? */
bool content_name_good(const char *name);

struct content_writer;
/* Pieces are prepared into batch; put it in the job that appends the op. */
struct content_writer *content_writer_new(struct blob_batch *batch);
void content_writer_free(struct content_writer *w); /* NULL ok */
/* name: file name in an export ("IM0001.dcm"), clean (content_name_clean) and
 * unique (else ERR_MALFORMED, ERR_EXISTS at the end).  header may be empty;
 * body: an encoded manifest of a file that was added apart (else ERR_DENIED;
 * may be empty); hash: BLAKE2b-256 of the whole
 * file; fields: msgpack map of image-level fields, or empty. */
struct content_add {
	const char *name;
	struct slice header;
	struct slice body;
	uint64_t len; /* whole file */
	struct cry_id hash;
	struct slice fields;
};
enum err content_writer_add(
    struct content_writer *w, const struct content_add *m) PSC_MUST_USE;
/* Builds bundle and table.  manifest: of the table (goes into the op);
 * packing: every chunk, {cid 32, c_len u32 LE} sorted and unique; hash:
 * BLAKE2b-256 over the members' hashes in order. */
struct content_done {
	struct buf manifest;
	struct buf packing;
	struct cry_id hash;
	uint64_t bytes; /* sum of member lengths */
	uint32_t members;
};
enum err content_writer_end(
    struct content_writer *w, struct content_done *out) PSC_MUST_USE;
void content_done_fini(struct content_done *d);

struct content; /* an opened table; any thread may read its members */
/* manifest: as the op carries it.  ERR_NOTFOUND while chunks are missing. */
enum err content_open(
    struct store *s, struct slice manifest, struct content **out) PSC_MUST_USE;
void content_close(struct content *c); /* NULL ok */
uint32_t content_n(const struct content *c);
struct content_member {
	const char *name;
	uint64_t len;
	struct cry_id hash;
	struct slice fields; /* msgpack map or empty */
};
void content_member(
    const struct content *c, uint32_t i, struct content_member *out);
/* The member of a name, UINT32_MAX if there is none; looked for from hint
 * on, where a table much like it had it. */
uint32_t content_find(const struct content *c, const char *name, uint32_t hint);
/* Member i's bytes, in parts; the whole is checked against its hash before
 * the last part is given out.  ERR_CORRUPT, ERR_NOTFOUND. */
enum err content_stream(
    struct content *c, uint32_t i, blob_part_fn fn, void *ctx) PSC_MUST_USE;
enum err content_read(
    struct content *c, uint32_t i, struct buf *out) PSC_MUST_USE;

/* Several members at once, for whoever wants them all: their pieces are
 * hashed together, which costs a fraction of one after another.  Checked as
 * by content_stream; one that fails harms no other.  One thread at a time
 * uses a content_many, several may read the same table. */
#define CONTENT_MANY BLOB_MANY
#define CONTENT_MANY_BYTES (6 * MIB) /* longer members: content_stream */
struct content_got {
	struct buf bytes; /* BUF_MAX(CONTENT_MANY_BYTES); used again */
	enum err err;
};
struct content_many;
struct content_many *content_many_new(struct store *s); /* NULL: no memory */
void content_many_free(struct content_many *r);         /* NULL ok */
/* Members [first, first + n) with n <= CONTENT_MANY into got[0..n). */
void content_read_many(struct content_many *r, struct content *c,
    uint32_t first, uint32_t n, struct content_got *got);
/* Member i as it is into another table: its body by reference, unread. */
enum err content_copy(
    struct content *c, uint32_t i, struct content_writer *to) PSC_MUST_USE;

#endif
