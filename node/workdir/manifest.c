/* node/workdir/manifest.c: DIR/.pesscara, one JSON document.
 *
 * Happy path: read whole, bounded, parsed, every value checked.  The file lies
 * among a person's files and may say anything: what is believed of it is
 * only where to look (one clean name below DIR) and what to compare with;
 * ids and versions are looked up in the store, which has the last word.
 * Failure: ERR_MALFORMED names what is wrong, never a value. */
#include "node/workdir/workdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

static const char manifest_next[] =
    "Check out into another directory and copy your files there.";

/* --- in memory --- */

void
wd_files_clear(struct wd_asset *a)
{
	uint32_t i;

	for (i = 0; i < a->n; i++)
		mem_free(a->f[i].name);
	mem_free(a->f);
	a->f = NULL;
	a->n = a->cap = 0;
}

void
wd_manifest_fini(struct wd_manifest *m)
{
	uint32_t i;

	for (i = 0; i < m->n; i++)
		wd_files_clear(&m->a[i]);
	mem_free(m->a);
	*m = (struct wd_manifest){ 0 };
}

struct wd_asset *
wd_asset_add(struct wd_manifest *m)
{
	if (m->n == WD_ASSETS_MAX)
		return NULL;
	if (m->n == m->cap) {
		uint32_t cap = m->cap == 0 ? 8 : m->cap * 2;
		void *p = mem_grow(m->a, cap, sizeof(*m->a));

		if (p == NULL)
			return NULL;
		m->a = p;
		m->cap = cap;
	}
	m->a[m->n] = (struct wd_asset){ .n = 0 };
	return &m->a[m->n++];
}

void
wd_asset_drop(struct wd_manifest *m, uint32_t i)
{
	REQUIRE(i < m->n);
	wd_files_clear(&m->a[i]);
	m->n--;
	memmove(&m->a[i], &m->a[i + 1], (m->n - i) * sizeof(*m->a));
}

struct wd_asset *
wd_asset_find(const struct wd_manifest *m, const struct asset_id *id)
{
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		if (memcmp(&m->a[i].id, id, sizeof(*id)) == 0)
			return &m->a[i];
	}
	return NULL;
}

enum err
wd_file_add(struct wd_asset *a, const char *name, uint64_t bytes,
    const struct cry_id *hash)
{
	struct wd_file f = { .bytes = bytes, .hash = *hash };

	if (a->n == WD_FILES_MAX)
		return ERR_LIMIT;
	if (a->n == a->cap) {
		uint32_t cap = a->cap == 0 ? 16 : a->cap * 2;
		void *p = mem_grow(a->f, cap, sizeof(*a->f));

		if (p == NULL)
			return ERR_NOMEM;
		a->f = p;
		a->cap = cap;
	}
	if ((f.name = mem_strdup(name)) == NULL)
		return ERR_NOMEM;
	a->f[a->n++] = f;
	return ERR_OK;
}

/* --- reading --- */

static bool
manifest_text(const struct json *j, const char *key, char *out, size_t cap)
{
	const char *s = json_get_str(j, key, NULL);

	if (s == NULL || *s == '\0' || strlen(s) >= cap)
		return false;
	(void)snprintf(out, cap, "%s", s);
	return true;
}

static bool
manifest_hex(const struct json *j, const char *key, struct cry_id *out)
{
	const char *s = json_get_str(j, key, "");

	return dec_hex(slice_str(s), out->b, sizeof(out->b)) == ERR_OK;
}

static enum err
manifest_file(const struct json *j, struct wd_asset *a)
{
	const char *name = json_get_str(j, "name", "");
	int64_t bytes = json_get_int(j, "bytes", -1);
	struct cry_id hash;

	if (!content_name_good(name) || bytes < 0 ||
	    !manifest_hex(j, "hash", &hash))
		return ERR_MALFORMED;
	return wd_file_add(a, name, (uint64_t)bytes, &hash);
}

static enum err
manifest_asset(const struct json *j, struct wd_asset *a, uint32_t *files)
{
	const struct json *list = json_get(j, "files");
	const char *id = json_get_str(j, "id", "");
	size_t i, n = json_len(list);
	enum err e = ERR_OK;

	if (dec_b32(slice_str(id), a->id.b, sizeof(a->id.b)) != ERR_OK ||
	    !manifest_hex(j, "version", &a->version) ||
	    !manifest_text(j, "level", a->level, sizeof(a->level)) ||
	    !manifest_text(j, "share", a->share, sizeof(a->share)) ||
	    !manifest_text(
		j, "compartment", a->compartment, sizeof(a->compartment)) ||
	    !manifest_text(j, "path", a->path, sizeof(a->path)) ||
	    !json_is_array(list))
		return ERR_MALFORMED;
	if (strcmp(a->path, WD_TOP) != 0 && !content_name_good(a->path))
		return ERR_MALFORMED;
	a->derived = json_get_bool(j, "derived", false);
	a->lock = json_get_bool(j, "lock", false);
	if (n > WD_FILES_MAX - *files)
		return ERR_LIMIT;
	*files += (uint32_t)n;
	for (i = 0; i < n && e == ERR_OK; i++)
		e = manifest_file(json_at(list, i), a);
	return e;
}

