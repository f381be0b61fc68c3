/* store/blob/blob_internal.h: codecs, cutting and the chunk tables. */
#ifndef PSC_BLOB_BLOB_INTERNAL_H
#define PSC_BLOB_BLOB_INTERNAL_H

#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/blob/blob.h"

struct store;

/* A trial runs on this much of a piece. */
#define CODEC_SAMPLE_BYTES ((size_t)64 * KIB)
/* zstd frames that want more window than this are refused. */
#define CODEC_WINDOW_MAX ((uint64_t)4 * MIB)
/* Z is never longer than P; Padme adds at most 1/8. */
#define BLOB_C_MAX (LIM_PIECE_BYTES + LIM_PIECE_BYTES / 8 + 64)

/* --- blob_codec.c --- */
struct codec; /* compressor state and scratch; one thread at a time */
struct codec *codec_new(void);
void codec_free(struct codec *c);
size_t codec_bytes(const struct codec *c); /* memory it holds, about */
/* What is known of the samples of a piece. */
struct codec_hint {
	uint8_t bits;
	uint16_t w;
};
struct codec_choice {
	enum blob_codec id;
	uint16_t row;
};
/* Picks a codec by trial and appends Z to out, which is empty. */
enum err codec_encode(struct codec *c, struct slice raw, struct codec_hint hint,
    struct codec_choice *used, struct buf *out) PSC_MUST_USE;
/* Appends exactly raw_len bytes.  Total on any input: ERR_MALFORMED,
 * ERR_LIMIT, ERR_UNSUPPORTED, ERR_NOMEM. */
enum err codec_decode(struct codec *c, struct codec_choice how, struct slice z,
    uint32_t raw_len, struct buf *out) PSC_MUST_USE;

/* One zstd frame of in, appended; and back, at most max bytes. */
enum err codec_squeeze(
    struct codec *c, struct slice in, struct buf *out) PSC_MUST_USE;
enum err codec_unsqueeze(struct codec *c, struct slice z, uint32_t max,
    struct buf *out) PSC_MUST_USE;

/* --- blob_delta.c --- */
#define BLOB_BASES_MAX 4u /* bundles that one is told by */
#define DELTA_SLOTS ((uint32_t)1 << 14)
struct delta {
	struct buf steps;
	uint32_t at;                /* where the last copy ended */
	uint64_t copied;            /* bytes that are not in steps */
	uint16_t slot[DELTA_SLOTS]; /* scratch */
};
/* A base, and where its first byte stands when all are counted through. */
struct delta_base {
	uint64_t start;
	struct slice bytes;
};
/* Appends steps that yield now, told by was, whose first byte is at was_at. */
void delta_part(
    struct delta *d, struct slice was, uint32_t was_at, struct slice now);
void delta_literal(struct delta *d, struct slice bytes);
/* What stands before the steps. */
void delta_head_put(struct buf *b, const struct blob_entry *base, uint32_t n);
/* ERR_MALFORMED.  The entries yield nothing and are no deltas; *n is never more
 * than BLOB_BASES_MAX, also if it fails. */
enum err delta_head_read(struct rd *r, struct blob_entry base[BLOB_BASES_MAX],
    uint32_t *n) PSC_MUST_USE;
/* Appends what the steps yield; out->max bounds it.  at: as in struct delta
 * before the first of them.  ERR_MALFORMED, ERR_NOMEM. */
enum err delta_apply(struct slice steps, uint64_t at,
    const struct delta_base *base, uint32_t n_bases,
    struct buf *out) PSC_MUST_USE;

/* --- blob_pool.c --- */
/* Codecs that are not in use; any thread. */
struct codec_pool;
struct codec_pool *codec_pool_new(void);        /* NULL: no memory */
void codec_pool_free(struct codec_pool *p);     /* NULL ok; none is taken */
struct codec *codec_take(struct codec_pool *p); /* NULL: no memory */
void codec_give(struct codec_pool *p, struct codec *c); /* NULL c ok */

