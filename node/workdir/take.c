/* node/workdir/take.c: from files to content.
 *
 * Happy path: a file is copied into an unnamed file of the node's home while
 * it is hashed, so that what is checked, split and committed are the same
 * bytes whatever its owner does meanwhile; the gate looks at the copy; its
 * pieces go into the batch.  Files of the version before that did not change
 * are taken over by reference.
 * Failure: other bytes than the walk saw, or another file in its place, are
 * ERR_AGAIN with the name; nothing was committed. */
#include "node/workdir/checkin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/imaging/plan.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define COPY_BYTES (256 * KIB)
#define BODY_BYTES (2 * MIB)      /* of a manifest */
#define PLAN_BYTES_MIN (64 * KIB) /* less is one piece anyway */

static enum err
file_says(const struct checkin *k, const struct ci_file *f, enum err e)
{
	if (e == ERR_AGAIN)
		return errmsg_set(k->em, e,
		    "Check in again once your program is done.",
		    "%.80s/%.100s changed while it was read", f->folder,
		    f->name);
	return errmsg_set(k->em, e, "Check the file and the node's disk.",
	    "%.80s/%.100s cannot be taken in: %s", f->folder, f->name,
	    err_text(e));
}

/* A file without a name: gone when it is closed, or the node is. */
enum err
ci_spool_new(const char *home, int *out)
{
	char path[4200];
	int fd = open(home, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		(void)snprintf(path, sizeof(path), "%s/.checkin-XXXXXX", home);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			(void)unlink(path);
	}
	if (fd < 0)
		return wd_errno(errno);
	*out = fd;
	return ERR_OK;
}

enum err
ci_spool_write(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno != EINTR)
			return wd_errno(errno);
		if (n > 0)
			s = slice_of(s.p + n, s.n - (size_t)n);
	}
	return ERR_OK;
}

static enum err
spool_copy(int from, int to, uint64_t max, struct cry_id *hash)
{
	uint8_t *room = mem_new(COPY_BYTES);
	struct cry_hasher h;
	uint64_t total = 0;
	enum err e = room == NULL ? ERR_NOMEM : ERR_OK;

	cry_hasher_init(&h);
	while (e == ERR_OK) {
		ssize_t n = read(from, room, COPY_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = wd_errno(errno);
		if (n <= 0)
			break;
		total += (uint64_t)n;
		if (total > max)
			e = ERR_AGAIN;
		cry_hasher_add(&h, slice_of(room, (size_t)n));
		if (e == ERR_OK)
			e = ci_spool_write(to, slice_of(room, (size_t)n));
	}
	cry_hasher_end(&h, hash);
	mem_free(room);
	return e;
}

/* The copy of a file, hash and place as the walk saw them. */
static enum err
file_spool(struct checkin *k, struct ci_file *f, int *spool)
{
	struct stat after;
	struct cry_id hash;
	int folder = -1, fd = -1;
	enum err e = wd_folder_open(k->dir, f->folder, &folder);

	if (e == ERR_OK)
		e = wd_file_open(folder, f->name, &fd, &f->st);
	if (e == ERR_OK)
		e = ci_spool_new(k->env->home, spool);
	if (e == ERR_OK)
		e = spool_copy(fd, *spool, f->bytes, &hash);
	if (e == ERR_OK && fstat(fd, &after) != 0)
		e = wd_errno(errno);
	if (e == ERR_OK && (!wd_stat_same(&f->st, &after) ||
			       memcmp(&hash, &f->hash, sizeof(hash)) != 0))
		e = ERR_AGAIN;
	if (fd >= 0)
		(void)close(fd);
	if (folder >= 0)
		(void)close(folder);
	return e == ERR_NOTFOUND ? ERR_AGAIN : e;
}

/* Where to cut: at the slices of a NIfTI file, else by content (*n 0). */
static enum err
file_plan(struct slice file, struct blob_piece **out, uint32_t *n)
{
	struct img_piece *p = mem_array(IMG_PIECES_MAX, sizeof(*p));
	struct blob_piece *b = mem_array(IMG_PIECES_MAX, sizeof(*b));
	uint32_t i;

	*n = 0;
	if (p == NULL || b == NULL) {
		mem_free(p);
		mem_free(b);
		return ERR_NOMEM;
	}
	if (plan_nifti(file, p, IMG_PIECES_MAX, n) != ERR_OK)
		*n = 0;
	for (i = 0; i < *n; i++)
		b[i] = (struct blob_piece){ .off = p[i].off,
			.len = p[i].len,
			.bits = p[i].kind == IMG_P_FRAME ? p[i].bits : 0,
			.w = p[i].w };
	mem_free(p);
	*out = b;
	return ERR_OK;
}

static enum err
file_pieces(
    struct checkin *k, const struct ci_file *f, int spool, struct buf *body)
{
	struct blob_piece *plan = NULL;
	struct slice file = { 0 };
	uint32_t n = 0;
	void *p;
	enum err e;

	if (f->bytes == 0)
		return ERR_OK;
	p = mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_PRIVATE, spool, 0);
	if (p == MAP_FAILED)
		return wd_errno(errno);
	file = slice_of(p, (size_t)f->bytes);
	e = file.n < PLAN_BYTES_MIN ? ERR_OK : file_plan(file, &plan, &n);
	if (e == ERR_OK)
		e = blob_batch_add(k->batch, file, plan, n, body);
	mem_free(plan);
	(void)munmap(p, (size_t)f->bytes);
	return e;
}

