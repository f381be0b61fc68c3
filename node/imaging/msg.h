/* node/imaging/msg.h: what the frames between node and helper say.
 *
 * One msgpack map a frame: "k" is the kind, the rest depends on it.  Every
 * message has a put (append to a buf) and a get (bounded, whole or error).
 * Bulk goes by sealed memfd (sealed.h): the map then holds the size, and
 * the descriptors come in the order named here.
 *
 * kind            direction       descriptors
 * IMG_ASSOC       helper -> node  -
 * IMG_IDENTITY    helper -> node  -
 * IMG_OBJECT      helper -> node  original, [deid unless the same], [detail]
 * IMG_RESULT      helper -> node  one a file
 * IMG_DONE        helper -> node  -
 * IMG_VERDICT     helper -> node  -
 * IMG_ROW         helper -> node  -
 * IMG_ANSWER      helper -> node  -
 * IMG_COMMIT      helper -> node  -
 * MSG_CONFIG      node -> helper  [accepted socket]
 * MSG_ADMIT       node -> helper  -   answer to IMG_ASSOC
 * MSG_CONTEXT     node -> helper  -   answer to IMG_IDENTITY
 * MSG_STORED      node -> helper  -   answer to IMG_OBJECT
 * MSG_FILE        node -> helper  the file; IMG_RESULT answers a PREVIEW,
 *                                 IMG_ANSWER a report
 * MSG_DIAL        node -> helper  -   IMG_ANSWER answers
 * MSG_QUERY       node -> helper  -   IMG_ANSWER ends it
 * MSG_SERIES      node -> helper  container: u32 n, n x u64 length, bytes */
#ifndef PSC_IMAGING_MSG_H
#define PSC_IMAGING_MSG_H

#include "node/deid/table.h"
#include "node/imaging/imaging.h"

enum msg_kind {
	MSG_CONFIG = 32,
	MSG_ADMIT = 33,
	MSG_CONTEXT = 34,
	MSG_STORED = 35,
	MSG_FILE = 36,
	MSG_SERIES = 37,
	MSG_DIAL = 38,
	MSG_QUERY = 39,
};

#define MSG_VERSION 1u
#define MSG_TABLE_MAX TABLE_BYTES_MAX
/* De-identified catalog fields of one object. */
#define MSG_FIELDS_MAX (256 * KIB)
/* Plans and fields up to this size ride in the frame. */
#define MSG_DETAIL_INLINE (48 * KIB)
#define MSG_PIECE_BYTES 24u
#define MSG_FILES_MAX 8u
#define MSG_SERIES_MAX LIM_SERIES_MEMBERS

struct msg_config {
	enum imaging_mode mode;
	char called_ae[IMG_AE_MAX + 1];
	char profile[32]; /* "" but for PREVIEW */
	uint64_t memory_bytes_max;
	uint64_t object_bytes_max;
	uint32_t idle_ms;
	struct slice table; /* bytes of a struct deid_table, or empty; when got,
			       it borrows the doc's input */
};

/* MSG_CONTEXT with its own memory; skip: keep the original only. */
struct msg_context {
	bool skip;
	struct img_context ctx;
	char profile[32];
	char subject[IMG_TEXT_MAX + 1];
	char (*uids)[IMG_UID_MAX + 1];
	const char **new_uids;
};

/* IMG_OBJECT before its memfds are mapped.  object.original.n, .deid.n and
 * detail_n are claimed sizes with no bytes behind them yet; detail is set
 * when it rode in the frame (then it borrows the doc's input). */
struct msg_object {
	struct img_object object;
	struct img_piece *plans;      /* owned; both plans, original first */
	struct img_finding *findings; /* owned */
	bool same; /* deid is the original: one descriptor, one plan */
	uint64_t detail_n;
	uint32_t fields_n;
	struct slice detail;
};

/* Parse a frame and say its kind.  End doc with mp_doc_fini() either way. */
enum err msg_open(
    struct slice frame, struct mp_doc *doc, uint32_t *kind) PSC_MUST_USE;

