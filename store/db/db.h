/* store/db/db.h: the index: one LMDB environment, its tables, transactions.
 *
 * The only door to lmdb.h.  Exactly one thread (the store's writer) opens
 * write transactions; any thread may open a read transaction, which must end
 * inside the same function or job (never across a wait).  Every value carries
 * a CRC-32C of key and value that db_get and cursors check (ERR_CORRUPT) and
 * strip.  Keys are 1..64 bytes and sort as bytes.  Values above
 * DB_VALUE_MAX are refused: big things live in segments. */
#ifndef PSC_DB_DB_H
#define PSC_DB_DB_H

#include "store/base/buf.h"

#define DB_KEY_MAX 64u
#define DB_VALUE_MAX 2048u

/* X(name, what): the whole list of tables; key layout in
 * docs/store-format.md. */
#define DB_TABLES(X)                                                           \
	X(META, "meta: format version, open segment, counters")                \
	X(CHUNK, "chunk number -> cid, location, references")                  \
	X(CIDX, "half a cid -> chunk number")                                  \
	X(PIDX, "keyed hash of plaintext -> sealed chunk descriptor")          \
	X(SEG, "segment number -> state, bytes, live bytes")                   \
	X(GRACE, "since, chunk number -> a chunk that nothing refers to")      \
	X(ROW, "local rows: table tag + key -> sealed value or location")      \
	X(OP, "share number, lseq -> op location and header fields")           \
	X(OPX, "feed number, seq -> lseq")                                     \
	X(OPID, "op id16 -> lseq")                                             \
	X(FEED, "feed number -> share, compartment, device, incarnation")      \
	X(FEEDX, "feed id16 -> feed number")                                   \
	X(HEAD, "feed number, seq -> signed head")                             \
	X(MLOG, "share number, seq -> membership record location")             \
	X(SHARE, "share id -> share number; number -> id")                     \
	X(ASSET, "asset number -> row")                                        \
	X(ASSETX, "asset id -> asset number")                                  \
	X(VERSION, "asset number, version -> row")                             \
	X(LAY, "asset number, version -> its images are still to be laid")     \
	X(CHILD, "parent asset number, child asset number")                    \
	X(FIELD, "asset number, field -> value")                               \
	X(FACT, "asset number, place, name, live or not, stamp -> edit")       \
	X(LINKX, "asset id linked to, asset number, name -> name")             \
	X(IX, "field, value prefix, asset number")                             \
	X(CREF, "chunk number, compartment, op -> here or missing")            \
	X(WANT, "chunk number, compartment that wants it")                     \
	X(HELD, "keyed hash of target and image -> vault items that have it")  \
	X(FILE, "keyed hash of target and path -> the file that was taken in") \
	X(AUDIT, "audit number -> hash-chained row")

enum db_table {
#define X(name, what) DB_##name,
	DB_TABLES(X)
#undef X
	    DB_TABLE_COUNT
};

struct db;     /* an open environment */
struct db_txn; /* a read or write transaction */
struct db_cur; /* a cursor in a transaction */

struct db_opts {
	const char *dir;      /* existing folder */
	size_t map_bytes;     /* reserved address space */
	size_t reserve_bytes; /* fallocated ahead of use (rulings.md 3) */
};

/* ERR_BUSY: another process has it open; ERR_CORRUPT; ERR_FULL; ERR_IO. */
enum err db_open(
    const struct db_opts *o, struct db **out, struct errmsg *em) PSC_MUST_USE;
void db_close(struct db *d); /* NULL ok; no transaction may be open */
/* Bytes the index takes on disk. */
uint64_t db_disk_bytes(const struct db *d);

enum err db_read(struct db *d, struct db_txn **out) PSC_MUST_USE;
/* Writer thread only.  ERR_FULL when the reserve cannot be had. */
enum err db_write(struct db *d, struct db_txn **out) PSC_MUST_USE;
/* A child of a write transaction: aborting it undoes only its own changes. */
enum err db_child(struct db_txn *parent, struct db_txn **out) PSC_MUST_USE;
/* From here to the commit a few rows (at most 32) are put whose room is kept
 * free all along: no ERR_FULL, however full it is. */
void db_ending(struct db_txn *t);
/* Durable when it returns ERR_OK (top level).  Frees t either way. */
enum err db_commit(struct db_txn *t) PSC_MUST_USE;
void db_abort(struct db_txn *t); /* NULL ok; ends reads too */

/* Are the pages of the index, as t (a read) sees them, whole trees?  deep:
 * reads the whole file; else its inner pages, which say how many leaves there
 * are and where: one page in fifty or so, and none but a leaf can hide keys
 * after it. ERR_CORRUPT; ERR_AGAIN: t is not the newest any more. */
enum err db_check(struct db_txn *t, bool deep) PSC_MUST_USE;

/* A moment, and whether every read that began before it has ended: what the
 * index no longer names is needed by nobody then.  Any thread. */
uint64_t db_reads_mark(struct db *d);
bool db_reads_over(struct db *d, uint64_t mark);

/* *val borrows the map until t ends or writes.  ERR_NOTFOUND, ERR_CORRUPT. */
enum err db_get(struct db_txn *t, enum db_table tab, struct slice key,
    struct slice *val) PSC_MUST_USE;
enum err db_put(struct db_txn *t, enum db_table tab, struct slice key,
    struct slice val) PSC_MUST_USE;
/* As db_put, but key must sort after every key there: the fast path. */
enum err db_append(struct db_txn *t, enum db_table tab, struct slice key,
    struct slice val) PSC_MUST_USE;
enum err db_del(struct db_txn *t, enum db_table tab,
    struct slice key) PSC_MUST_USE; /* ERR_NOTFOUND */
enum err db_count(
    struct db_txn *t, enum db_table tab, uint64_t *out) PSC_MUST_USE;

/* Cursors: position with seek (first key >= key), walk with next.  A prefix
 * limits the walk: keys that do not start with it end it (ERR_NOTFOUND). */
enum err db_cur_open(struct db_txn *t, enum db_table tab, struct slice prefix,
    struct db_cur **out) PSC_MUST_USE;
void db_cur_close(struct db_cur *c); /* NULL ok; before its txn ends */
enum err db_cur_seek(struct db_cur *c, struct slice key, struct slice *k,
    struct slice *v) PSC_MUST_USE;
enum err db_cur_next(
    struct db_cur *c, struct slice *k, struct slice *v) PSC_MUST_USE;
/* The last key that starts with the prefix. */
enum err db_cur_last(
    struct db_cur *c, struct slice *k, struct slice *v) PSC_MUST_USE;

/* One map from LMDB's codes to ours. */
enum err db_err(int rc);

#endif