/* --- blob_cdc.c --- */
/* Length of the first piece of in (in.n > 0), never above LIM_PIECE_BYTES. */
size_t cdc_cut(const uint64_t gear[256], struct slice in, unsigned avg_bits);

/* --- blob_cut.c --- */
struct cut {
	struct slice p; /* borrows the file */
	struct codec_hint hint;
	bool apart;    /* never in a bundle */
	uint32_t same; /* first cut with these bytes; itself if none */
	struct cry_id hp;
};
struct cuts {
	struct cut *c;
	uint32_t n, cap;
	uint32_t first; /* of the file at hand */
};
void cuts_fini(struct cuts *c);
/* Appends the pieces of f.  ERR_MALFORMED: its plan does not tile. */
enum err cuts_add_file(struct cuts *c, const uint64_t gear[256],
    const struct blob_file *f) PSC_MUST_USE;
/* Sets same by comparing bytes, which is quicker than hashing them.  May miss
 * some. */
enum err cuts_find_equal(struct cuts *c) PSC_MUST_USE;

/* --- blob_batch.c --- */
struct store *blob_batch_store(const struct blob_batch *b);
/* A chunk that waits in b. */
bool blob_batch_chunk(
    const struct blob_batch *b, const struct cry_id *cid, struct slice *out);

/* --- blob_chunk.c --- */
uint32_t blob_padded(uint32_t z_len); /* Padme */
enum err blob_entry_check(const struct blob_entry *e) PSC_MUST_USE;
/* A row of CHUNK. */
struct chunk_row {
	struct cry_id cid;
	struct store_loc loc;
	uint32_t refs;
	bool named;     /* by an op: it keeps its number when its bytes go */
	uint64_t since; /* wall ms: in the grace queue since; 0: not there */
};
/* By cid, or by number.  Segment 0: the chunk is not here. */
enum err blob_chunk_row(struct db_txn *txn, const struct cry_id *cid,
    uint64_t *no, struct chunk_row *out) PSC_MUST_USE;
enum err blob_chunk_row_no(
    struct db_txn *txn, uint64_t no, struct chunk_row *out) PSC_MUST_USE;
enum err blob_chunk_row_read(
    struct slice v, struct chunk_row *out) PSC_MUST_USE;
enum err blob_chunk_row_put(
    struct db_txn *txn, uint64_t no, const struct chunk_row *row) PSC_MUST_USE;
/* Where the chunk is. ERR_NOTFOUND. */
enum err blob_chunk_find(struct db_txn *txn, const struct cry_id *cid,
    struct store_loc *loc) PSC_MUST_USE;
/* What a plaintext hash is looked up as: a whole piece, or a part of a bundle;
 * and a bundle, by its cid.  Bundles hold what lay near each other on arrival,
 * so nothing that will be shared may ever be found as a part. */
enum blob_pidx { BLOB_PIDX_WHOLE, BLOB_PIDX_PART, BLOB_PIDX_BUNDLE };
/* Where a header lies that stands before a piece of pixels. */
struct blob_place {
	uint64_t no; /* of the chunk */
	uint8_t cid[8];
	uint32_t off;
	uint32_t raw_len; /* 0: not known */
};
struct blob_found {
	struct blob_entry e;
	uint32_t n_bases; /* what e, a delta, is told by */
	struct blob_entry base[BLOB_BASES_MAX];
	struct blob_place header[BLOB_FORMS]; /* e: pixels */
};
/* The entry stored for id, whose chunk and bases are here. */
enum err blob_pidx_find(struct store *s, struct db_txn *txn,
    const struct cry_id *id, enum blob_pidx kind,
    struct blob_found *out) PSC_MUST_USE;
/* The same, the entry alone. */
enum err blob_pidx_get(struct store *s, struct db_txn *txn,
    const struct cry_id *hp, enum blob_pidx kind,
    struct blob_entry *out) PSC_MUST_USE;
