/* store/blob/blob.h: content: files split into pieces, pieces stored as
 * content-addressed encrypted chunks, and the manifests that list them.
 *
 *   piece P -> Z = codec(P) -> ck = BLAKE2b(key = convergence, codec | Z)
 *   -> C = ChaCha20-Poly1305(ck, nonce 0, pad Z) -> cid = BLAKE2b-256(C)
 *
 * protocol.md section 7; rulings.md 4, 23.  Codecs: none, zstd, shuffle +
 * zstd, wave (docs/store-format.md). */
#ifndef PSC_BLOB_BLOB_H
#define PSC_BLOB_BLOB_H

#include "store/base/limits.h"
#include "store/blob/store.h"

enum blob_codec {
	BLOB_RAW = 0,
	BLOB_ZSTD = 1,
	BLOB_SHUFFLE2_ZSTD = 2, /* bytes of 16-bit samples apart, then zstd */
	BLOB_SHUFFLE4_ZSTD = 3,
	BLOB_WAVE = 5,  /* rows of samples: wave.h */
	BLOB_DELTA = 6, /* a bundle, told by what others have of it */
};

/* Manifest entry: fixed 120-byte layout in docs/store-format.md.  It yields
 * bytes [off, off + raw_len) of the piece P that its chunk holds.  A whole
 * piece: off 0, raw_len = p_len; a part: one of several small things that
 * were bundled into one piece; a base: nothing (raw_len 0, hp zero), but
 * another bundle of the same manifest cannot be decoded without it. */
struct blob_entry {
	struct cry_id cid;
	struct cry_key ck;
	struct cry_id hp; /* BLAKE2b-256 of the bytes it yields */
	uint32_t z_len;   /* of the coded piece */
	uint32_t p_len;   /* of the piece */
	uint32_t c_len;   /* ciphertext, padding and tag included */
	uint32_t off;
	uint32_t raw_len;
	uint8_t codec;
	uint16_t row; /* 0 */
};

static inline bool
blob_entry_is_part(const struct blob_entry *e)
{
	return e->raw_len != e->p_len || e->codec == BLOB_DELTA;
}

static inline bool
blob_entry_is_base(const struct blob_entry *e)
{
	return e->raw_len == 0;
}

/* How a piece is to be cut out of a file and coded. */
struct blob_piece {
	uint64_t off;
	uint64_t len;
	uint8_t bits; /* 8, 16, 32 or 0: unknown */
	uint16_t w;   /* samples a row, 0 unknown */
	bool apart;   /* never in a bundle: pixels that are coded already */
};

/* --- writing content --- */
/* A batch of files prepared off the writer thread (cut, hash, look up,
 * compress, encrypt), then put by a job.  Chunks already in the store carry no
 * bytes.  One thread at a time uses a batch; several batches at once are
 * fine.  Content above BLOB_HELD_MAX is written by jobs of its own while a
 * batch grows (not from the writer thread): chunks that nothing names. */
#define BLOB_HELD_MAX (16 * MIB)
#define BLOB_FORMS 2u
struct blob_batch;
struct blob_batch *blob_batch_new(struct store *s); /* NULL: no memory */
void blob_batch_free(struct blob_batch *b);         /* NULL ok */

/* One file, alone; its manifest is ready at once and is appended to
 * *manifest_out.  Every piece has a chunk of its own, so the manifest may be
 * shared.  The plan must tile [0, file.n) exactly (ERR_MALFORMED); its pieces
 * above LIM_PIECE_BYTES are cut at rows, those above 1 MiB of no known layout
 * (bits 0) by content; n_plan 0: split by content (FastCDC, below 64 KiB
 * whole).  The batch re-joins and compares before it answers.
 * When it fails, pieces already prepared stay in the batch; that does no harm.
 */
enum err blob_batch_add(struct blob_batch *b, struct slice file,
    const struct blob_piece *plan, uint32_t n_plan,
    struct buf *manifest_out) PSC_MUST_USE;