struct manifest_place {
	const char *path;
	const char *name;
};

static int
place_cmp(const void *a, const void *b)
{
	const struct manifest_place *x = a, *y = b;
	int c = strcmp(x->path, y->path);

	return c != 0 ? c : strcmp(x->name, y->name);
}

static int
id_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct asset_id));
}

static enum err
manifest_ids_once(const struct wd_manifest *m)
{
	struct asset_id *ids = mem_array(m->n, sizeof(*ids));
	enum err e = ids == NULL ? ERR_NOMEM : ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < m->n; i++)
		ids[i] = m->a[i].id;
	if (e == ERR_OK)
		qsort(ids, m->n, sizeof(*ids), id_cmp);
	for (i = 1; e == ERR_OK && i < m->n; i++) {
		if (id_cmp(&ids[i - 1], &ids[i]) == 0)
			e = ERR_MALFORMED;
	}
	mem_free(ids);
	return e;
}

/* No asset twice, and one owner for a file. */
static enum err
manifest_once(const struct wd_manifest *m, uint32_t files)
{
	struct manifest_place *p;
	uint32_t i, k, n = 0;
	enum err e;

	if (m->n == 0)
		return ERR_OK;
	if ((e = manifest_ids_once(m)) != ERR_OK || files == 0)
		return e;
	if ((p = mem_array(files, sizeof(*p))) == NULL)
		return ERR_NOMEM;
	for (i = 0; i < m->n; i++) {
		for (k = 0; k < m->a[i].n; k++)
			p[n++] = (struct manifest_place){ m->a[i].path,
				m->a[i].f[k].name };
	}
	qsort(p, n, sizeof(*p), place_cmp);
	for (i = 1; i < n && e == ERR_OK; i++) {
		if (place_cmp(&p[i - 1], &p[i]) == 0)
			e = ERR_MALFORMED;
	}
	mem_free(p);
	return e;
}

static enum err
manifest_tree(const struct json *root, struct wd_manifest *m)
{
	const struct json *list = json_get(root, "assets");
	size_t i, n = json_len(list);
	uint32_t files = 0;
	enum err e = ERR_OK;

	if (json_get_int(root, "format", 0) != WD_FORMAT)
		return ERR_UNSUPPORTED;
	if (!manifest_text(root, "site", m->site, sizeof(m->site)) ||
	    !json_is_array(list))
		return ERR_MALFORMED;
	if (n > WD_ASSETS_MAX)
		return ERR_LIMIT;
	for (i = 0; i < n && e == ERR_OK; i++) {
		struct wd_asset *a = wd_asset_add(m);

		e = a == NULL ? ERR_NOMEM
			      : manifest_asset(json_at(list, i), a, &files);
	}
	return e == ERR_OK ? manifest_once(m, files) : e;
}

enum err
wd_manifest_parse(struct slice text, struct wd_manifest *out, struct errmsg *em)
{
	struct wd_manifest m = { .n = 0 };
	struct json *j = NULL;
	enum err e = json_parse_max(text, WD_VALUES_MAX, &j, NULL);

	if (e == ERR_OK)
		e = manifest_tree(j, &m);
	json_free(j);
	if (e == ERR_OK) {
		*out = m;
		return ERR_OK;
	}
	wd_manifest_fini(&m);
	if (e == ERR_UNSUPPORTED)
		return errmsg_set(em, e, "Use the version that made it.",
		    "the manifest " WD_MANIFEST " is of another format");
	if (e == ERR_NOMEM)
		return errmsg_set(em, e, "", "out of memory");
	return errmsg_set(em, e, manifest_next,
	    "the manifest " WD_MANIFEST " is not as check-out wrote it");
}

static enum err
manifest_slurp(int fd, struct buf *out)
{
	uint8_t *at;
	ssize_t n;

	for (;;) {
		if ((at = buf_room(out, 64 * KIB)) == NULL)
			return buf_err(out);
		n = read(fd, at, 64 * KIB);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? ERR_OK : wd_errno(errno);
		buf_grew(out, (size_t)n);
	}
}

