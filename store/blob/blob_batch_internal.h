/* store/blob/blob_batch_internal.h: a batch, whose work is in three files:
 * blob_batch.c takes files apart, blob_bundle.c joins small pieces,
 * blob_batch_end.c makes manifests and is the writer's job. */
#ifndef PSC_BLOB_BLOB_BATCH_INTERNAL_H
#define PSC_BLOB_BLOB_BATCH_INTERNAL_H

#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

/* Smaller pieces share a chunk.  Planned ones are headers: with private blocks
 * they reach 100 KiB, and are alike. */
#define BUNDLE_BELOW (64 * KIB)
#define BUNDLE_PLANNED_BELOW (256 * KIB)
#define BUNDLE_BYTES (2 * MIB)
#define NAME_AT_ONCE 8u /* lanes of cry_hash_many, about */

/* So many pieces at most in a file whose header is told by another. */
#define TOLD_PIECES_MAX 1024u

struct item {
	struct blob_entry e;
	uint32_t bundle; /* number of its bundle, 0: none */
	uint32_t set;    /* of its bases, from 1; 0: none */
	enum blob_pidx kind;
	bool fresh; /* to be indexed */
	/* of pixels: headers known to stand before them, items that do now */
	struct blob_place header[BLOB_FORMS];
	uint32_t with[BLOB_FORMS]; /* item + 1; 0: none that is new */
};

/* What a bundle is told by. */
struct base_set {
	struct blob_entry base[BLOB_BASES_MAX];
	uint32_t n;
};

struct chunk {
	struct cry_id cid;
	uint32_t item;   /* the one whose entry names it, or ... */
	uint32_t bundle; /* ... from item on those of this bundle; 0: none */
	uint32_t c_len;
	uint8_t *c;
};

struct made { /* one file */
	uint32_t first, n;
	uint64_t raw_len;
	uint8_t depth;
};

struct blob_batch {
	struct store *s;
	struct store_lease lease; /* what it found stored stays */
	struct codec *codec;
	struct item *items;
	uint32_t n, cap;
	uint32_t *slots; /* hp -> item + 1; power of two, at most half full */
	uint32_t slots_n;
	struct chunk *chunks; /* not put */
	uint32_t n_chunks, cap_chunks;
	uint32_t n_named;
	uint32_t *refs;
	uint32_t n_refs, cap_refs;
	struct made *made;
	uint32_t n_made, cap_made;
	struct buf bundle;    /* the open one */
	uint32_t bundle_no;   /* its number, from 1 */
	uint32_t bundle_item; /* its first item, or after */
	struct delta delta;   /* the same, told by base[] */
	struct base_set told;
	uint64_t told_at[BLOB_BASES_MAX]; /* where each begins */
	uint64_t told_n;                  /* bytes of all */
	struct base_set *sets;            /* of bundles that ended */
	uint32_t n_sets, cap_sets;
	struct blob_reader *reader; /* of former versions; NULL: none so far */
	uint64_t bytes;
	uint64_t held;
	struct buf z, c, back; /* scratch */
};

/* --- blob_batch.c --- */
/* Room for one more in an array that doubles. */
enum err batch_grow(
    void **p, uint32_t *cap, uint32_t n, size_t size) PSC_MUST_USE;
enum err batch_item_add(
    struct blob_batch *b, const struct item *it, uint32_t *no) PSC_MUST_USE;
/* P -> Z in b->z, and back again to prove it. */
enum err batch_piece_code(struct blob_batch *b, struct slice p,
    struct codec_hint hint, struct blob_entry *e) PSC_MUST_USE;
/* Z -> C in b->c. */
enum err batch_piece_seal(
    struct blob_batch *b, struct blob_entry *e) PSC_MUST_USE;
/* Copies the ciphertext in b->c. */
enum err batch_chunk_add(
    struct blob_batch *b, uint32_t item, uint32_t bundle) PSC_MUST_USE;
/* The ids of chunks that have none; several are hashed at once. */
void batch_chunks_name(struct blob_batch *b);
void batch_chunks_drop(struct blob_batch *b);
/* A piece of its own, known or new. */
enum err batch_piece_item(
    struct blob_batch *b, const struct cut *cut, uint32_t *no) PSC_MUST_USE;
enum err batch_ref_add(struct blob_batch *b, uint32_t item) PSC_MUST_USE;

/* --- blob_bundle.c --- */
/* former: where its former version may lie; raw_len becomes 0 if it does not.
 */
enum err bundle_add(struct blob_batch *b, const struct cut *cut,
    struct item *it, struct blob_place *former, uint32_t *no) PSC_MUST_USE;
/* The bundle becomes one piece; its items learn which. */
enum err bundle_end(struct blob_batch *b) PSC_MUST_USE;
/* The number of a set of bases, from 1. */
enum err bundle_set_add(struct blob_batch *b, const struct blob_entry *base,
    uint32_t n, uint32_t *no) PSC_MUST_USE;

#endif
