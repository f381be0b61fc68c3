/* node/api/backup.c: a backup into a folder of this machine. */
#include "node/api/api_internal.h"

#include "node/backup/backup.h"

static bool
backup_gone(void *ctx)
{
	struct api_call *c = ctx;

	return c->out->gone(c->out->ctx);
}

/* Before it begins, so that the backup tells of itself. */
static enum err
backup_audit(struct store_txn *t, void *ctx)
{
	return cat_audit_append(t, ctx, "backup", "store", "");
}

enum err
api_h_backup(struct api_call *c)
{
	static const char *const keys[] = { "s:dir", NULL };
	struct backup_opts o = { .store = c->a->o.store,
		.home = c->a->o.home,
		.node = &c->a->o.me->pub.sign,
		.bytes_per_s = c->a->o.conf->backup_bytes,
		.stop = backup_gone,
		.ctx = c };
	char actor[API_ACTOR_BYTES];
	struct buf b = BUF_MAX(4096);
	struct backup_report r = { 0 };
	struct jw w;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "dir", &o.dir)) != ERR_OK)
		return e;
	if (o.dir[0] != '/')
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Give the whole path, from / on.", "dir is relative");
	api_actor(c, actor);
	if ((e = store_write(o.store, backup_audit, actor)) != ERR_OK ||
	    (e = backup_make(&o, &r, &c->em)) != ERR_OK)
		return e;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_u64(&w, "commit", r.commit);
	jw_u64(&w, "bytes", r.bytes);
	jw_u64(&w, "copied_bytes", r.copied_bytes);
	jw_u64(&w, "segments", r.segments);
	api_jw_id32(&w, "root", r.root.b);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
