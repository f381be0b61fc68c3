/* store/db/db_check.c: is the index file a whole set of trees?
 *
 * LMDB keeps no checksum of its pages and believes them; ours are in the
 * values only.  So before LMDB is let on a file, and in verify, the pages are
 * looked at here, by reads and not through the map, every number bounded:
 * each page says its own number and kind, its nodes lie inside it, keys rise
 * within a page and stay between those of the page above, a page is used
 * once, and each tree has the depth and the counts that its root tells.  So a
 * search finds each key that a walk meets, and a walk meets all of them.
 *
 * A transaction number that rotted would bring back an older state: the two
 * root pages are neighbours in time, and the free list of a state names no
 * later one.  Layout: lmdb 0.9, 64 bits, little-endian (docs/store-format.md).
 * Failure modes: what does not fit is ERR_CORRUPT; a failed read ERR_IO. */
#include "store/db/db_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define HEAD 16u
#define NODE 8u
#define TREE 48u
#define DEPTH_MAX 32u
#define IS_BRANCH 1u
#define IS_LEAF 2u
#define IS_OVERFLOW 4u
#define IS_META 8u
#define INTEGER_KEY 8u
#define NO_FOLDER 0x4000u /* how LMDB was told the path at birth */
#define NODE_BIG 1u
#define NODE_TREE 2u
#define NO_ROOT UINT64_MAX
#define META_MAGIC 0xbeefc0deu

struct tree {
	uint64_t flags, depth, branches, leaves, overflows, entries, root;
};

struct root {
	struct tree free, main;
	uint64_t last, txn;
};

struct check {
	int fd;
	struct root root;
	uint8_t *seen; /* a bit for each page */
	bool tables;   /* the tables too, not only their list */
	bool inner;    /* of the tables their inner pages only */
};

/* One tree being walked. */
struct tree_walk {
	struct check *c;
	struct tree want, met;
	bool free;    /* keys are transaction numbers */
	bool list;    /* values are trees */
	bool counted; /* leaves are counted, not read */
};