/* Several files at once: quicker, and small.  All their hashes are one
 * many-lane pass; a piece that one of them has in common with another is
 * hashed and coded once; small pieces of no known sample layout
 * (headers, small files) are gathered into bundles that compress together.
 *
 *   struct blob_file f[2] = { { .bytes = original, .plan = p, .n_plan = n },
 *                             { .bytes = deid, ... } };
 *   blob_batch_add_many(b, f, 2);        f[i].hash, f[i].no are set
 *   ... more of it ...
 *   blob_batch_seal(b);                  ends the bundle
 *   blob_batch_manifest(b, f[0].no, &m);
 *   store_write(s, job that calls blob_batch_put, ...);
 *
 * A bundle mixes files: whoever holds an entry can read all of it.  So files
 * whose manifest will be shared are added apart.
 *
 * A header whose pixels (the first piece that is apart) are stored already
 * beside another header is an edited one, most likely.  A bundle of such
 * headers is told by what it has in common with the bundles of their former
 * versions (blob_delta.c): its entries' manifests name these too, as bases. */
struct blob_file {
	struct slice bytes;            /* borrowed until the call returns */
	const struct blob_piece *plan; /* as above */
	uint32_t n_plan;
	bool apart;         /* no bundles: the manifest may be shared */
	bool has_hash;      /* hash is known and not computed again */
	uint8_t form;       /* below BLOB_FORMS: which of the headers that
			       stand before the same pixels this one is */
	struct cry_id hash; /* BLAKE2b-256 of bytes */
	uint32_t no;        /* out: for blob_batch_manifest */
};
enum err blob_batch_add_many(
    struct blob_batch *b, struct blob_file *files, uint32_t n) PSC_MUST_USE;
/* Ends the open bundle; more files may follow, and another seal. */
enum err blob_batch_seal(struct blob_batch *b) PSC_MUST_USE;
/* Appends the encoded manifest of file no; after blob_batch_seal. */
enum err blob_batch_manifest(
    struct blob_batch *b, uint32_t no, struct buf *out) PSC_MUST_USE;

/* In a job, after blob_batch_seal if blob_batch_add_many was used: write the
 * new chunks and index them; those that came in since are skipped.  The batch
 * has a lease (gc.h) while it lives; ERR_AGAIN: a chunk it counts on is not
 * here, prepare the files again. */
enum err blob_batch_put(struct store_txn *t, struct blob_batch *b) PSC_MUST_USE;
uint64_t blob_batch_new_bytes(const struct blob_batch *b); /* ciphertext */
/* Memory that waits to be put: seal and put before it is much above
 * BLOB_HELD_MAX. */
uint64_t blob_batch_held(const struct blob_batch *b);

/* --- manifests: an ordered list of entries that joins to one file --- */
/* depth 0: entries are pieces of the file.  Above LIM_MANIFEST_ENTRIES pieces
 * entries yield encoded manifests of depth - 1, up to LIM_MANIFEST_DEPTH. */
struct blob_manifest {
	struct blob_entry *e;
	uint32_t n;
	uint8_t depth;
	uint64_t raw_len; /* of the file */
};
enum err blob_manifest_encode(
    const struct blob_manifest *m, struct buf *out) PSC_MUST_USE;
/* Bounded: LIM_MANIFEST_ENTRIES.  Free with blob_manifest_fini. */
enum err blob_manifest_decode(
    struct slice in, struct blob_manifest *out) PSC_MUST_USE;
void blob_manifest_fini(struct blob_manifest *m);

/* --- reading --- */
/* Decrypted, decoded and checked against hp; appended to out.  Not for
 * BLOB_DELTA, which blob_reader reads: ERR_AUTH.
 * ERR_NOTFOUND: chunk not here; ERR_CORRUPT: bytes on disk are wrong;
 * ERR_AUTH: the chunk is right but the entry lies. */
enum err blob_read(struct store *s, struct db_txn *txn,
    const struct blob_entry *e, struct buf *out) PSC_MUST_USE;

/* The same for many entries: keeps the last bundles it decoded, so that
 * neighbours in a bundle cost one decoding.  One thread at a time. */
struct blob_reader;
struct blob_reader *blob_reader_new(struct store *s); /* NULL: no memory */
/* Sees the chunks of b too, before they are put; b outlives it. */
struct blob_reader *blob_reader_over(struct blob_batch *b);
void blob_reader_free(struct blob_reader *r); /* NULL ok */
/* txn NULL: a short one of its own. */
enum err blob_reader_read(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct buf *out) PSC_MUST_USE;
/* Several entries at once, whose hashes are then many-lane passes: each is
 * read as by blob_reader_read and has an error of its own.  Several may append
 * to one out, in their order; one that failed spoils it.
 * Memory: the ciphertexts of BLOB_MANY entries. */