enum err
wd_manifest_read(int dir, struct wd_manifest *out, struct errmsg *em)
{
	struct buf text = BUF_MAX(WD_MANIFEST_BYTES);
	struct stat st;
	int fd = -1;
	enum err e = wd_file_open(dir, WD_MANIFEST, &fd, &st);

	if (e == ERR_NOTFOUND)
		return errmsg_set(em, e, "See: pesscara checkout --help",
		    "this directory was not checked out (no " WD_MANIFEST ")");
	if (e == ERR_OK)
		e = manifest_slurp(fd, &text);
	if (fd >= 0)
		(void)close(fd);
	if (e == ERR_OK)
		e = wd_manifest_parse(buf_slice(&text), out, em);
	else
		(void)errmsg_set(em, e, manifest_next,
		    "the manifest " WD_MANIFEST " cannot be read: %s",
		    err_text(e));
	buf_fini(&text);
	return e;
}

/* --- writing --- */

static void
manifest_put_hex(struct jw *w, const char *key, const struct cry_id *id)
{
	char hex[ENC_HEX_LEN(32) + 1];

	enc_hex(slice_of(id->b, sizeof(id->b)), hex);
	jw_str(w, key, hex);
}

/* One file a line: people look into it, and tools compare lines. */
static void
manifest_put_asset(struct jw *w, const struct wd_asset *a)
{
	char id[ASSET_ID_TEXT + 1];
	uint32_t i;

	enc_b32(slice_of(a->id.b, sizeof(a->id.b)), id);
	jw_obj(w, NULL);
	jw_str(w, "id", id);
	jw_str(w, "level", a->level);
	jw_str(w, "share", a->share);
	jw_str(w, "compartment", a->compartment);
	manifest_put_hex(w, "version", &a->version);
	jw_str(w, "path", a->path);
	jw_bool(w, "derived", a->derived);
	jw_bool(w, "lock", a->lock);
	jw_arr(w, "files");
	for (i = 0; i < a->n; i++) {
		buf_put_str(w->b, "\n");
		jw_obj(w, NULL);
		jw_str(w, "name", a->f[i].name);
		jw_u64(w, "bytes", a->f[i].bytes);
		manifest_put_hex(w, "hash", &a->f[i].hash);
		jw_end(w);
	}
	jw_end(w);
	jw_end(w);
}

enum err
wd_manifest_encode(const struct wd_manifest *m, struct buf *out)
{
	char now[CLOCK_TEXT_LEN + 1];
	struct jw w;
	uint32_t i;

	clock_text(clock_wall_ms(), now);
	jw_init(&w, out);
	jw_obj(&w, NULL);
	jw_u64(&w, "format", WD_FORMAT);
	jw_str(&w, "site", m->site);
	jw_str(&w, "written", now);
	jw_arr(&w, "assets");
	for (i = 0; i < m->n; i++) {
		buf_put_str(out, "\n");
		manifest_put_asset(&w, &m->a[i]);
	}
	jw_end(&w);
	jw_end(&w);
	buf_put_str(out, "\n");
	return buf_err(out);
}

static enum err
manifest_store(int dir, struct slice text)
{
	int fd;
	enum err e = ERR_OK;

	(void)unlinkat(dir, WD_MANIFEST_PART, 0);
	fd = openat(dir, WD_MANIFEST_PART,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return wd_errno(errno);
	while (text.n > 0 && e == ERR_OK) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			e = wd_errno(errno);
		else if (n > 0)
			text = slice_of(text.p + n, text.n - (size_t)n);
	}
	if (e == ERR_OK && fsync(fd) != 0)
		e = wd_errno(errno);
	if (close(fd) != 0 && e == ERR_OK)
		e = wd_errno(errno);
	if (e == ERR_OK &&
	    renameat(dir, WD_MANIFEST_PART, dir, WD_MANIFEST) != 0)
		e = wd_errno(errno);
	if (e == ERR_OK && fsync(dir) != 0)
		e = wd_errno(errno);
	if (e != ERR_OK)
		(void)unlinkat(dir, WD_MANIFEST_PART, 0);
	return e;
}

enum err
wd_manifest_write(int dir, const struct wd_manifest *m, struct errmsg *em)
{
	struct buf text = BUF_MAX(WD_MANIFEST_BYTES);
	enum err e = wd_manifest_encode(m, &text);

	if (e == ERR_OK)
		e = manifest_store(dir, buf_slice(&text));
	buf_fini(&text);
	if (e != ERR_OK)
		return errmsg_set(em, e,
		    "Check the disk and the rights of the directory.",
		    "the manifest " WD_MANIFEST " cannot be written: %s",
		    err_text(e));
	return ERR_OK;
}
