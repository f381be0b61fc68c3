/* node/ingest/lookup.c: the list of trial ids: lines "PatientID,pseudonym",
 * with or without a first line that says just that, or a byte order mark.
 *
 * Whole file or nothing: a line that cannot be used names its number and
 * nothing is imported.  Kept sealed; patients seen before keep their name. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

#define LOOKUP_BYTES_MAX (16 * MIB)

struct lookup {
	struct ingest *g;
	struct slice text;
	const char *domain;
	const char *actor;
	uint64_t line, added;
	bool write; /* second pass */
	struct store_txn *t;
};

static struct slice
lookup_trim(struct slice s)
{
	while (s.n > 0 && isspace(s.p[0]))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n > 0 && isspace(s.p[s.n - 1]))
		s.n--;
	return s;
}

static bool
lookup_name_ok(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (!isalnum(s.p[i]) && strchr("-_. ", s.p[i]) == NULL)
			return false;
	}
	return s.n > 0 && s.n <= PSEUDONYM_BYTES_MAX;
}

/* A name that the pattern gave to a patient already stays that patient's. */
static enum err
lookup_name(struct lookup *l, struct slice name)
{
	struct store *s = store_txn_store(l->t);
	struct buf b = BUF_MAX(16);
	char text[PSEUDONYM_BYTES_MAX + 1];
	struct key16 key;
	enum err e;

	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	id_name_key(l->g, text, &key);
	e = store_row_get(
	    s, store_txn_db(l->t), "pused", slice_of(key.b, 16), &b);
	buf_fini(&b);
	if (e != ERR_NOTFOUND)
		return e == ERR_OK ? ERR_EXISTS : e;
	return store_row_put(
	    l->t, "plname", slice_of(key.b, 16), SLICE_LIT("1"));
}

static enum err
lookup_put(struct lookup *l, struct slice patient, struct slice name)
{
	struct img_identity id = { .n_uids = 0 };
	struct buf b = BUF_MAX(1024);
	struct key16 key;
	enum err e = lookup_name(l, name);

	if (e != ERR_OK)
		return e;
	memcpy(id.patient_id, patient.p, patient.n);
	id_list_key(l->g, l->domain, id.patient_id, &key);
	mp_w_map(&b, 1);
	mp_kv_str(&b, "subject", name);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(
		    l->t, "plist", slice_of(key.b, 16), buf_slice(&b));
	buf_fini(&b);
	return e == ERR_OK ? gate_keep(l->t, l->g, &id) : e;
}

/* The head of a table: a spreadsheet writes one, and no patient is so named. */
static bool
lookup_is_head(const struct lookup *l, struct slice patient)
{
	static const char head[] = "PatientID";

	return l->line == 1 && patient.n == sizeof(head) - 1 &&
	       strncasecmp((const char *)patient.p, head, patient.n) == 0;
}

static enum err
lookup_line(struct lookup *l, struct slice line)
{
	const struct slice bom = SLICE_LIT("\xef\xbb\xbf");
	struct slice patient, name;
	const uint8_t *comma;

	if (l->line == 1 && line.n >= bom.n &&
	    slice_eq(slice_of(line.p, bom.n), bom))
		line = slice_of(line.p + bom.n, line.n - bom.n);
	line = lookup_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return ERR_OK;
	comma = memchr(line.p, ',', line.n);
	if (comma == NULL)
		return ERR_MALFORMED;
	patient = lookup_trim(slice_of(line.p, (size_t)(comma - line.p)));
	name = lookup_trim(
	    slice_of(comma + 1, line.n - (size_t)(comma + 1 - line.p)));
	if (patient.n == 0 || patient.n > IMG_TEXT_MAX || !lookup_name_ok(name))
		return ERR_MALFORMED;
	if (lookup_is_head(l, patient))
		return ERR_OK;
	l->added++;
	return l->write ? lookup_put(l, patient, name) : ERR_OK;
}

static enum err
lookup_pass(struct lookup *l)
{
	struct slice rest = l->text;
	enum err e = ERR_OK;

	l->line = 0;
	l->added = 0;
	while (e == ERR_OK && rest.n > 0) {
		const uint8_t *nl = memchr(rest.p, '\n', rest.n);
		size_t n = nl == NULL ? rest.n : (size_t)(nl - rest.p) + 1;

		l->line++;
		e = lookup_line(l, slice_of(rest.p, n));
		rest = slice_of(rest.p + n, rest.n - n);
	}
	return e;
}

static enum err
lookup_job(struct store_txn *t, void *ctx)
{
	struct lookup *l = ctx;
	char what[32];
	enum err e;

	l->t = t;
	l->write = true;
	e = lookup_pass(l);
	if (e != ERR_OK)
		return e;
	(void)snprintf(
	    what, sizeof(what), "%llu entries", (unsigned long long)l->added);
	return cat_audit_append(t, l->actor, "lookup.import", what, "");
}

static enum err
lookup_read(const char *path, struct buf *out)
{
	/* O_NONBLOCK: a pipe without a writer would hold the thread. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = 1;

	if (fd < 0)
		return ERR_NOTFOUND;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return ERR_UNSUPPORTED;
	}
	while (n > 0 && buf_room(out, 64 * KIB) != NULL) {
		n = read(fd, out->p + out->n, 64 * KIB);
		if (n > 0)
			buf_grew(out, (size_t)n);
	}
	(void)close(fd);
	return n < 0 ? ERR_IO : buf_err(out);
}

enum err
ingest_lookup_import(struct ingest *g, const char *path, const char *domain,
    const char *actor, uint64_t *added, struct errmsg *em)
{
	struct lookup l = {
		.g = g, .domain = domain != NULL ? domain : "", .actor = actor
	};
	struct buf b = BUF_MAX(LOOKUP_BYTES_MAX);
	enum err e = id_domain_check(domain, em);

	if (e != ERR_OK)
		return e;
	e = lookup_read(path, &b);
	if (e != ERR_OK) {
		(void)errmsg_set(em, e, "give a readable file below 16 MiB",
		    "the lookup list cannot be read");
		goto out;
	}
	l.text = buf_slice(&b);
	e = lookup_pass(&l);
	if (e != ERR_OK) {
		(void)errmsg_set(em, e,
		    "write PatientID,pseudonym (letters, digits, - _ . and "
		    "space)",
		    "line %llu of the lookup list cannot be used",
		    (unsigned long long)l.line);
		goto out;
	}
	e = store_write(g->o.store, lookup_job, &l);
	if (e == ERR_OK)
		*added = l.added;
	else if (e == ERR_EXISTS)
		(void)errmsg_set(em, e, "give that patient another pseudonym",
		    "line %llu: the pattern gave this pseudonym to a patient "
		    "already; nothing was imported",
		    (unsigned long long)l.line);
	else
		(void)errmsg_set(
		    em, e, "try again", "not imported: %s", err_text(e));
out:
	buf_wipe(&b);
	return e;
}