#define BLOB_MANY 8u
struct blob_want {
	const struct blob_entry *e;
	struct buf *out;
	enum err err; /* out */
};
void blob_reader_many(struct blob_reader *r, struct blob_want *w, uint32_t n);
/* Calls fn with every entry of m in order, inner manifests first and then
 * what they hold.  depth 0: a piece of the file.  Stops at an error of fn.
 * Memory: one manifest a level. */
typedef enum err (*blob_entry_fn)(
    void *ctx, const struct blob_entry *e, uint8_t depth);
enum err blob_reader_each(struct blob_reader *r, struct db_txn *txn,
    const struct blob_manifest *m, blob_entry_fn fn, void *ctx) PSC_MUST_USE;

/* The whole file of a manifest, appended to out (out->max bounds it). */
enum err blob_join(struct store *s, const struct blob_manifest *m,
    struct buf *out) PSC_MUST_USE;
/* Calls fn with consecutive parts: bounded memory for files of any size. */
typedef enum err (*blob_part_fn)(void *ctx, struct slice part);
enum err blob_stream(struct store *s, const struct blob_manifest *m,
    blob_part_fn fn, void *ctx) PSC_MUST_USE;

/* --- chunks as replication sees them: ciphertext by cid --- */
enum err blob_chunk_have(struct db_txn *txn,
    const struct cry_id *cid) PSC_MUST_USE; /* ERR_OK or ERR_NOTFOUND */
/* Ciphertext, checked against cid before it is given out. ERR_CORRUPT. */
enum err blob_chunk_get(struct store *s, struct db_txn *txn,
    const struct cry_id *cid, struct buf *out) PSC_MUST_USE;
/* In a job: store a received chunk.  cid is checked: ERR_AUTH.  A chunk
 * that is here already is not an error: ERR_OK, and nothing is written. */
enum err blob_chunk_put(struct store_txn *t, const struct cry_id *cid,
    struct slice ciphertext) PSC_MUST_USE;
/* In a job: the chunk's bytes on disk are wrong; it is treated as one that is
 * not here until it is stored again, and keeps its references.  *c_len: how
 * long it was.  ERR_EXISTS: it is sound; ERR_NOTFOUND. */
enum err blob_chunk_lose(struct store_txn *t, const struct cry_id *cid,
    uint32_t *c_len) PSC_MUST_USE;
/* In a job: the number of a chunk that an op names, here or not; it is given
 * at first sight, in order, and the chunk keeps it from now on.  c_len: what
 * the op says.  Numbers are local, and others after a rebuild. */
enum err blob_chunk_name(struct store_txn *t, const struct cry_id *cid,
    uint32_t c_len, uint64_t *no, bool *here) PSC_MUST_USE;
enum err blob_chunk_number(struct db_txn *txn, const struct cry_id *cid,
    uint64_t *no) PSC_MUST_USE; /* ERR_NOTFOUND */
enum err blob_chunk_numbered(struct db_txn *txn, uint64_t no,
    struct cry_id *cid, bool *here) PSC_MUST_USE; /* ERR_NOTFOUND */
/* Was a chunk found damaged since the store was opened?  Any thread. */
bool blob_any_suspect(struct store *s);
/* ERR_CORRUPT: a chunk of the manifest was found damaged and is, or is not
 * here. Reads such chunks again, and inner manifests. */
enum err blob_manifest_sound(
    struct store *s, struct db_txn *t, struct slice manifest) PSC_MUST_USE;
/* Learn plaintext hash -> chunk for content that came from elsewhere, so
 * that the same bytes received here dedup against it.  ERR_NOTFOUND: the
 * chunk is not here. */
enum err blob_entry_learn(
    struct store_txn *t, const struct blob_entry *e) PSC_MUST_USE;

/* The same for every entry of a manifest whose chunk is here.  proven: this
 * node made it and has proven it then; else each entry is opened first and
 * left out if its bytes do not have its hash.  One that is believed without
 * would stand for bytes that an import then does not store. */
enum err blob_manifest_learn(
    struct store_txn *t, struct slice manifest, bool proven) PSC_MUST_USE;

/* --- a value of many alike parts, compressed (blob_pack.c) --- */
/* Appends to out. */
enum err blob_pack(struct slice in, struct buf *out) PSC_MUST_USE;
/* The bytes again, appended to out, whose max bounds them: ERR_LIMIT,
 * ERR_NOMEM; ERR_MALFORMED: not made by blob_pack. */
enum err blob_unpack(struct slice in, struct buf *out) PSC_MUST_USE;

#endif
