/* node/api/checkpoint.c: a share whose membership stands still, and the way on
 * from there. */
#include "node/api/api_internal.h"

enum err
api_h_branches(struct api_call *c)
{
	struct share_branch *list = NULL;
	struct api_rows s;
	uint32_t n = 0;
	enum err e =
	    shares_branches(c->a->o.shares, c->param[0], &list, &n, &c->em);

	api_rows_init(&s, c, API_LIST_BYTES);
	for (uint32_t k = 0; e == ERR_OK && k < n; k++) {
		struct jw *w = api_row(&s);

		jw_str(w, "id", list[k].id);
		jw_u64(w, "first", list[k].first);
		jw_u64(w, "last", list[k].last);
		jw_str(w, "what", list[k].what);
		jw_u64(w, "wall_ms", list[k].wall_ms);
		jw_bool(w, "here", list[k].here);
		jw_str(w, "signed", list[k].signed_by);
		api_row_end(&s);
	}
	shares_branches_free(list);
	if (e == ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}

enum err
api_h_checkpoint(struct api_call *c)
{
	static const char *const keys[] = { "s:keep", "b:instead", NULL };
	struct buf b = BUF_MAX(64);
	const char *keep;
	bool waits = false;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "keep", &keep)) != ERR_OK)
		return e;
	e = shares_checkpoint(c->a->o.shares, c->param[0], keep,
	    json_get_bool(c->body, "instead", false), &waits, &c->em);
	if (e != ERR_OK)
		return e;
	buf_put_str(
	    &b, waits ? "{\"ok\":true,\"waits\":true}" : "{\"ok\":true}");
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