static enum err
entry_add(struct ci_group *g, const char *name, uint64_t bytes,
    const struct cry_id *hash)
{
	return wd_file_add(&g->entry, name, bytes, hash);
}

static enum err
take_file(struct checkin *k, struct ci_group *g, struct content_writer *w,
    struct ci_file *f)
{
	struct content_add add = {
		.name = f->name, .len = f->bytes, .hash = f->hash
	};
	struct buf body = BUF_MAX(BODY_BYTES);
	int spool = -1;
	enum err e = file_spool(k, f, &spool);

	if (e != ERR_OK) {
		(void)file_says(k, f, e);
		goto out;
	}
	if ((e = ci_gate(k, g, f, spool)) != ERR_OK)
		goto out;
	e = file_pieces(k, f, spool, &body);
	add.body = buf_slice(&body);
	if (e == ERR_OK)
		e = content_writer_add(w, &add);
	if (e == ERR_OK)
		e = entry_add(g, f->name, f->bytes, &f->hash);
	if (e != ERR_OK)
		(void)file_says(k, f, e);
	k->done_files++;
	k->done_bytes += f->bytes;
	if (e == ERR_OK &&
	    k->fns->progress(k->fns->ctx, k->done_files, k->done_bytes) != 0)
		e = ERR_CANCELLED;
out:
	if (spool >= 0)
		(void)close(spool);
	buf_fini(&body);
	return e;
}

/* --- a version of what was there --- */

static int
by_name(const void *a, const void *b)
{
	const struct ci_file *const *x = a;
	const struct ci_file *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

struct mine { /* the files of one group, sorted by name */
	struct ci_file **f;
	uint32_t n;
};

static enum err
mine_of(struct checkin *k, uint32_t group, struct mine *out)
{
	uint32_t i;

	out->n = 0;
	out->f = mem_array((size_t)k->n + 1, sizeof(struct ci_file *));
	if (out->f == NULL)
		return ERR_NOMEM;
	for (i = 0; i < k->n; i++) {
		if (k->f[i].group == group)
			out->f[out->n++] = &k->f[i];
	}
	if (out->n > 1)
		qsort(out->f, out->n, sizeof(struct ci_file *), by_name);
	return ERR_OK;
}

static int
is_named(const void *name, const void *f)
{
	const struct ci_file *const *y = f;

	return strcmp(name, (*y)->name);
}

static struct ci_file *
mine_find(const struct mine *l, const char *name)
{
	struct ci_file **found =
	    bsearch(name, l->f, l->n, sizeof(struct ci_file *), is_named);

	return found != NULL ? *found : NULL;
}

/* The table of the version that was checked out, out of its op. */
enum err
ci_base_open(struct checkin *k, const struct ci_base *b, struct content **out)
{
	struct buf op = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct db_txn *t = NULL;
	struct mp_doc d = { 0 };
	enum err e = store_read(k->env->store, &t);

	if (e != ERR_OK)
		return e;
	e = shares_open_op(k->env->shares, t, b->v.lseq, &op);
	db_abort(t);
	if (e == ERR_OK)
		e = cat_put_parse(buf_slice(&op), &d);
	if (e == ERR_OK) {
		e = content_open(k->env->store,
		    mp_bin(
			&d, mp_get(d.root, "manifest"), LIM_OP_PAYLOAD_BYTES),
		    out);
		mp_doc_fini(&d);
	}
	buf_fini(&op);
	return e;
}

/* Members in the order they had; what is new comes after them. */
static enum err
take_members(struct checkin *k, struct ci_group *g, struct content_writer *w,
    struct content *was, const struct mine *l)
{
	struct content_member m;
	struct ci_file *f;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && was != NULL && i < content_n(was); i++) {
		content_member(was, i, &m);
		f = mine_find(l, m.name);
		if (f == NULL) {
			e = content_copy(was, i, w);
			if (e == ERR_OK)
				e = entry_add(g, m.name, m.len, &m.hash);
			continue;
		}
		if (f->state != WORKDIR_REMOVED)
			e = take_file(k, g, w, f);
		f->taken = true;
	}
	for (i = 0; e == ERR_OK && i < l->n; i++) {
		if (!l->f[i]->taken && l->f[i]->state != WORKDIR_REMOVED)
			e = take_file(k, g, w, l->f[i]);
	}
	return e;
}

