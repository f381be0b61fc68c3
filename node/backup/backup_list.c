/* node/backup/backup_list.c: backup.json, which says what belongs to a backup.
 *
 * {"list": {...}, "check": BLAKE2b-256 of the text of list}.  A byte that
 * changed in it is noticed before anything it says is used. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/backup/backup_internal.h"
#include "store/base/enc.h"

#define LIST_BYTES_MAX ((size_t)256 * MIB)
#define LIST_HEAD "{\"check\":\""
#define LIST_MID "\",\"list\":"

void
backup_list_fini(struct backup_list *l)
{
	mem_free(l->seg);
	l->seg = NULL;
}

/* --- writing --- */

static void
jw_hash(struct jw *w, const char *key, const struct cry_id *h)
{
	char hex[ENC_HEX_LEN(32) + 1];

	enc_hex(slice_of(h->b, sizeof(h->b)), hex);
	jw_str(w, key, hex);
}

static void
list_json(const struct backup_list *l, struct buf *b)
{
	char node[ENC_HEX_LEN(32) + 1];
	struct jw w;
	uint32_t i;

	jw_init(&w, b);
	jw_obj(&w, NULL);
	jw_u64(&w, "format", BACKUP_FORMAT);
	jw_u64(&w, "commit", l->r.commit);
	jw_u64(&w, "time_ms", l->r.wall_ms);
	enc_hex(slice_of(l->node.b, sizeof(l->node.b)), node);
	jw_str(&w, "node", node);
	jw_hash(&w, "root", &l->r.root);
	jw_arr(&w, "files");
	for (i = 0; i < l->n_files; i++) {
		jw_obj(&w, NULL);
		jw_str(&w, "name", l->file[i].name);
		jw_u64(&w, "bytes", l->file[i].bytes);
		jw_hash(&w, "hash", &l->file[i].hash);
		jw_end(&w);
	}
	jw_end(&w);
	jw_arr(&w, "segments");
	for (i = 0; i < l->n_seg; i++) {
		jw_obj(&w, NULL);
		jw_u64(&w, "no", l->seg[i].no);
		jw_u64(&w, "end", l->seg[i].end);
		jw_hash(&w, "hash", &l->seg[i].hash);
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
}

enum err
backup_list_text(const struct backup_list *l, struct buf *out)
{
	struct buf body = BUF_MAX(LIST_BYTES_MAX);
	struct cry_id check;
	char hex[ENC_HEX_LEN(32) + 1];
	enum err e;

	list_json(l, &body);
	e = buf_err(&body);
	if (e == ERR_OK) {
		cry_hash(buf_slice(&body), &check);
		enc_hex(slice_of(check.b, sizeof(check.b)), hex);
		buf_put_str(out, LIST_HEAD);
		buf_put_str(out, hex);
		buf_put_str(out, LIST_MID);
		buf_put_slice(out, buf_slice(&body));
		buf_put_str(out, "}");
		e = buf_err(out);
	}
	buf_fini(&body);
	return e;
}

static enum err
text_write(const char *path, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	enum err e = ERR_OK;

	if (fd < 0)
		return backup_errno();
	while (e == ERR_OK && text.n > 0) {
		ssize_t w = write(fd, text.p, text.n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			e = w < 0 ? backup_errno() : ERR_IO;
		else
			text = slice_of(text.p + w, text.n - (size_t)w);
	}
	if (e == ERR_OK && fsync(fd) != 0)
		e = ERR_IO;
	(void)close(fd);
	return e;
}

enum err
backup_list_write(
    const char *dir, const struct backup_list *l, struct errmsg *em)
{
	struct buf text = BUF_MAX(LIST_BYTES_MAX);
	char path[BACKUP_PATH_MAX], part[BACKUP_PATH_MAX];
	enum err e = backup_list_text(l, &text);

	if (e == ERR_OK)
		e = backup_path(path, dir, BACKUP_LIST);
	if (e == ERR_OK)
		e = backup_path(part, dir, BACKUP_LIST ".new");
	if (e == ERR_OK)
		e = text_write(part, buf_slice(&text));
	if (e == ERR_OK && rename(part, path) != 0)
		e = backup_errno();
	if (e == ERR_OK)
		e = backup_sync(dir, ".");
	buf_fini(&text);
	if (e != ERR_OK)
		errmsg_set(em, e, "free some space there, or choose another",
		    "the backup's list cannot be written: %s", err_text(e));
	return e;
}

/* --- reading --- */

static enum err
text_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum err e = ERR_OK;
	ssize_t got = 1;

	if (fd < 0)
		return backup_errno();
	while (e == ERR_OK && got > 0) {
		uint8_t *p = buf_room(out, 64 * KIB);

		if (p == NULL) {
			e = buf_err(out);
			break;
		}
		got = read(fd, p, 64 * KIB);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got < 0)
			e = backup_errno();
		else
			buf_grew(out, (size_t)got);
	}
	(void)close(fd);
	return e;
}

