/* node/share/share.c: the list of shares, and how it follows commits. */
#include "node/share/share_internal.h"

#include "node/ops/log.h"

struct cry_id
share_cry_id(const struct share_id *id)
{
	struct cry_id out;

	_Static_assert(sizeof(out.b) == sizeof(id->b), "both are digests");
	memcpy(out.b, id->b, sizeof(out.b));
	return out;
}

struct share_id
share_id_of(const struct cry_id *id)
{
	struct share_id out;

	memcpy(out.b, id->b, sizeof(out.b));
	return out;
}

struct share_slot *
share_slot_find(struct shares *sh, const struct share_id *id)
{
	uint32_t i;

	for (i = 0; i < sh->n; i++) {
		if (memcmp(sh->slot[i]->id.b, id->b, sizeof(id->b)) == 0)
			return sh->slot[i];
	}
	return NULL;
}

/* Only the writer thread (and open) adds, so only others need the lock to
 * look. */
enum err
share_slot_add(struct shares *sh, const struct share_id *id, uint32_t no,
    struct share_slot **out)
{
	struct share_slot *s = share_slot_find(sh, id), **v;
	enum err e = ERR_OK;

	if (s != NULL) {
		pthread_mutex_lock(&sh->lock);
		s->no = no; /* moves only while nothing is durable yet */
		pthread_mutex_unlock(&sh->lock);
		*out = s;
		return ERR_OK;
	}
	if (sh->n >= LIM_SHARES)
		return ERR_LIMIT;
	if ((s = mem_new(sizeof(*s))) == NULL)
		return ERR_NOMEM;
	s->id = *id;
	s->no = no;
	pthread_mutex_lock(&sh->lock);
	if (sh->n == sh->cap) {
		v = mem_grow(
		    sh->slot, sh->cap + 16, sizeof(struct share_slot *));
		if (v != NULL) {
			sh->slot = v;
			sh->cap += 16;
		} else {
			e = ERR_NOMEM;
		}
	}
	if (e == ERR_OK)
		sh->slot[sh->n++] = s;
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		mem_free(s);
	else
		*out = s;
	return e;
}

enum err
share_work(struct store_txn *t, struct shares *sh, const struct share_id *id,
    struct share_slot **out)
{
	struct cry_id cid = share_cry_id(id);
	struct share_slot *slot;
	uint32_t no;
	enum err e;

	if ((e = oplog_share_no(store_txn_db(t), &cid, &no)) != ERR_OK)
		return e;
	if ((e = share_slot_add(sh, id, no, &slot)) != ERR_OK)
		return e;
	e = share_state_sync(sh, store_txn_db(t), slot, &slot->wrk);
	if (e == ERR_OK)
		*out = slot;
	return e;
}

enum err
share_work_no(struct store_txn *t, struct shares *sh, uint32_t no,
    struct share_slot **out)
{
	uint32_t i;

	for (i = 0; i < sh->n; i++) {
		if (sh->slot[i]->no == no && sh->slot[i]->pub != NULL)
			return share_work(t, sh, &sh->slot[i]->id, out);
	}
	return ERR_NOTFOUND;
}

/* --- after a commit --- */

static int
shares_see(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct shares *sh = ctx;
	struct share_id id = share_id_of(share);
	struct share_slot *slot;

	return (int)share_slot_add(sh, &id, no, &slot);
}

/* Is there any selector? */
static bool
shares_select(struct shares *sh)
{
	const struct share_state *s;
	bool any = false;
	uint32_t i, no;

	pthread_mutex_lock(&sh->lock);
	for (i = 0; i < sh->n; i++) {
		s = sh->slot[i]->pub;
		for (no = 0; s != NULL && no <= LIM_COMPARTMENTS; no++)
			any |= s->where[no] != NULL;
	}
	pthread_mutex_unlock(&sh->lock);
	return any;
}