static uint64_t
le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static enum err
page_read(const struct check *c, uint64_t no, uint8_t out[PAGE])
{
	ssize_t n;

	do {
		n = pread(c->fd, out, PAGE, (off_t)(no * PAGE));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return ERR_IO;
	return (size_t)n == PAGE ? ERR_OK : ERR_CORRUPT;
}

/* --- the two root pages --- */

static struct tree
tree_read(const uint8_t *p)
{
	return (struct tree){ .flags = le(p + 4, 2),
		.depth = le(p + 6, 2),
		.branches = le(p + 8, 8),
		.leaves = le(p + 16, 8),
		.overflows = le(p + 24, 8),
		.entries = le(p + 32, 8),
		.root = le(p + 40, 8) };
}

static enum err
root_read(const struct check *c, unsigned which, struct root *out)
{
	uint8_t p[PAGE];
	enum err e = page_read(c, which, p);
	const uint8_t *m = p + HEAD, *trees = m + 24,
		      *end = trees + TREE + TREE;

	if (e != ERR_OK)
		return e;
	out->free = tree_read(trees);
	out->main = tree_read(trees + TREE);
	out->last = le(end, 8);
	out->txn = le(end + 8, 8);
	if (le(p, 8) != which || le(p + 10, 2) != IS_META ||
	    le(m, 4) != META_MAGIC || le(m + 4, 4) != 1 || le(m + 8, 8) != 0 ||
	    le(m + 24, 4) != PAGE || out->last < 1)
		return ERR_CORRUPT;
	return ERR_OK;
}

/* --- a tree --- */

static enum err
page_take(struct check *c, uint64_t no)
{
	uint8_t bit;

	if (no < 2 || no > c->root.last)
		return ERR_CORRUPT;
	bit = (uint8_t)(1u << no % 8);
	if ((c->seen[no / 8] & bit) != 0)
		return ERR_CORRUPT;
	c->seen[no / 8] |= bit;
	return ERR_OK;
}

struct node {
	struct slice key;
	const uint8_t *data;
	uint64_t n;    /* bytes of the value */
	uint64_t page; /* branch: below; big: where the value lies */
	unsigned flags;
};

static enum err
node_read(const uint8_t *p, unsigned i, struct node *out)
{
	size_t at = (size_t)le(p + HEAD + 2 * (size_t)i, 2);
	bool leaf = (le(p + 10, 2) & IS_LEAF) != 0;
	size_t key_n;

	if (at < le(p + 14, 2) || at + NODE > PAGE)
		return ERR_CORRUPT;
	key_n = (size_t)le(p + at + 6, 2);
	if (key_n > DB_KEY_MAX || at + NODE + key_n > PAGE)
		return ERR_CORRUPT;
	out->key = slice_of(p + at + NODE, key_n);
	out->data = p + at + NODE + key_n;
	if (!leaf) {
		out->page = le(p + at, 6);
		return ERR_OK;
	}
	out->n = le(p + at, 4);
	out->flags = (unsigned)le(p + at + 4, 2);
	if ((out->flags & ~(NODE_BIG | NODE_TREE)) != 0)
		return ERR_CORRUPT;
	key_n = at + NODE + key_n;
	if ((out->flags & NODE_BIG) == 0)
		return out->n <= PAGE - key_n ? ERR_OK : ERR_CORRUPT;
	if (key_n + 8 > PAGE)
		return ERR_CORRUPT;
	out->page = le(out->data, 8);
	return ERR_OK;
}

static enum err
overflow_check(struct tree_walk *w, const struct node *n)
{
	uint64_t pages = (HEAD + n->n + PAGE - 1) / PAGE, i;
	uint8_t p[PAGE];
	enum err e = ERR_OK;

	for (i = 0; i < pages && e == ERR_OK; i++)
		e = page_take(w->c, n->page + i);
	if (e == ERR_OK)
		e = page_read(w->c, n->page, p);
	if (e == ERR_OK &&
	    (le(p, 8) != n->page || le(p + 10, 2) != IS_OVERFLOW ||
		le(p + 12, 4) != pages))
		e = ERR_CORRUPT;
	w->met.overflows += pages;
	return e;
}

static enum err tree_check(
    struct check *c, const struct tree *t, bool free, bool list);

static enum err
leaf_check(struct tree_walk *w, const struct node *n)
{
	struct tree below;
	enum err e = ERR_OK;

	w->met.entries++;
	if ((n->flags & NODE_BIG) != 0)
		e = overflow_check(w, n);
	if (e != ERR_OK)
		return e;
	if (w->free)
		return n->key.n == 8 && le(n->key.p, 8) <= w->c->root.txn
			   ? ERR_OK
			   : ERR_CORRUPT;
	if (w->list != ((n->flags & NODE_TREE) != 0))
		return ERR_CORRUPT;
	if (!w->list)
		return ERR_OK;
	if (n->n != TREE)
		return ERR_CORRUPT;
	below = tree_read(n->data);
	return w->c->tables ? tree_check(w->c, &below, false, false) : ERR_OK;
}

static int
key_cmp(const struct tree_walk *w, struct slice a, struct slice b)
{
	uint64_t x, y;

	if (!w->free || a.n != 8 || b.n != 8)
		return slice_cmp(a, b);
	x = le(a.p, 8);
	y = le(b.p, 8);
	return x < y ? -1 : x > y;
}

/* Keys of a page: at least from (NULL: none), below to (NULL: none). */
struct range {
	const struct slice *from, *to;
};

static enum err page_check(
    struct tree_walk *w, uint64_t no, unsigned depth, struct range r);

static enum err
branch_check(struct tree_walk *w, const uint8_t *p, unsigned i, unsigned count,
    unsigned depth, struct range r)
{
	struct node n = { .page = 0 }, next = { .page = 0 };
	struct range below = r;
	enum err e = node_read(p, i, &n);

	if (e != ERR_OK)
		return e;
	if (i > 0)
		below.from = &n.key;
	if (i + 1 < count) {
		if ((e = node_read(p, i + 1, &next)) != ERR_OK)
			return e;
		below.to = &next.key;
	}
	return page_check(w, n.page, depth + 1, below);
}

static enum err
nodes_check(
    struct tree_walk *w, const uint8_t *p, unsigned depth, struct range r)
{
	unsigned count = (unsigned)((le(p + 12, 2) - HEAD) / 2), i;
	bool leaf = depth == w->want.depth;
	struct node n = { .page = 0 }, before = { .page = 0 };
	enum err e = ERR_OK;

	for (i = 0; i < count && e == ERR_OK; i++) {
		e = node_read(p, i, &n);
		/* the first key of a branch is not looked at by a search */
		if (e == ERR_OK && (leaf || i > 0)) {
			if ((r.from != NULL &&
				key_cmp(w, n.key, *r.from) < 0) ||
			    (r.to != NULL && key_cmp(w, n.key, *r.to) >= 0) ||
			    (i > (leaf ? 0u : 1u) &&
				key_cmp(w, before.key, n.key) >= 0))
				e = ERR_CORRUPT;
		}
		before = n;
		if (e == ERR_OK)
			e = leaf ? leaf_check(w, &n)
				 : branch_check(w, p, i, count, depth, r);
	}
	return e;
}

static enum err
page_check(struct tree_walk *w, uint64_t no, unsigned depth, struct range r)
{
	bool leaf = depth == w->want.depth;
	uint8_t *p;
	uint64_t lower, upper;
	enum err e;

	if ((e = page_take(w->c, no)) != ERR_OK)
		return e;
	if (leaf && w->counted) {
		w->met.leaves++;
		return ERR_OK;
	}
	if ((p = mem_new(PAGE)) == NULL)
		return ERR_NOMEM;
	if ((e = page_read(w->c, no, p)) != ERR_OK)
		goto out;
	lower = le(p + 12, 2);
	upper = le(p + 14, 2);
	*(leaf ? &w->met.leaves : &w->met.branches) += 1;
	if (le(p, 8) != no || le(p + 10, 2) != (leaf ? IS_LEAF : IS_BRANCH) ||
	    lower <= HEAD || lower % 2 != 0 || lower > upper || upper > PAGE)
		e = ERR_CORRUPT;
	else
		e = nodes_check(w, p, depth, r);
out:
	mem_free(p);
	return e;
}

static enum err
tree_check(struct check *c, const struct tree *t, bool free, bool list)
{
	struct tree_walk w = { .c = c,
		.want = *t,
		.free = free,
		.list = list,
		.counted = c->inner && !free && !list };
	enum err e = ERR_OK;

	if ((t->flags & ~NO_FOLDER) != (free ? INTEGER_KEY : 0) ||
	    t->depth > DEPTH_MAX || (t->depth == 0) != (t->root == NO_ROOT))
		return ERR_CORRUPT;
	if (t->depth > 0)
		e = page_check(&w, t->root, 1, (struct range){ NULL, NULL });
	if (e != ERR_OK)
		return e;
	if (w.met.leaves != t->leaves || w.met.branches != t->branches)
		return ERR_CORRUPT;
	if (!w.counted &&
	    (w.met.entries != t->entries || w.met.overflows != t->overflows))
		return ERR_CORRUPT;
	return ERR_OK;
}

/* One state: its free list and its tables. */
static enum err
state_check(struct check *c)
{
	struct stat st;
	enum err e;

	if (fstat(c->fd, &st) != 0)
		return ERR_IO;
	if ((uint64_t)st.st_size / PAGE <= c->root.last)
		return ERR_CORRUPT;
	c->seen = mem_array((size_t)(c->root.last / 8 + 1), 1);
	if (c->seen == NULL)
		return ERR_NOMEM;
	e = tree_check(c, &c->root.free, true, false);
	if (e == ERR_OK)
		e = tree_check(c, &c->root.main, false, true);
	mem_free(c->seen);
	c->seen = NULL;
	return e;
}

/* --- from outside --- */

enum err
db_check_roots(int fd)
{
	struct check c = { .fd = fd };
	struct root a, b;
	enum err e;

	if ((e = root_read(&c, 0, &a)) != ERR_OK ||
	    (e = root_read(&c, 1, &b)) != ERR_OK)
		return e;
	if (a.txn == 0 && b.txn == 0)
		return ERR_OK; /* nothing was ever written */
	if (a.txn % 2 != 0 || b.txn % 2 != 1 ||
	    (a.txn > b.txn ? a.txn - b.txn : b.txn - a.txn) != 1 ||
	    (a.txn > b.txn ? a.last < b.last : b.last < a.last))
		return ERR_CORRUPT;
	c.root = a;
	if ((e = state_check(&c)) != ERR_OK)
		return e;
	c.root = b;
	return state_check(&c);
}

enum err
db_check(struct db_txn *t, bool deep)
{
	struct check c = { .tables = true, .inner = !deep };
	struct root r[2];
	enum err e[2];
	unsigned i;

	if (mdb_env_get_fd(t->d->env, &c.fd) != 0)
		return ERR_IO;
	for (i = 0; i < 2; i++)
		e[i] = root_read(&c, i, &r[i]);
	for (i = 0; i < 2; i++) {
		if (e[i] != ERR_OK || r[i].txn != mdb_txn_id(t->t))
			continue;
		c.root = r[i];
		return state_check(&c);
	}
	/* two commits came between: their root pages took the place */
	return e[0] != ERR_OK ? e[0] : e[1] != ERR_OK ? e[1] : ERR_AGAIN;
}
