/* node/api/api_internal.h: what the handlers share.
 *
 * A handler is straight-line code over one struct api_call: read arguments
 * and body, call a room, answer.  It returns an error with c->em filled; the
 * dispatcher turns that into an answer (or, once rows went out, into a last
 * row {error, cause, next}). */
#ifndef PSC_API_INTERNAL_H
#define PSC_API_INTERNAL_H

#include <pthread.h>

#include "node/api/api.h"
#include "node/share/share_edit.h"

#define API_PARAMS_MAX 2u
#define API_PARAM_BYTES 256u
#define API_ROW_BYTES ((size_t)4 << 20)   /* of one row or small answer */
#define API_LIST_BYTES ((size_t)64 << 20) /* of a list read in one go */
#define API_FIND_MAX 1000000u             /* assets one find may give */
#define API_FIELDS_MAX 64u                /* fields one find may ask for */
#define API_BATCH 128u                    /* rows read in one transaction */
#define API_FOLLOW_MS 250u                /* between looks for new events */
#define API_WAIT_MS 86400000u             /* longest sync wait */
#define API_BAD_MAX 1000u                 /* damages listed by verify */

#define API_SHA_TAG "sha256" /* local rows: op id -> digest, once exported */

#define API_NDJSON "application/x-ndjson"
#define API_JSON "application/json"
#define API_BYTES "application/octet-stream"

struct api {
	struct api_opts o;
	uint64_t started_ms;
	pthread_mutex_t mu; /* rest_listen, slot */
	char rest_listen[160];
	struct api_slot { /* the table read last: its files are asked for one
			     by one, and decoding it anew costs its length */
		struct cry_id op;
		struct content *content; /* NULL: empty or in use */
	} slot;
};

struct api_call {
	struct api *a;
	const struct api_request *r;
	struct api_out *out;
	const struct api_route *route;
	char param[API_PARAMS_MAX][API_PARAM_BYTES];
	struct json *body; /* parsed by api_body() */
	bool begun;
	struct errmsg em;
};

enum api_permission {
	API_READ,
	API_ACT,    /* changes something; the token suffices */
	API_LOCAL,  /* paths of this machine: only over the unix socket */
	API_PERSON, /* signed by the owner: over the unix socket, with the
		       passphrase each time (domain.md 25, rulings.md 29) */
};

typedef enum err (*api_handler_fn)(struct api_call *c);
struct api_route {
	const char *method;
	const char *pattern; /* below API_ROOT; {name} takes one segment */
	api_handler_fn handler;
	enum api_permission permission;
	bool streams;
	const char *args; /* query arguments, comma separated, or "" */
	const char *doc;
};
extern const struct api_route api_routes[];
extern const uint32_t api_n_routes;

/* route.c */
const struct api_route *api_route_find(const char *method, const char *path,
    char param[API_PARAMS_MAX][API_PARAM_BYTES], bool *path_known);

/* api.c: arguments */
const char *api_arg(const struct api_call *c, const char *name);
bool api_arg_flag(const struct api_call *c, const char *name);
enum err api_arg_u64(struct api_call *c, const char *name, uint64_t max,
    uint64_t *out) PSC_MUST_USE; /* absent: *out stays */
/* Parses the body as a JSON map into c->body; empty body: empty map. */
enum err api_body(struct api_call *c) PSC_MUST_USE;
/* A text the body must have. */
enum err api_need(
    struct api_call *c, const char *key, const char **out) PSC_MUST_USE;
/* Refuse body keys that are not in the list (NULL at the end) or have another
 * type: "s:name" text, "l:" list, "b:" boolean, "i:" integer. */
enum err api_only(struct api_call *c, const char *const *keys) PSC_MUST_USE;
/* "user@site" of who asks. */
#define API_ACTOR_BYTES 96u
/* Over the unix socket, and with the owner's passphrase unless the node runs
 * unattended.  ERR_AUTH, ERR_DENIED with c->em filled. */
enum err api_person(struct api_call *c) PSC_MUST_USE;
void api_actor(const struct api_call *c, char out[API_ACTOR_BYTES]);

/* api.c: answers */
enum err api_begin(struct api_call *c, const char *type) PSC_MUST_USE;
/* One JSON document: begins, writes, frees nothing. */
enum err api_answer(struct api_call *c, struct buf *b) PSC_MUST_USE;
enum err api_answer_ok(struct api_call *c) PSC_MUST_USE; /* {"ok":true} */

/* Rows of NDJSON (or of a server-sent stream), built in memory and written
 * by api_rows_flush().  Build inside a read transaction, flush outside. */
