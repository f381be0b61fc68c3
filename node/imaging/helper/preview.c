/* node/imaging/helper/preview.c: input and output walked side by side.
 *
 * Happy path: walk the file, de-identify it under stand-ins for what only the
 * node knows (pseudonym, UIDs, days), walk the result, and tell each element
 * of the input with what became of it, then what the output has besides.
 * Items of sequences are written in their order, so the k-th answers the
 * k-th.  A file that cannot be walked is a result with the reason. */
#include "node/imaging/helper/preview.h"

#include <unistd.h>

#include "node/imaging/helper/recode.h"
#include "node/imaging/helper/rules.h"
#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define PREVIEW_SUBJECT "SUBJECT"
#define PREVIEW_DAYS (-1000)
#define PATH_MAX_CHARS 240u

struct preview {
	const struct dcm_file *in, *out;
	struct rules rules;
	struct deid_table own;
	struct buf rows;
	uint32_t n;
	bool more;
};

/* Text as it can be printed: what is not ASCII becomes '?'. */
static void
put_value_text(
    struct buf *b, const char *key, const struct dcm_file *f, uint32_t i)
{
	char t[PREVIEW_TEXT_MAX + 1];
	const struct dcm_elem *e;
	struct slice v;
	size_t n = 0;

	if (i == DCM_NONE) {
		mp_kv_cstr(b, key, "");
		return;
	}
	e = &f->e[i];
	v = dcm_trimmed(f, i);
	if (e->vr == VR_SQ) {
		(void)snprintf(t, sizeof(t), "(a sequence)");
	} else if (!dict_vr_text((enum dcm_vr)e->vr)) {
		(void)snprintf(
		    t, sizeof(t), "(%llu bytes)", (unsigned long long)e->len);
		if (e->vr == VR_US && e->len == 2)
			(void)snprintf(t, sizeof(t), "%u",
			    (unsigned)(f->in.p[e->val] | f->in.p[e->val + 1]
							     << 8));
	} else {
		for (; n < v.n && n < PREVIEW_TEXT_MAX; n++)
			t[n] = v.p[n] >= 0x20 && v.p[n] <= 0x7E ? (char)v.p[n]
								: '?';
		t[n] = '\0';
	}
	mp_kv_cstr(b, key, t);
}

static const char *
fate_word(enum fate fate)
{
	switch (fate) {
	case FATE_UID:
	case FATE_VALUE: return "replaced";
	case FATE_DATE: return "moved";
	case FATE_TEXT:
	case FATE_WORDS: return "cleaned";
	case FATE_DUMMY: return "dummy";
	case FATE_DROP:
	case FATE_EMPTY:
	case FATE_KEEP: break;
	}
	return "changed";
}

static bool
is_ours(uint32_t tag)
{
	return tag == TAG_PATIENT_NAME || tag == TAG_PATIENT_ID ||
	       tag == 0x00120062 || tag == 0x00120063 || tag == 0x00120064 ||
	       tag == 0x00280303;
}

/* What became of element i of the input; j: its place in the output. */
static const char *
what_happened(const struct preview *p, uint32_t i, uint32_t j)
{
	const struct dcm_elem *e = &p->in->e[i];

	if (j == DCM_NONE)
		return "removed";
	if (e->vr == VR_SQ)
		return "kept";
	if (e->undefined ? i == p->in->pixels && j == p->out->pixels
			 : slice_eq(dcm_value(p->in, i), dcm_value(p->out, j)))
		return "kept";
	if (p->out->e[j].len == 0)
		return "emptied";
	if (dcm_tag_private(e->tag))
		return "cleaned";
	if (e->depth == 0 && is_ours(e->tag))
		return "replaced";
	return fate_word(rules_fate(&p->rules, p->in, i));
}