static enum err
shares_refresh(struct shares *sh)
{
	struct db_txn *txn = NULL;
	enum err e, one;
	uint32_t i;
	int rc;

	if ((e = store_read(sh->store, &txn)) != ERR_OK)
		return e;
	rc = (int)oplog_shares_each(txn, shares_see, sh);
	e = rc < 0 ? (enum err)rc : ERR_OK;
	for (i = 0; i < sh->n; i++) {
		pthread_mutex_lock(&sh->lock);
		one = share_state_sync(sh, txn, sh->slot[i], &sh->slot[i]->pub);
		pthread_mutex_unlock(&sh->lock);
		if (one != ERR_OK && one != ERR_NOTFOUND)
			e = one;
	}
	db_abort(txn);
	atomic_store(&sh->selects, shares_select(sh));
	return e;
}

static void
shares_committed(void *ctx)
{
	struct shares *sh = ctx;
	enum err e;

	if (!sh->touched)
		return;
	if (sh->touched_members) {
		e = shares_refresh(sh);
		if (e != ERR_OK)
			log_error("share", "cannot follow the membership",
			    "error=\"%s\"", err_text(e));
		sh->touched_members = e != ERR_OK;
		atomic_store(&sh->select_from, 0);
	}
	if (sh->touched_drops)
		atomic_fetch_add(&sh->drops_gen, 1);
	if (sh->touched_wants)
		atomic_fetch_add(&sh->wants_gen, 1);
	sh->touched_wants = sh->touched_drops = false;
	sh->touched = sh->touched_members;
	pthread_mutex_lock(&sh->lock);
	if (sh->notice != NULL)
		sh->notice(sh->notice_ctx);
	pthread_mutex_unlock(&sh->lock);
}

void
shares_set_notice(struct shares *sh, shares_notice_fn fn, void *ctx)
{
	pthread_mutex_lock(&sh->lock);
	sh->notice = fn;
	sh->notice_ctx = ctx;
	pthread_mutex_unlock(&sh->lock);
}

uint64_t
shares_incarnation(const struct shares *sh)
{
	return sh->incarnation;
}

uint64_t
shares_wants_gen(const struct shares *sh)
{
	return atomic_load(&sh->wants_gen);
}

uint64_t
shares_drops_gen(const struct shares *sh)
{
	return atomic_load(&sh->drops_gen);
}

enum err
shares_open(const struct shares_opts *o, struct shares **out, struct errmsg *em)
{
	struct shares *sh;
	enum err e;

	if (o->site == NULL || o->site[0] == '\0' ||
	    strlen(o->site) > LIM_NAME_BYTES)
		return errmsg_set(em, ERR_LIMIT, "choose a shorter name",
		    "the site's name must have 1 to %u bytes", LIM_NAME_BYTES);
	if ((sh = mem_new(sizeof(*sh))) == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "no memory for shares");
	sh->store = o->store;
	sh->me = o->me;
	(void)snprintf(sh->site, sizeof(sh->site), "%s", o->site);
	cry_random(&sh->incarnation, sizeof(sh->incarnation));
	pthread_mutex_init(&sh->lock, NULL);
	pthread_mutex_init(&sh->settling, NULL);
	e = shares_refresh(sh);
	if (e == ERR_OK)
		e = store_on_commit(o->store, shares_committed, sh);
	if (e != ERR_OK) {
		shares_close(sh);
		return errmsg_set(em, e, "run pesscara verify",
		    "cannot load the shares: %s", err_text(e));
	}
	*out = sh;
	return ERR_OK;
}

void
shares_close(struct shares *sh)
{
	uint32_t i;

	if (sh == NULL)
		return;
	store_off_commit(sh->store, shares_committed, sh);
	for (i = 0; i < sh->n; i++) {
		share_state_free(sh->slot[i]->pub);
		share_state_free(sh->slot[i]->wrk);
		mem_free(sh->slot[i]);
	}
	mem_free(sh->slot);
	pthread_mutex_destroy(&sh->lock);
	pthread_mutex_destroy(&sh->settling);
	mem_free(sh);
}