/* The entry of what lies at a place, without its hash.  ERR_NOTFOUND. */
enum err blob_pidx_place(struct store *s, struct db_txn *txn,
    const struct blob_place *at, struct blob_entry *out) PSC_MUST_USE;
/* The place of a part that others may be told by: raw_len 0 for one that is
 * told by others itself. */
enum err blob_place_of(struct db_txn *txn, const struct blob_entry *e,
    struct blob_place *out) PSC_MUST_USE;
/* As blob_entry_learn, with the rest.  again: even if it is known. */
enum err blob_found_learn(
    struct store_txn *t, const struct blob_found *f, bool again) PSC_MUST_USE;
/* As blob_chunk_get, but its cid is not checked: by the caller, over many. */
enum err blob_chunk_load(struct store *s, struct db_txn *txn,
    const struct cry_id *cid, struct buf *out) PSC_MUST_USE;
/* Where the chunk is: a new row, or a new place for one that is there; *was is
 * the old place, seg 0 if there was none. */
enum err blob_chunk_place(struct store_txn *t, const struct cry_id *cid,
    const struct store_loc *loc, struct store_loc *was) PSC_MUST_USE;
/* The row stays, its bytes are no longer here.  Writes row. */
enum err blob_chunk_gone(
    struct store_txn *t, uint64_t no, struct chunk_row *row) PSC_MUST_USE;
/* Chunk number no, whose row is removed too, is found no more. */
enum err blob_cidx_del(
    struct db_txn *txn, const struct cry_id *cid, uint64_t no) PSC_MUST_USE;
/* As blob_chunk_put, for ciphertext that was made here: not hashed again. */
enum err blob_chunk_store(struct store_txn *t, const struct cry_id *cid,
    struct slice ciphertext) PSC_MUST_USE;

/* --- blob_read.c --- */
/* Ciphertext to what the entry yields, all checks but the cid.  ERR_AUTH. */
enum err blob_open(struct store *s, const struct blob_entry *e, struct slice c,
    struct buf *out) PSC_MUST_USE;
/* Only down to Z, in z, which is empty. */
enum err blob_open_z(
    const struct blob_entry *e, struct slice c, struct buf *z) PSC_MUST_USE;
/* The same in two steps: the whole piece of a chunk, then a part of it, whose
 * hash is checked.  piece: e->p_len bytes of a checked entry. */
enum err blob_open_piece(struct store *s, const struct blob_entry *e,
    struct slice c, struct buf *out) PSC_MUST_USE;
enum err blob_open_part(const struct blob_entry *e, struct slice piece,
    struct buf *out) PSC_MUST_USE;

/* --- blob_reader.c --- */
/* The piece that e is a part or a base of; borrowed until two others were
 * asked for. */
enum err blob_reader_piece(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct slice *out) PSC_MUST_USE;

/* --- blob_manifest.c --- */
#define BLOB_ENTRY_BYTES 120u
#define BLOB_MANIFEST_HEADER 16u
/* Of a manifest inside another: one entry or more. */
static inline bool
blob_inner_len_valid(uint32_t n)
{
	return n > BLOB_MANIFEST_HEADER &&
	       (n - BLOB_MANIFEST_HEADER) % BLOB_ENTRY_BYTES == 0 &&
	       (n - BLOB_MANIFEST_HEADER) / BLOB_ENTRY_BYTES <=
		   LIM_MANIFEST_ENTRIES;
}
void blob_entry_put(struct buf *b, const struct blob_entry *e);
struct blob_entry blob_entry_read(struct rd *r);
/* The header. */
void blob_manifest_put(
    struct buf *out, uint32_t n, uint64_t raw_len, uint8_t depth);

/* --- blob_suspect.c; any thread --- */
void blob_suspect_note(struct store *s, const struct cry_id *cid);
bool blob_suspect(struct store *s, const struct cry_id *cid);

#endif