static void
put_row(struct preview *p, const char *at, uint32_t i, uint32_t j)
{
	const struct dcm_elem *e = i != DCM_NONE ? &p->in->e[i] : &p->out->e[j];
	const struct dict_row *d = dict_find(e->tag);
	bool ours = e->depth == 0 && is_ours(e->tag);
	struct buf *b = &p->rows;

	if (p->n == PREVIEW_ROWS_MAX) {
		p->more = true;
		return;
	}
	p->n++;
	mp_w_map(b, 7);
	mp_kv_cstr(b, "at", at);
	mp_kv_cstr(b, "name", d == NULL ? "" : dict_keyword(d));
	mp_kv_cstr(b, "vr", dict_vr_name((enum dcm_vr)e->vr));
	mp_kv_cstr(b, "did", i == DCM_NONE ? "added" : what_happened(p, i, j));
	put_value_text(b, "was", p->in, i);
	put_value_text(b, "now", p->out, j);
	mp_kv_cstr(b, "why",
	    ours            ? "says who and what was done"
	    : i == DCM_NONE ? "profile: set"
			    : rules_why(&p->rules, p->in, i));
}

static uint32_t
find_in_level(const struct dcm_file *f, uint32_t parent, uint32_t tag)
{
	uint32_t from, to;

	dcm_level(f, parent, &from, &to);
	for (uint32_t i = from; i < to; i = f->e[i].skip)
		if (f->e[i].tag == tag)
			return i;
	return DCM_NONE;
}

static void put_level(
    struct preview *p, uint32_t in, uint32_t out, const char *path);

/* Items of a sequence that both have. */
static void
put_items(struct preview *p, uint32_t i, uint32_t j, const char *at)
{
	uint32_t a, a_end, b, b_end;
	char path[PATH_MAX_CHARS];

	dcm_level(p->in, i, &a, &a_end);
	dcm_level(p->out, j, &b, &b_end);
	for (uint32_t k = 1; a < a_end && b < b_end && !p->more; k++) {
		(void)snprintf(path, sizeof(path), "%.220s[%u]", at, k);
		put_level(p, a, b, path);
		a = p->in->e[a].skip;
		b = p->out->e[b].skip;
	}
}

static void
put_at(char at[PATH_MAX_CHARS], const char *path, uint32_t tag)
{
	(void)snprintf(at, PATH_MAX_CHARS, "%.220s(%04x,%04x)", path, tag >> 16,
	    tag & 0xFFFFu);
}

static void
put_level(struct preview *p, uint32_t in, uint32_t out, const char *path)
{
	char at[PATH_MAX_CHARS];
	uint32_t from, to, j;

	dcm_level(p->in, in, &from, &to);
	for (uint32_t i = from; i < to && !p->more; i = p->in->e[i].skip) {
		j = find_in_level(p->out, out, p->in->e[i].tag);
		put_at(at, path, p->in->e[i].tag);
		put_row(p, at, i, j);
		if (p->in->e[i].vr == VR_SQ && j != DCM_NONE)
			put_items(p, i, j, at);
	}
	dcm_level(p->out, out, &from, &to);
	for (uint32_t i = from; i < to && !p->more; i = p->out->e[i].skip) {
		if (find_in_level(p->in, in, p->out->e[i].tag) != DCM_NONE)
			continue;
		put_at(at, path, p->out->e[i].tag);
		put_row(p, at, DCM_NONE, i);
	}
}

static void
put_all(struct preview *p, const struct deid_result *r, struct buf *out)
{
	mp_w_map(out, 4);
	mp_kv_bool(out, "releasable", r->releasable);
	mp_kv_array(out, "findings", r->n_findings);
	for (uint32_t k = 0; k < r->n_findings; k++) {
		mp_w_map(out, 2);
		mp_kv_cstr(out, "kind", r->findings[k].kind);
		mp_kv_cstr(out, "detail", r->findings[k].detail);
	}
	mp_kv_bool(out, "more", p->more);
	mp_kv_array(out, "rows", p->n);
	buf_put_slice(out, buf_slice(&p->rows));
}

/* UIDs that stand for those the node would give. */
static enum err
stand_ins(uint32_t n, char (**text)[24], const char ***list)
{
	*text = mem_array(n + 1, sizeof(**text));
	*list = mem_array(n + 1, sizeof(**list));
	if (*text == NULL || *list == NULL)
		return ERR_NOMEM;
	for (uint32_t k = 0; k < n; k++) {
		(void)snprintf((*text)[k], sizeof(**text), "2.25.%u", k + 1);
		(*list)[k] = (*text)[k];
	}
	return ERR_OK;
}

/* An unknown profile is deid_apply()'s to refuse. */
static void
preview_rules(struct preview *p, const struct img_context *ctx)
{
	const struct deid_table *t = ctx->table;

	if (t == NULL)
		(void)table_builtin(ctx->profile, &p->own);
	rules_profile(t != NULL ? t : &p->own, &p->rules);
	p->rules.family = classes_family(p->in);
}