void msg_put_config(struct buf *b, const struct msg_config *c);
enum err msg_get_config(struct mp_doc *d, struct msg_config *out) PSC_MUST_USE;
void msg_put_assoc(struct buf *b, const struct img_assoc *a);
enum err msg_get_assoc(struct mp_doc *d, struct img_assoc *out) PSC_MUST_USE;
void msg_put_admit(struct buf *b, enum img_admit answer, struct slice table);
/* *table borrows the doc's input. */
enum err msg_get_admit(
    struct mp_doc *d, enum img_admit *answer, struct slice *table) PSC_MUST_USE;
void msg_put_identity(struct buf *b, const struct img_identity *id);
/* out->uids is allocated; msg_identity_fini frees it. */
enum err msg_get_identity(
    struct mp_doc *d, struct img_identity *out) PSC_MUST_USE;
void msg_identity_fini(struct img_identity *id);
void msg_put_context(struct buf *b, const struct img_context *ctx);
enum err msg_get_context(
    struct mp_doc *d, struct msg_context *out) PSC_MUST_USE;
void msg_context_fini(struct msg_context *c);

/* detail: both plans and the fields, one after the other. */
void msg_put_detail(struct buf *b, const struct img_object *o);
/* The frame itself; detail is put in it if small enough (*by_memfd false).
 * A deid at the address of original is the same bytes: n_deid_plan is 0. */
void msg_put_object(struct buf *b, const struct img_object *o,
    struct slice detail, bool *by_memfd);
enum err msg_get_object(struct mp_doc *d, struct msg_object *out) PSC_MUST_USE;
/* Split the detail bytes into plans and fields and check them. */
enum err msg_get_detail(struct slice detail, struct msg_object *m) PSC_MUST_USE;
void msg_object_fini(struct msg_object *m);

void msg_put_stored(struct buf *b, uint16_t status);
enum err msg_get_stored(struct mp_doc *d, uint16_t *status) PSC_MUST_USE;
void msg_put_file(struct buf *b, uint64_t bytes);
enum err msg_get_file(struct mp_doc *d, uint64_t *bytes) PSC_MUST_USE;
void msg_put_series(struct buf *b, uint64_t bytes);
enum err msg_get_series(struct mp_doc *d, uint64_t *bytes) PSC_MUST_USE;
/* files[i].bytes.n is the claimed size; bytes follow by memfd. */
void msg_put_result(struct buf *b, const struct img_result *r);
/* out->fields borrows the doc's input. */
enum err msg_get_result(struct mp_doc *d, struct img_result *out) PSC_MUST_USE;
void msg_put_done(struct buf *b, const struct img_done *done);
enum err msg_get_done(struct mp_doc *d, struct img_done *out) PSC_MUST_USE;

void msg_put_verdict(struct buf *b, const struct img_verdict *v);
/* out->text borrows the doc's input. */
enum err msg_get_verdict(
    struct mp_doc *d, struct img_verdict *out) PSC_MUST_USE;

void msg_put_dial(struct buf *b, const struct img_dial *d);
enum err msg_get_dial(struct mp_doc *d, struct img_dial *out) PSC_MUST_USE;
void msg_put_query(struct buf *b, const struct img_query *q);
enum err msg_get_query(struct mp_doc *d, struct img_query *out) PSC_MUST_USE;
void msg_put_row(struct buf *b, const struct img_row *r);
enum err msg_get_row(struct mp_doc *d, struct img_row *out) PSC_MUST_USE;
void msg_put_commit(struct buf *b, const struct img_commit *c);
/* refs: room for IMG_REFS_MAX, which out->refs is then. */
enum err msg_get_commit(struct mp_doc *d, struct img_ref *refs,
    struct img_commit *out) PSC_MUST_USE;
void msg_put_answer(struct buf *b, const struct img_answer *a);
enum err msg_get_answer(struct mp_doc *d, struct img_answer *out) PSC_MUST_USE;

/* Characters PS3.5 9.1 allows in a UID, 1 to 64 of them (no more is asked:
 * real senders break the rules of components). */
bool msg_uid_ok(const char *uid);

#endif