/* The text of the list, if the check in front of it fits. */
static bool
list_body(struct slice text, struct slice *body)
{
	size_t head = strlen(LIST_HEAD), mid = strlen(LIST_MID);
	size_t front = head + ENC_HEX_LEN(32) + mid;
	struct cry_id check, is;

	if (text.n < front + 1 || memcmp(text.p, LIST_HEAD, head) != 0 ||
	    memcmp(text.p + head + ENC_HEX_LEN(32), LIST_MID, mid) != 0 ||
	    dec_hex(slice_of(text.p + head, ENC_HEX_LEN(32)), check.b,
		sizeof(check.b)) != ERR_OK)
		return false;
	*body = slice_of(text.p + front, text.n - front - 1);
	cry_hash(*body, &is);
	return memcmp(&is, &check, sizeof(is)) == 0;
}

static bool
hash_get(const struct json *j, const char *key, struct cry_id *out)
{
	const char *s = json_get_str(j, key, "");

	return dec_hex(slice_str(s), out->b, sizeof(out->b)) == ERR_OK;
}

static bool
u64_get(const struct json *j, const char *key, uint64_t *out)
{
	int64_t v = json_get_int(j, key, -1);

	*out = v < 0 ? 0 : (uint64_t)v;
	return v >= 0;
}

static bool
files_get(const struct json *j, struct backup_list *l)
{
	const struct json *list = json_get(j, "files");
	size_t i;

	if (json_len(list) > BACKUP_FILES_MAX)
		return false;
	for (i = 0; i < json_len(list); i++) {
		const struct json *f = json_at(list, i);
		struct backup_file *out = &l->file[l->n_files++];
		const char *name = json_get_str(f, "name", "");

		if (!backup_holds(name))
			return false; /* only what a backup may hold */
		(void)snprintf(out->name, sizeof(out->name), "%s", name);
		if (!u64_get(f, "bytes", &out->bytes) ||
		    !hash_get(f, "hash", &out->hash))
			return false;
	}
	return true;
}

static bool
segs_get(const struct json *j, struct backup_list *l)
{
	const struct json *list = json_get(j, "segments");
	size_t i, n = json_len(list);
	uint64_t no;

	if (n > BACKUP_SEGMENTS_MAX ||
	    (l->seg = mem_array(n + 1, sizeof(*l->seg))) == NULL)
		return false;
	for (i = 0; i < n; i++) {
		const struct json *s = json_at(list, i);
		struct backup_seg *out = &l->seg[l->n_seg++];

		if (!u64_get(s, "no", &no) || no == 0 || no > UINT32_MAX ||
		    !u64_get(s, "end", &out->end) ||
		    out->end > BACKUP_SEGMENT_END_MAX ||
		    !hash_get(s, "hash", &out->hash))
			return false;
		out->no = (uint32_t)no;
		if (i > 0 && out->no <= l->seg[i - 1].no)
			return false;
		l->r.bytes += out->end;
	}
	l->r.segments = l->n_seg;
	return true;
}

static bool
node_get(const struct json *j, struct backup_list *l)
{
	struct cry_id key;

	if (!hash_get(j, "node", &key))
		return false;
	memcpy(l->node.b, key.b, sizeof(l->node.b));
	return true;
}

static enum err
list_parse(struct slice body, struct backup_list *l)
{
	struct json *j = NULL;
	uint64_t format = 0;
	bool ok;

	if (json_parse_max(body, 8 * BACKUP_SEGMENTS_MAX, &j, NULL) != ERR_OK)
		return ERR_CORRUPT;
	ok = u64_get(j, "format", &format) && format == BACKUP_FORMAT;
	if (!ok) {
		json_free(j);
		return ERR_UNSUPPORTED;
	}
	ok = u64_get(j, "commit", &l->r.commit) &&
	     u64_get(j, "time_ms", &l->r.wall_ms) &&
	     hash_get(j, "root", &l->r.root) && node_get(j, l) &&
	     files_get(j, l) && segs_get(j, l);
	json_free(j);
	return ok ? ERR_OK : ERR_CORRUPT;
}

enum err
backup_list_parse(struct slice text, struct backup_list *out)
{
	struct slice body;

	memset(out, 0, sizeof(*out));
	return list_body(text, &body) ? list_parse(body, out) : ERR_CORRUPT;
}

enum err
backup_list_read(const char *dir, struct backup_list *out, struct errmsg *em)
{
	struct buf text = BUF_MAX(LIST_BYTES_MAX);
	char path[BACKUP_PATH_MAX];
	enum err e = backup_path(path, dir, BACKUP_LIST);

	memset(out, 0, sizeof(*out));
	if (e == ERR_OK)
		e = text_read(path, &text);
	if (e == ERR_OK)
		e = backup_list_parse(buf_slice(&text), out);
	buf_fini(&text);
	if (e == ERR_OK)
		return ERR_OK;
	backup_list_fini(out);
	if (e == ERR_NOTFOUND)
		return errmsg_set(em, e, "name the folder of a backup",
		    "there is no backup: %s is not there", BACKUP_LIST);
	return errmsg_set(em, e,
	    e == ERR_CORRUPT ? "use another copy of the backup" : "",
	    "%s of the backup cannot be used: %s", BACKUP_LIST, err_text(e));
}
