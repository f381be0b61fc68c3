/* node/api/api.c: one request from start to end, and what handlers use.
 *
 * Happy path: route found, permission held, handler run, answer written.
 * Failure before the first byte: a status and {error, cause, next}.  Failure
 * after it: rows get a last row with the same members, bytes are cut. */
#include "node/api/api_internal.h"

#include <pwd.h>

#include "store/base/clock.h"
#include "store/base/mem.h"
#include "store/base/num.h"

enum err
api_new(const struct api_opts *o, struct api **out)
{
	struct api *a = mem_new(sizeof(*a));

	if (a == NULL)
		return ERR_NOMEM;
	a->o = *o;
	a->started_ms = clock_mono_ms();
	(void)snprintf(a->rest_listen, sizeof(a->rest_listen), "off");
	if (pthread_mutex_init(&a->mu, NULL) != 0) {
		mem_free(a);
		return ERR_NOMEM;
	}
	*out = a;
	return ERR_OK;
}

void
api_free(struct api *a)
{
	if (a == NULL)
		return;
	content_close(a->slot.content);
	(void)pthread_mutex_destroy(&a->mu);
	mem_free(a);
}

void
api_set_rest_listen(struct api *a, const char *text)
{
	(void)pthread_mutex_lock(&a->mu);
	(void)snprintf(a->rest_listen, sizeof(a->rest_listen), "%s", text);
	(void)pthread_mutex_unlock(&a->mu);
}

unsigned
api_status_of(enum err e)
{
	switch (e) {
	case ERR_OK: return 200;
	case ERR_LIMIT:
	case ERR_SHORT:
	case ERR_TRAILING:
	case ERR_MALFORMED:
	case ERR_AGAIN: return 400;
	case ERR_DENIED:
	case ERR_AUTH: return 403;
	case ERR_NOTFOUND: return 404;
	case ERR_EXISTS: return 409;
	case ERR_UNSUPPORTED: return 422;
	case ERR_NOMEM:
	case ERR_BUSY:
	case ERR_CANCELLED: return 503;
	case ERR_TIMEOUT: return 504;
	case ERR_FULL: return 507;
	case ERR_CORRUPT:
	case ERR_IO:
	case ERR_FOREIGN: return 500;
	}
	return 500;
}

void
api_error_json(const struct errmsg *em, struct buf *out)
{
	struct jw w;

	jw_init(&w, out);
	jw_obj(&w, NULL);
	jw_str(&w, "error", err_text(em->code));
	jw_str(
	    &w, "cause", em->cause[0] != '\0' ? em->cause : err_text(em->code));
	jw_str(&w, "next", em->next);
	jw_end(&w);
	buf_put_str(out, "\n");
}

/* --- dispatch --- */
static void
api_fail(struct api_call *c, unsigned status)
{
	struct buf b = BUF_MAX(4096);
	bool lines = c->route != NULL && c->route->handler != api_h_file;

	if (c->begun && c->r->event_stream)
		buf_put_str(&b, "event: error\ndata: ");
	api_error_json(&c->em, &b);
	if (c->begun && c->r->event_stream)
		buf_put_str(&b, "\n");
	if ((c->begun && !lines) || buf_err(&b) != ERR_OK) {
		c->out->abort(c->out->ctx);
	} else {
		if (!c->begun)
			(void)c->out->begin(c->out->ctx, status, API_JSON);
		(void)c->out->write(c->out->ctx, buf_slice(&b));
	}
	buf_fini(&b);
}

static enum err
api_local(struct api_call *c)
{
	if (c->r->local)
		return ERR_OK;
	return errmsg_set(&c->em, ERR_DENIED,
	    "Use the pesscara command on the node's own machine.",
	    "this act is open to the node's owner at its own machine only");
}

enum err
api_person(struct api_call *c)
{
	const struct api_opts *o = &c->a->o;
	enum err e = api_local(c);

	if (e != ERR_OK || o->unattended)
		return e;
	if (c->r->passphrase == NULL)
		return errmsg_set(&c->em, ERR_AUTH,
		    "Type it when asked, or give --passphrase-file F.",
		    "this act is signed by a person: the owner's passphrase "
		    "is needed");
	if (o->person(o->person_ctx, c->r->passphrase) != ERR_OK)
		return errmsg_set(&c->em, ERR_AUTH, "Try again.",
		    "this is not the owner's passphrase");
	return ERR_OK;
}

static enum err
api_permit(struct api_call *c)
{
	if (c->route->permission == API_PERSON)
		return api_person(c);
	return c->route->permission == API_LOCAL ? api_local(c) : ERR_OK;
}

void
api_handle(struct api *a, const struct api_request *r, struct api_out *out)
{
	struct api_call *c = mem_new(sizeof(*c));
	bool known = false;
	enum err e;

	if (c == NULL) {
		out->abort(out->ctx);
		return;
	}
	c->a = a;
	c->r = r;
	c->out = out;
	c->route = api_route_find(r->method, r->path, c->param, &known);
	if (c->route == NULL) {
		(void)errmsg_set(&c->em, known ? ERR_UNSUPPORTED : ERR_NOTFOUND,
		    "See " API_ROOT "/openapi.json.",
		    known ? "this path does not take that method"
			  : "there is no such path");
		api_fail(c, known ? 405 : 404);
		mem_free(c);
		return;
	}
	e = api_permit(c);
	if (e == ERR_OK)
		e = c->route->handler(c);
	if (e != ERR_OK) {
		if (c->em.code == ERR_OK)
			(void)errmsg_set(&c->em, e, "", "%s", err_text(e));
		api_fail(c, api_status_of(e));
	}
	json_free(c->body);
	mem_free(c);
}