struct api_rows {
	struct api_call *c;
	struct buf b;
	struct jw w;
};
void api_rows_init(struct api_rows *s, struct api_call *c, size_t max);
void api_rows_fini(struct api_rows *s);
struct jw *api_row(struct api_rows *s); /* opens an object */
void api_row_end(struct api_rows *s);
/* Begins the answer even when there was no row yet. */
/* Begins the answer even when there was no row yet. */
enum err api_rows_flush(struct api_rows *s) PSC_MUST_USE;

/* text.c: ids and times as JSON texts */
void api_jw_id32(struct jw *w, const char *key, const uint8_t id[32]);
void api_jw_b32(struct jw *w, const char *key, const uint8_t *p, size_t n);
void api_jw_asset(struct jw *w, const char *key, const struct asset_id *id);
void api_jw_time(struct jw *w, const char *key, uint64_t wall_ms);
void api_jw_device(
    struct jw *w, const char *key, const struct cry_device_pub *d);
bool api_zero(const void *p, size_t n);

/* The shares at the time of a request, to name ids in rows. */
/* The fields of a peer, into an open object. */
void api_jw_peer(struct jw *w, const struct net_peer *p);
struct api_shares {
	struct share_info *list;
	uint32_t n;
};
enum err api_shares_load(struct api_call *c, struct api_shares *s) PSC_MUST_USE;
void api_shares_free(struct api_shares *s);
const char *api_share_name(const struct api_shares *s, const struct cry_id *id);
const char *api_compartment_name(
    const struct api_shares *s, const struct cry_id *id, uint16_t no);
/* {compartments: [...]} of one share with frontier roots. */
struct api_roots {
	struct net_root *list;
	uint32_t n;
};
void api_jw_share(struct jw *w, const char *key, const struct share_info *i,
    const struct api_roots *roots);
/* sync_words.c: {findings: [...], statements: n} into an open object. */
enum err api_jw_words(struct api_call *c, struct jw *w,
    const struct api_shares *shares) PSC_MUST_USE;

/* sync.c: by the key's text or its beginning, or by HOST:PORT or HOST. */
bool api_peer_is(const struct net_peer *p, const char *name);

/* edit.c: share and, from the body, compartment. */
enum err api_where(struct api_call *c, const char *share,
    struct share_where *out) PSC_MUST_USE;

/* asset.c */
enum err api_resolve(struct api_call *c, struct db_txn *t, const char *text,
    struct asset_id *out) PSC_MUST_USE;

/* fetch.c: content of the asset's default head that is not here is fetched;
 * ERR_TIMEOUT names who may hold it. */
enum err api_fetch(struct api_call *c, const struct asset_id *id) PSC_MUST_USE;

/* file.c: NULL is "original". */
enum err api_files_as(
    struct api_call *c, const char *as, enum workdir_as *out) PSC_MUST_USE;

/* edit_show.c: members of an asset's object: what was said of it. */
enum err api_jw_edits(struct jw *w, struct db_txn *t, const struct asset_id *id,
    bool history) PSC_MUST_USE;

void api_jw_lock(struct jw *w, const struct cat_fact *f);

/* --- share_routes.c --- */
/* Before a record of a share is signed: what peers have of its chain. */
void api_chain_fetch(struct api_call *c);
/* Done; or drafted, if other registrars sign, too. */
enum err api_signed_answer(struct api_call *c) PSC_MUST_USE;