/* One thing made from the same version by the same bytes is one asset: a
 * check-in that was cut off after its commit makes nothing twice. */
static void
group_key(const struct checkin *k, struct ci_group *g)
{
	struct ci_node *last = &g->path[g->n_path - 1];
	const struct ci_base *b = k->base[g->base];
	struct slice parts[4] = { slice_of(b->a.id.b, sizeof(b->a.id.b)),
		slice_of(b->v.op_id.b, 32), slice_str(last->level),
		slice_of(g->done.hash.b, 32) };
	struct asset_id key;

	if (!g->derived)
		return;
	cry_hash_parts(NULL, "psc.checkin.1", parts, 4, key.b, sizeof(key.b));
	enc_b32(slice_of(key.b, sizeof(key.b)), last->key);
}

static void
kv_text(struct buf *b, const char *key, const char *text)
{
	if (text != NULL && *text != '\0')
		mp_kv_cstr(b, key, text);
}

/* domain.md 25, mission.md R13: inputs by version, who, why, with what. */
static enum err
group_provenance(const struct checkin *k, struct ci_group *g)
{
	const struct workdir_checkin_opts *o = k->o;
	const struct ci_base *b = k->base[g->base];
	struct buf *p = &g->provenance;
	char asset[ASSET_ID_TEXT + 1];
	size_t n = 4;

	enc_b32(slice_of(b->a.id.b, sizeof(b->a.id.b)), asset);
	n += *o->note != '\0';
	n += *o->reason != '\0';
	n += o->tool != NULL && *o->tool != '\0';
	mp_w_map(p, n);
	mp_kv_cstr(p, "act", "checkin");
	mp_kv_cstr(p, "by", o->actor);
	kv_text(p, "note", o->note);
	kv_text(p, "reason", o->reason);
	kv_text(p, "tool", o->tool);
	mp_kv_array(p, "inputs", 1);
	mp_w_map(p, 3);
	mp_kv_cstr(p, "asset", asset);
	mp_kv_bin(p, "version", slice_of(b->v.op_id.b, 32));
	mp_kv_bin(p, "hash", slice_of(b->v.hash.b, 32));
	mp_kv_cstr(p, "software", "pesscara " PSC_VERSION);
	return buf_err(p);
}

static enum err
group_empty(const struct checkin *k, const struct ci_group *g)
{
	return errmsg_set(k->em, ERR_UNSUPPORTED,
	    "Keep one file, or retire the asset.",
	    "%.100s: every file was removed", g->folder);
}

static enum err
take_group(struct checkin *k, uint32_t i)
{
	struct ci_group *g = &k->g[i];
	struct content_writer *w = content_writer_new(k->batch);
	struct content *was = NULL;
	struct mine l = { .n = 0 };
	enum err e = w == NULL ? ERR_NOMEM : mine_of(k, i, &l);

	if (e == ERR_OK)
		e = ci_gate_group(k, g);
	if (e == ERR_OK && !g->derived) {
		e = ci_base_open(k, k->base[g->base], &was);
		if (e == ERR_NOTFOUND)
			e = errmsg_set(k->em, e,
			    "Fetch it: pesscara subscribe SHARE --content all",
			    "%.100s: the version that was checked out is not "
			    "on this node any more",
			    g->folder);
	}
	if (e == ERR_OK)
		e = take_members(k, g, w, was, &l);
	if (e == ERR_OK && g->entry.n == 0)
		e = group_empty(k, g);
	if (e == ERR_OK)
		e = content_writer_end(w, &g->done);
	if (e == ERR_OK) {
		group_key(k, g);
		e = group_provenance(k, g);
	}
	mem_free(l.f);
	content_close(was);
	content_writer_free(w);
	return e;
}

enum err
ci_take(struct checkin *k)
{
	uint32_t i;
	enum err e = ERR_OK;

	k->batch = blob_batch_new(k->env->store);
	if (k->batch == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < k->n_g; i++)
		e = take_group(k, i);
	ci_gate_end(k);
	return e;
}

enum err
ci_still(struct checkin *k)
{
	struct stat now;
	uint32_t i;
	int folder = -1;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < k->n; i++) {
		const struct ci_file *f = &k->f[i];

		if (f->group == WD_NONE)
			continue;
		e = wd_folder_open(k->dir, f->folder, &folder);
		if (e == ERR_NOTFOUND && f->state == WORKDIR_REMOVED) {
			e = ERR_OK;
			continue;
		}
		if (e == ERR_OK) {
			bool there = fstatat(folder, f->name, &now,
					 AT_SYMLINK_NOFOLLOW) == 0;

			if (f->state == WORKDIR_REMOVED
				? there
				: !there || !wd_stat_same(&f->st, &now))
				e = ERR_AGAIN;
			(void)close(folder);
		}
		if (e != ERR_OK)
			return file_says(k, f, ERR_AGAIN);
	}
	return e;
}
