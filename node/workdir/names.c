/* node/workdir/names.c: what folders are called, and whose they are. */
#include "node/workdir/checkout.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define NAMES_ABOVE_MAX 6u /* levels */

struct modality {
	char text[17];
};

static int
modality_field(void *ctx, struct slice name, struct slice value)
{
	static const struct mp_limits lim = { 256, 8, 2 };
	struct modality *m = ctx;
	struct mp_doc d = { 0 };
	struct slice s;

	if (!slice_eq(name, SLICE_LIT("Modality")))
		return 0;
	if (mp_parse(value, &lim, &d) != ERR_OK)
		return 1;
	s = mp_str(&d, d.root, sizeof(m->text) - 1);
	if (d.err == ERR_OK && s.n > 0)
		memcpy(m->text, s.p, s.n);
	mp_doc_fini(&d);
	return 1;
}

/* The subject's key above an asset, "" without one. */
static enum err
subject_of(const struct checkout *k, struct db_txn *t,
    const struct cat_asset *a, char out[CAT_KEY_MAX + 1])
{
	struct cat_asset *up = mem_new(sizeof(*up));
	struct asset_id at = a->id, none = { { 0 } };
	uint32_t depth;
	enum err e = up == NULL ? ERR_NOMEM : ERR_OK;

	out[0] = '\0';
	for (depth = 0; e == ERR_OK && depth < NAMES_ABOVE_MAX &&
			memcmp(&at, &none, sizeof(at)) != 0;
	     depth++) {
		e = cat_asset_get(k->env->store, t, &at, up);
		if (e == ERR_OK && strcmp(up->level, "subject") == 0) {
			memcpy(out, up->key, sizeof(up->key));
			break;
		}
		at = up->parent;
	}
	mem_free(up);
	return e;
}

static bool
path_taken(const struct checkout *k, const char *path)
{
	uint32_t i;

	for (i = 0; i < k->m.n; i++) {
		if (strcmp(k->m.a[i].path, path) == 0)
			return true;
	}
	return false;
}

enum err
wd_folder_name(const struct checkout *k, struct db_txn *t,
    const struct cat_asset *a, char out[CONTENT_NAME_MAX + 1])
{
	const struct wd_asset *old = wd_asset_find(&k->m, &a->id);
	char subject[CAT_KEY_MAX + 1], id[ASSET_ID_TEXT + 1];
	char text[CONTENT_NAME_MAX + 1];
	struct modality m = { "" };
	int shown;
	size_t i;
	enum err e;

	if (old != NULL) {
		memcpy(out, old->path, sizeof(old->path));
		return ERR_OK;
	}
	e = subject_of(k, t, a, subject);
	if (e == ERR_OK)
		e = cat_fields_each(t, &a->id, modality_field, &m);
	if (e != ERR_OK)
		return e;
	enc_b32(slice_of(a->id.b, sizeof(a->id.b)), id);
	for (shown = 8; shown <= (int)ASSET_ID_TEXT; shown += 8) {
		(void)snprintf(text, sizeof(text), "%.40s%s%s%s%s_%.*s",
		    subject, subject[0] != '\0' ? "_" : "", a->level,
		    m.text[0] != '\0' ? "_" : "", m.text, shown, id);
		for (i = 0; text[i] != '\0'; i++) {
			if ((unsigned char)text[i] <= ' ' ||
			    (unsigned char)text[i] > '~')
				text[i] = '_';
		}
		content_name_clean(slice_str(text), out);
		if (!path_taken(k, out))
			return ERR_OK;
	}
	return ERR_EXISTS;
}

void
wd_names_of(const struct share_info *shares, uint32_t n,
    const struct cat_asset *a, struct wd_asset *w)
{
	uint32_t i, c;

	/* A share that was left has no name any more: the manifest needs one.
	 */
	(void)snprintf(w->share, sizeof(w->share), "?");
	(void)snprintf(w->compartment, sizeof(w->compartment), "?");
	for (i = 0; i < n; i++) {
		const struct share_info *s = &shares[i];

		if (memcmp(&s->id, &a->share, sizeof(a->share)) != 0)
			continue;
		if (s->name[0] != '\0')
			memcpy(w->share, s->name, sizeof(w->share));
		for (c = 0; c < s->n_compartments; c++) {
			if (s->c[c].no == a->compartment &&
			    s->c[c].name[0] != '\0')
				memcpy(w->compartment, s->c[c].name,
				    sizeof(w->compartment));
		}
	}
}
