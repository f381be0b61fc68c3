/* store/catalog/content_many.c: several members at once.
 *
 * Happy path: headers out of the bundle, then the pieces of all bodies, a few
 * of every file at a time, each straight to its place behind its header, then
 * the hashes of the whole files in one many-lane pass.
 * Failure modes: those of content_stream, each for one member alone; a member
 * of an unusual make (a manifest of manifests) is read by content_read. */
#include "store/base/mem.h"
#include "store/catalog/catalog_internal.h"

struct content_many {
	struct store *s;
	struct blob_reader *r;
	struct blob_manifest body[CONTENT_MANY];
};

struct content_many *
content_many_new(struct store *s)
{
	struct content_many *r = mem_new(sizeof(*r));

	if (r == NULL)
		return NULL;
	r->s = s;
	r->r = blob_reader_new(s);
	if (r->r != NULL)
		return r;
	mem_free(r);
	return NULL;
}

void
content_many_free(struct content_many *r)
{
	if (r == NULL)
		return;
	blob_reader_free(r->r);
	mem_free(r);
}

static enum err
head_part(void *ctx, struct slice part)
{
	struct buf *out = ctx;

	buf_put_slice(out, part);
	return buf_err(out);
}

/* The header, room for the rest, and the list of the body's pieces. */
static enum err
member_begin(struct content *c, const struct content_row *m,
    struct blob_manifest *body, struct buf *out)
{
	enum err e;

	buf_reset(out);
	if (m->len > CONTENT_MANY_BYTES || m->len > out->max)
		return ERR_LIMIT;
	if (m->len > 0 && buf_room(out, (size_t)m->len) == NULL)
		return ERR_NOMEM;
	e = content_header(c, m, head_part, out);
	if (e == ERR_OK && m->body.n > 0)
		e = blob_manifest_decode(m->body, body);
	if (e == ERR_OK && body->raw_len != m->len - m->head_n)
		e = ERR_CORRUPT;
	return e;
}

/* Piece number k of every body that has so many. */
static void
pieces_read(struct content_many *r, uint32_t n, struct content_got *got)
{
	struct blob_want w[CONTENT_MANY];
	uint32_t of[CONTENT_MANY], i, k, n_w;

	for (k = 0, n_w = 1; n_w > 0; k++) {
		for (n_w = 0, i = 0; i < n; i++) {
			struct buf *out = &got[i].bytes;

			if (got[i].err != ERR_OK || r->body[i].depth > 0 ||
			    k >= r->body[i].n)
				continue;
			if (r->body[i].e[k].raw_len > out->max - out->n) {
				got[i].err = ERR_CORRUPT;
				continue;
			}
			of[n_w] = i;
			w[n_w++] =
			    (struct blob_want){ &r->body[i].e[k], out, ERR_OK };
		}
		blob_reader_many(r->r, w, n_w);
		for (i = 0; i < n_w; i++)
			got[of[i]].err = w[i].err;
	}
}

static void
hashes_check(const struct content *c, uint32_t first, uint32_t n,
    struct content_got *got)
{
	struct slice in[CONTENT_MANY] = { 0 };
	struct cry_id is[CONTENT_MANY];
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (got[i].err == ERR_OK)
			in[i] = buf_slice(&got[i].bytes);
	}
	cry_hash_many(in, n, is);
	for (i = 0; i < n; i++) {
		const struct content_row *m = &c->m[first + i];

		if (got[i].err == ERR_OK &&
		    (in[i].n != m->len ||
			memcmp(&is[i], &m->hash, sizeof(is[i])) != 0))
			got[i].err = ERR_CORRUPT;
	}
}

void
content_read_many(struct content_many *r, struct content *c, uint32_t first,
    uint32_t n, struct content_got *got)
{
	struct store_lease lease; /* as content_stream */
	uint32_t i;

	REQUIRE(n <= CONTENT_MANY && first <= c->n && n <= c->n - first);
	store_lease_begin(r->s, &lease);
	(void)pthread_mutex_lock(&c->mu);
	for (i = 0; i < n; i++)
		got[i].err = member_begin(
		    c, &c->m[first + i], &r->body[i], &got[i].bytes);
	(void)pthread_mutex_unlock(&c->mu);
	pieces_read(r, n, got);
	for (i = 0; i < n; i++) {
		if (got[i].err != ERR_OK || r->body[i].depth == 0)
			continue;
		buf_reset(&got[i].bytes);
		got[i].err = content_read(c, first + i, &got[i].bytes);
	}
	hashes_check(c, first, n, got);
	for (i = 0; i < n; i++)
		blob_manifest_fini(&r->body[i]);
	store_lease_end(r->s, &lease);
}