/* handlers, one file a noun */
enum err api_h_status(struct api_call *c) PSC_MUST_USE;
enum err api_h_id(struct api_call *c) PSC_MUST_USE;
enum err api_h_config(struct api_call *c) PSC_MUST_USE;
enum err api_h_openapi(struct api_call *c) PSC_MUST_USE;
enum err api_h_shares(struct api_call *c) PSC_MUST_USE;
enum err api_h_share(struct api_call *c) PSC_MUST_USE;
enum err api_h_share_create(struct api_call *c) PSC_MUST_USE;
enum err api_h_members(struct api_call *c) PSC_MUST_USE;
enum err api_h_invite(struct api_call *c) PSC_MUST_USE;
enum err api_h_join(struct api_call *c) PSC_MUST_USE;
enum err api_h_grant(struct api_call *c) PSC_MUST_USE;
enum err api_h_revoke(struct api_call *c) PSC_MUST_USE;
enum err api_h_adopt(struct api_call *c) PSC_MUST_USE;
enum err api_h_branches(struct api_call *c) PSC_MUST_USE;
enum err api_h_checkpoint(struct api_call *c) PSC_MUST_USE;
enum err api_h_requests(struct api_call *c) PSC_MUST_USE;
enum err api_h_registrars(struct api_call *c) PSC_MUST_USE;
enum err api_h_approve(struct api_call *c) PSC_MUST_USE;
enum err api_h_freeze(struct api_call *c) PSC_MUST_USE;
enum err api_h_thaw(struct api_call *c) PSC_MUST_USE;
enum err api_h_rotate(struct api_call *c) PSC_MUST_USE;
enum err api_h_subscribe(struct api_call *c) PSC_MUST_USE;
enum err api_h_peers(struct api_call *c) PSC_MUST_USE;
enum err api_h_peer_add(struct api_call *c) PSC_MUST_USE;
enum err api_h_peer_remove(struct api_call *c) PSC_MUST_USE;
enum err api_h_pull(struct api_call *c) PSC_MUST_USE;
enum err api_h_import(struct api_call *c) PSC_MUST_USE;
enum err api_h_lookup(struct api_call *c) PSC_MUST_USE;
enum err api_h_profiles(struct api_call *c) PSC_MUST_USE;
enum err api_h_profile(struct api_call *c) PSC_MUST_USE;
enum err api_h_preview(struct api_call *c) PSC_MUST_USE;
enum err api_h_reidentify(struct api_call *c) PSC_MUST_USE;
enum err api_h_received(struct api_call *c) PSC_MUST_USE;
enum err api_h_quarantine(struct api_call *c) PSC_MUST_USE;
enum err api_h_quarantine_one(struct api_call *c) PSC_MUST_USE;
enum err api_h_release(struct api_call *c) PSC_MUST_USE;
enum err api_h_reject(struct api_call *c) PSC_MUST_USE;
enum err api_h_find(struct api_call *c) PSC_MUST_USE;
enum err api_h_asset(struct api_call *c) PSC_MUST_USE;
enum err api_h_fields_set(struct api_call *c) PSC_MUST_USE;
enum err api_h_tags_set(struct api_call *c) PSC_MUST_USE;
enum err api_h_note(struct api_call *c) PSC_MUST_USE;
enum err api_h_link(struct api_call *c) PSC_MUST_USE;
enum err api_h_retire(struct api_call *c) PSC_MUST_USE;
enum err api_h_unretire(struct api_call *c) PSC_MUST_USE;
enum err api_h_undo(struct api_call *c) PSC_MUST_USE;
enum err api_h_lock(struct api_call *c) PSC_MUST_USE;
enum err api_h_unlock(struct api_call *c) PSC_MUST_USE;
enum err api_h_locks(struct api_call *c) PSC_MUST_USE;
enum err api_h_group(struct api_call *c) PSC_MUST_USE;
enum err api_h_contexts(struct api_call *c) PSC_MUST_USE;
enum err api_h_context_set(struct api_call *c) PSC_MUST_USE;
/* audit.c */
enum err api_h_audit(struct api_call *c) PSC_MUST_USE;
enum err api_h_audit_verify(struct api_call *c) PSC_MUST_USE;
/* expect.c */
enum err api_h_expected(struct api_call *c) PSC_MUST_USE;
enum err api_h_expect_set(struct api_call *c) PSC_MUST_USE;
enum err api_h_contact_set(struct api_call *c) PSC_MUST_USE;
enum err api_h_missing(struct api_call *c) PSC_MUST_USE;
enum err api_h_files(struct api_call *c) PSC_MUST_USE;
enum err api_h_file(struct api_call *c) PSC_MUST_USE;
enum err api_h_get(struct api_call *c) PSC_MUST_USE;
enum err api_h_sync(struct api_call *c) PSC_MUST_USE;
enum err api_h_sync_now(struct api_call *c) PSC_MUST_USE;
enum err api_h_sync_wait(struct api_call *c) PSC_MUST_USE;
enum err api_h_drain(struct api_call *c) PSC_MUST_USE;
enum err api_h_air_export(struct api_call *c) PSC_MUST_USE;
enum err api_h_air_import(struct api_call *c) PSC_MUST_USE;
enum err api_h_events(struct api_call *c) PSC_MUST_USE;
enum err api_h_verify(struct api_call *c) PSC_MUST_USE;
enum err api_h_gc(struct api_call *c) PSC_MUST_USE;
enum err api_h_root(struct api_call *c) PSC_MUST_USE;
enum err api_h_backup(struct api_call *c) PSC_MUST_USE;
enum err api_h_repair(struct api_call *c) PSC_MUST_USE;
enum err api_h_workflows(struct api_call *c) PSC_MUST_USE;
enum err api_h_workflow_add(struct api_call *c) PSC_MUST_USE;
enum err api_h_workflow_check(struct api_call *c) PSC_MUST_USE;
enum err api_h_checkout(struct api_call *c) PSC_MUST_USE;
enum err api_h_checkin(struct api_call *c) PSC_MUST_USE;
enum err api_h_workdir_diff(struct api_call *c) PSC_MUST_USE;
enum err api_h_runs(struct api_call *c) PSC_MUST_USE;

#endif