/* --- arguments --- */
const char *
api_arg(const struct api_call *c, const char *name)
{
	const char *v = c->r->arg(c->r->arg_ctx, name);

	return v != NULL && *v != '\0' ? v : NULL;
}

bool
api_arg_flag(const struct api_call *c, const char *name)
{
	const char *v = api_arg(c, name);

	return v != NULL && (strcmp(v, "1") == 0 || strcmp(v, "true") == 0);
}

enum err
api_arg_u64(struct api_call *c, const char *name, uint64_t max, uint64_t *out)
{
	const char *v = api_arg(c, name);

	if (v == NULL)
		return ERR_OK;
	if (num_u64(slice_str(v), 0, max, out) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED, "Give a number.",
		    "%s must be a number up to %llu", name,
		    (unsigned long long)max);
	return ERR_OK;
}

enum err
api_body(struct api_call *c)
{
	static const char next[] = "Send one JSON object.";
	struct slice s = c->r->body;
	enum err e =
	    json_parse(s.n > 0 ? s : SLICE_LIT("{}"), &c->body, &c->em);

	if (e != ERR_OK)
		return e;
	if (!json_is_map(c->body))
		return errmsg_set(&c->em, ERR_MALFORMED, next,
		    "the body must be a JSON object");
	return ERR_OK;
}

enum err
api_need(struct api_call *c, const char *key, const char **out)
{
	*out = json_get_str(c->body, key, NULL);
	if (*out == NULL || **out == '\0')
		return errmsg_set(
		    &c->em, ERR_MALFORMED, "Add it.", "%s is missing", key);
	return ERR_OK;
}

/* A getter gives its default back when the type is wrong. */
static bool
api_is_a(const struct json *map, const char *key, char type)
{
	switch (type) {
	case 's': return json_str(json_get(map, key)) != NULL;
	case 'l': return json_is_array(json_get(map, key));
	case 'b':
		return json_get_bool(map, key, true) ==
		       json_get_bool(map, key, false);
	case 'i': return json_get_int(map, key, 0) == json_get_int(map, key, 1);
	default: return false;
	}
}

static enum err
api_only_one(struct api_call *c, const char *const *keys, const char *key)
{
	size_t k;

	for (k = 0; keys[k] != NULL && strcmp(keys[k] + 2, key) != 0; k++)
		;
	if (keys[k] == NULL)
		return errmsg_set(&c->em, ERR_UNSUPPORTED,
		    "See " API_ROOT "/openapi.json.",
		    "\"%.48s\" is not known here", key);
	if (!api_is_a(c->body, key, keys[k][0]))
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "See " API_ROOT "/openapi.json.",
		    "\"%.48s\" has the wrong type", key);
	return ERR_OK;
}

enum err
api_only(struct api_call *c, const char *const *keys)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; i < json_len(c->body) && e == ERR_OK; i++) {
		const char *key = NULL;

		(void)json_member(c->body, i, &key);
		e = api_only_one(c, keys, key);
	}
	return e;
}

void
api_actor(const struct api_call *c, char out[API_ACTOR_BYTES])
{
	char room[1024];
	struct passwd pw, *found = NULL;

	if (getpwuid_r(c->r->uid, &pw, room, sizeof(room), &found) == 0 &&
	    found != NULL)
		(void)snprintf(out, API_ACTOR_BYTES, "%.24s@%s", pw.pw_name,
		    c->a->o.conf->site);
	else
		(void)snprintf(out, API_ACTOR_BYTES, "uid%u@%s",
		    (unsigned)c->r->uid, c->a->o.conf->site);
}

/* --- answers --- */
enum err
api_begin(struct api_call *c, const char *type)
{
	if (c->begun)
		return ERR_OK;
	c->begun = true;
	return c->out->begin(c->out->ctx, 200, type);
}

enum err
api_answer(struct api_call *c, struct buf *b)
{
	enum err e;

	buf_put_str(b, "\n");
	if ((e = buf_err(b)) != ERR_OK)
		return e;
	e = api_begin(c, API_JSON);
	return e == ERR_OK ? c->out->write(c->out->ctx, buf_slice(b)) : e;
}

enum err
api_answer_ok(struct api_call *c)
{
	struct buf b = BUF_MAX(64);
	enum err e;

	buf_put_str(&b, "{\"ok\":true}");
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

void
api_rows_init(struct api_rows *s, struct api_call *c, size_t max)
{
	s->c = c;
	buf_init(&s->b, max);
	jw_init(&s->w, &s->b);
}

void
api_rows_fini(struct api_rows *s)
{
	buf_fini(&s->b);
}

struct jw *
api_row(struct api_rows *s)
{
	jw_init(&s->w, &s->b);
	if (s->c->r->event_stream)
		buf_put_str(&s->b, "data: ");
	jw_obj(&s->w, NULL);
	return &s->w;
}

void
api_row_end(struct api_rows *s)
{
	jw_end(&s->w);
	buf_put_str(&s->b, s->c->r->event_stream ? "\n\n" : "\n");
}

enum err
api_rows_flush(struct api_rows *s)
{
	struct api_call *c = s->c;
	enum err e = buf_err(&s->b);

	if (e == ERR_LIMIT)
		return errmsg_set(&c->em, e, "Ask for less at once.",
		    "the answer is too large");
	if (e == ERR_OK)
		e = api_begin(
		    c, c->r->event_stream ? "text/event-stream" : API_NDJSON);
	if (e == ERR_OK && s->b.n > 0)
		e = c->out->write(c->out->ctx, buf_slice(&s->b));
	buf_reset(&s->b);
	return e;
}