static enum err
preview_of(const struct dcm_file *f, struct img_context *ctx, struct buf *out,
    struct errmsg *em)
{
	struct preview *p = mem_new(sizeof(*p));
	struct img_identity id = { 0 };
	struct deid_result r = { 0 };
	struct dcm_file *after = NULL;
	const char **list = NULL;
	char(*text)[24] = NULL;
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	p->in = f;
	buf_init(&p->rows, PREVIEW_BYTES_MAX);
	e = deid_identity(f, &id);
	if (e == ERR_OK)
		e = stand_ins(id.n_uids, &text, &list);
	ctx->new_uids = list;
	ctx->n_uids = id.n_uids;
	if (e == ERR_OK)
		preview_rules(p, ctx);
	if (e == ERR_OK)
		e = deid_apply(f, &id, ctx, &r, em);
	if (e == ERR_OK)
		e = dcm_open(buf_slice(&r.file), &after, em);
	if (e == ERR_OK) {
		p->out = after;
		put_level(p, DCM_NONE, DCM_NONE, "");
		put_all(p, &r, out);
		e = buf_err(&p->rows) != ERR_OK ? buf_err(&p->rows)
						: buf_err(out);
	}
	dcm_close(after);
	deid_result_fini(&r);
	deid_identity_fini(&id);
	buf_wipe(&p->rows);
	mem_free(p);
	mem_free(list);
	mem_free(text);
	return e;
}

enum err
preview_make(struct slice file, const char *profile,
    const struct deid_table *table, struct charset *charset, struct buf *out,
    struct errmsg *em)
{
	struct img_context ctx = { .profile = profile,
		.table = table,
		.subject = PREVIEW_SUBJECT,
		.shift_days = PREVIEW_DAYS };
	struct recode plain = { 0 };
	struct dcm_file *f = NULL;
	enum err e = dcm_open(file, &f, em);

	if (e == ERR_OK)
		e = recode_plain(f, charset, &plain, em);
	if (e == ERR_OK)
		e = preview_of(plain.f != NULL ? plain.f : f, &ctx, out, em);
	recode_fini(&plain);
	dcm_close(f);
	return e;
}

static enum err
preview_answer(
    struct link *l, enum err e, const struct errmsg *em, const struct buf *out)
{
	struct img_result r = { .ok = e == ERR_OK };
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	const char *why = em->cause[0] != '\0' ? em->cause : err_text(e);
	int fd = -1;

	if (r.ok && (fd = sealed_new()) < 0)
		return ERR_NOMEM;
	if (r.ok) {
		e = sealed_write(fd, slice_of(out->p, out->n));
		if (e == ERR_OK)
			e = sealed_close_writes(fd);
		(void)snprintf(
		    r.files[0].name, sizeof(r.files[0].name), "preview.mp");
		r.files[0].bytes.n = out->n;
		r.n_files = 1;
	} else {
		(void)snprintf(r.reason, sizeof(r.reason), "%.*s",
		    (int)sizeof(r.reason) - 1, why);
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		msg_put_result(&b, &r);
		e = link_send(l, &b, &fd, r.n_files);
	}
	if (fd >= 0)
		(void)close(fd);
	return e;
}

enum err
preview_run(struct link *l)
{
	struct buf out = BUF_MAX(PREVIEW_BYTES_MAX);
	struct errmsg em = { 0 };
	struct slice in = { 0 };
	uint64_t bytes = 0;
	enum err e = link_wait(l, MSG_FILE);
	int fd;

	if (e != ERR_OK)
		return e == ERR_FOREIGN ? ERR_OK : e;
	fd = frame_take_fd(&l->in, 0);
	e = msg_get_file(&l->doc, &bytes);
	if (fd < 0)
		return ERR_MALFORMED;
	if (e == ERR_OK)
		e = sealed_map(fd, bytes, &in);
	(void)close(fd);
	if (e == ERR_OK)
		e = preview_answer(l,
		    preview_make(
			in, l->config.profile, l->table, l->charset, &out, &em),
		    &em, &out);
	sealed_unmap(&in);
	buf_wipe(&out);
	return e;
}
