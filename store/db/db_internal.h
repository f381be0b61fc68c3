/* store/db/db_internal.h: what the files of the index room share. */
#ifndef PSC_DB_DB_INTERNAL_H
#define PSC_DB_DB_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/db/db.h"

/* Each stored value starts with CRC-32C(key, value), little-endian. */
#define DB_CRC_BYTES 4u

/* Pages one change may touch, for the space reserve: a random key copies its
 * leaf and may split it, an appended key mostly fills the last page. */
#define DB_COST_RANDOM ((uint64_t)12288)
#define DB_COST_APPEND ((uint64_t)512)
/* Always kept beyond the estimate: free-page lists, root pages. */
#define DB_SLACK ((uint64_t)1 << 20)

struct db {
	MDB_env *env;
	MDB_dbi dbi[DB_TABLE_COUNT];
	int lock_fd;
	uint64_t map_bytes;
	uint64_t reserve_bytes;
	uint64_t allocated; /* bytes of the file that surely have blocks */
	pthread_mutex_t reads_lock;
	uint64_t reads_begun;
	struct db_txn *read_first, *read_last; /* in order of their begin */
	/* of the open write transaction (writer thread only) */
	uint64_t base; /* bytes in use when it began */
	uint64_t cost; /* estimate of what it adds */
	bool ending;   /* what is still put is paid for by DB_SLACK */
};

struct db_txn {
	struct db *d;
	MDB_txn *t;
	bool write;
	uint64_t cost; /* d->cost when it began: what is undone costs nothing */
	/* a read: its number, from 1, and its neighbours */
	uint64_t no;
	struct db_txn *prev, *next;
};

struct db_cur {
	struct db_txn *txn;
	MDB_cursor *c;
	bool placed;
	size_t prefix_n;
	uint8_t prefix[DB_KEY_MAX];
};

/* Makes sure that need bytes beyond d->base can be written: ERR_FULL. */
enum err db_space_reserve(struct db *d, uint64_t need) PSC_MUST_USE;
/* Checks the checksum of a stored value and strips it: ERR_CORRUPT. */
enum err db_value_open(
    struct slice key, const MDB_val *stored, struct slice *val) PSC_MUST_USE;

/* The part that is looked at before LMDB opens the file of fd: both root
 * pages, their free lists and their lists of tables.  ERR_CORRUPT. */
enum err db_check_roots(int fd) PSC_MUST_USE;

#endif
