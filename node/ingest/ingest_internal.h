/* node/ingest/ingest_internal.h: the vault's rows and the pieces of intake.
 *
 * Local rows (sealed, store_row_*), by tag:
 *   "q"     be64 item number          -> struct q_item
 *   "qseq"  ""                        -> last item number
 *   "qopen" hash16(target, series, AE) -> be64 item held for that series
 *   "qser"  hash16(target, series) + be64 item -> ""  (all items, any AE)
 *   "qfree" be64 item                 -> "" rejected, its copies are going
 *   "vi"    be64 item + be32 index    -> struct v_page, from image index on
 *   "commit" hash16(calling AE, transaction) -> whom to report to, of what
 *   "pkey"  share id                  -> 32-byte pseudonym key
 *   "pmap"  hash16(share, patient)    -> pseudonym and what it stands for;
 *                                        patient: PatientID, issuer, domain
 *   "psub"  hash16(share, pseudonym)  -> those keys of "pmap", 16 bytes each
 *   "plist" hash16(domain, PatientID) -> pseudonym from the lookup list
 *   "plname" hash16(pseudonym)        -> "" a lookup list gives it
 *   "pused" hash16(pseudonym)         -> "" the pattern gave it to somebody
 *   "ident" hash16(PatientID), hash16(two parts of a name) -> "1" (gate.c)
 *   "pseq"  share id                  -> last sequential pseudonym
 *
 * Tables that only speed things up, made anew when they are lost (held.c):
 *   HELD    hash16(target, SOP UID)   -> what is held under it, oldest first:
 *                                        hash12(key, original), be40 item
 *   FILE    hash16(target, path)      -> hash16(stat), be40 item; never made
 *                                        anew: the file is looked into then */
#ifndef PSC_INGEST_INTERNAL_H
#define PSC_INGEST_INTERNAL_H

#include <poll.h>
#include <pthread.h>

#include "node/ingest/ingest.h"
#include "node/tls/tls.h"

/* PatientID is LO: 64 characters (PS3.5 6.2). */
#define PSEUDONYM_BYTES_MAX 64u
#define Q_FINDINGS 8u
/* What stands for a calling AE when a person imports files. */
#define INGEST_IMPORT_AE "IMPORT"
#define INGEST_FOLDER_AE "FOLDER"

struct key16 {
	uint8_t b[16];
};

/* Tags that whatever comes through an inbox gets when it is released. */
#define INGEST_TAGS_MAX (CONF_TAGS_MAX + 1u)
struct intake_tags {
	char t[INGEST_TAGS_MAX][64];
	uint32_t n;
};

/* Where an association's or an import's objects go. */
struct sink {
	struct share_id share;
	uint32_t share_no;
	uint16_t compartment;
	char share_name[LIM_NAME_BYTES + 1];
	char compartment_name[LIM_NAME_BYTES + 1];
	char profile[32];
	struct slice table; /* its rules; whoever fills it keeps the bytes */
	char calling_ae[IMG_AE_MAX + 1];
	char domain[33]; /* whose PatientIDs these are; "": the site's own */
	bool no_deid;
	struct intake_tags tags;
};

struct q_item {
	uint64_t no;
	char state[16];
	uint64_t received_ms;
	struct share_id share;
	uint16_t compartment;
	char share_name[LIM_NAME_BYTES + 1];
	char compartment_name[LIM_NAME_BYTES + 1];
	char calling_ae[IMG_AE_MAX + 1];
	char modality[IMG_AE_MAX + 1];
	char subject[CAT_KEY_MAX + 1];
	struct key16 series; /* of "qopen" */
	struct key16 family; /* of "qser": the series, whoever sent it */
	uint64_t instances;
	uint64_t bytes;
	bool review;  /* a person must give a reason */
	bool blocked; /* cannot be released at all */
	uint32_t n_findings;
	struct img_finding findings[Q_FINDINGS];
	struct asset_id asset; /* zero until released */
	char reason[200];
	struct intake_tags tags;
};

/* One vault image.  Slices borrow the decoded row or the caller's bytes. */
struct v_image {
	struct slice original; /* manifest */
	struct slice deid;     /* manifest, empty if there is none */
	uint64_t deid_len;
	uint64_t header_len; /* bytes of deid before the first frame */
	struct cry_id original_hash;
	struct cry_id deid_hash;
	struct slice sop_uid;    /* of the de-identified image */
	struct slice series_uid; /* likewise */
	struct slice study_uid;
	struct slice fields; /* msgpack, see struct img_object */
	struct key16 name;   /* of table HELD */
};

/* The images of one item that were committed together, in one compressed
 * row: what they have in common costs its bytes once. */
#define V_PAGE_IMAGES 64u
#define V_PAGE_BYTES (8 * MIB) /* uncompressed */
struct v_page {
	struct buf raw;
	struct mp_doc doc;
	struct v_image *v; /* slices borrow raw */
	uint32_t n;
};

struct assoc; /* one served association, assoc.c */

/* turned.c: callers whose address has its share of associations.  Accept
 * thread only. */
#define TURNED_MAX 32u
struct turned_one {
	int fd;
	bool told;
	uint64_t until_ms;
};
struct turned {
	struct turned_one c[TURNED_MAX]; /* the oldest first */
	uint32_t n;
	uint32_t unsaid; /* since the last line in the log */
	uint64_t said_ms;
};
void turned_add(struct turned *t, int fd); /* takes fd */
/* What to poll for, at most TURNED_MAX; then turned_tick with the same. */
uint32_t turned_poll(const struct turned *t, struct pollfd *p);
void turned_tick(struct turned *t, const struct pollfd *p);
void turned_log(struct turned *t, const char *from, uint64_t may);
void turned_fini(struct turned *t);

/* senders.c: callers that were refused, so that one that keeps calling is
 * audited once in a while only.  Guarded by mu of the ingest. */
#define SENDERS_TOLD_MAX 32u
struct senders_told {
	struct key16 who;
	uint64_t ms;
};

struct ingest {
	struct ingest_opts o;
	int listen_fd; /* -1: off */
	char listen_text[160];
	int tls_fd; /* -1: off */
	char tls_text[160];
	struct tls_server *tls; /* NULL: off */
	pthread_t accept_thread;
	bool accepting;
	pthread_mutex_t release_mu; /* one release at a time */
	pthread_mutex_t mu;
	pthread_cond_t slot_free;
	uint32_t running;     /* associations, guarded by mu */
	struct assoc *assocs; /* those, guarded by mu */
	bool stopping;        /* guarded by mu */
	struct turned turned;
	struct senders_told told[SENDERS_TOLD_MAX];
	struct folders *folders; /* NULL: none are watched */
	struct commits *commits; /* NULL: nobody may ask for commitment */
};

/* rows.c */
void q_key(uint64_t no, uint8_t key[8]);
enum err q_put(struct store_txn *t, const struct q_item *q) PSC_MUST_USE;
enum err q_get(struct store *s, struct db_txn *t, uint64_t no,
    struct q_item *out) PSC_MUST_USE;
enum err q_decode(struct slice value, struct q_item *out) PSC_MUST_USE;
/* images[i] are written in order, all into one row value. */
enum err v_page_encode(const struct v_image *const *images, uint32_t n,
    struct buf *out) PSC_MUST_USE;
enum err v_page_decode(struct slice value, struct v_page *out) PSC_MUST_USE;
void v_page_fini(struct v_page *p);
/* "q000012" <-> 12. */
void q_text(uint64_t no, char out[40]);
enum err q_parse(const char *text, uint64_t *no) PSC_MUST_USE;
/* A counter row: adds one and returns it. */
enum err seq_next(struct store_txn *t, const char *tag, struct slice key,
    uint64_t *out) PSC_MUST_USE;
void key16_of(const struct ingest *g, const char *domain,
    const struct slice *parts, size_t n, struct key16 *out);

/* identity.c: pseudonyms and UIDs. */
struct id_answer {
	struct img_context ctx;
	char subject[CAT_KEY_MAX + 1];
	char (*uids)[IMG_UID_MAX + 1];
	const char **uid_ptrs;
};
enum err id_answer_make(struct ingest *g, const struct sink *k,
    const struct img_identity *id, struct id_answer *out) PSC_MUST_USE;
void id_answer_fini(struct id_answer *a);
void id_name_key(const struct ingest *g, const char *name, struct key16 *out);
/* Of a row "plist"; patient_id as it came. */
void id_list_key(const struct ingest *g, const char *domain,
    const char *patient_id, struct key16 *out);
#define ID_DOMAIN_MAX 32u
/* NULL and "": the site's own. */
enum err id_domain_check(const char *domain, struct errmsg *em) PSC_MUST_USE;
/* The people that a pseudonym of a share stands for.  ERR_NOTFOUND. */
enum err id_people(struct ingest *g, struct db_txn *t,
    const struct share_id *share, const char *subject, ingest_person_fn fn,
    void *ctx) PSC_MUST_USE;
/* Upper case, one space between words: PatientIDs that differ by typing only
 * are one. out holds cap bytes. */
void id_normalise(const char *in, char *out, size_t cap);
/* The (site, project) key; made on first use. */
enum err id_project_key(struct ingest *g, const struct share_id *share,
    struct cry_key *out) PSC_MUST_USE;

/* held.c: what is here already. */
struct held_hash {
	uint8_t b[12];
};
void held_hash_of(const struct ingest *g, const struct key16 *name,
    const struct cry_id *original, struct held_hash *out);
/* The name of an image: its original SOP instance UID, in its place. */
void held_name(const struct ingest *g, const struct sink *k, struct slice sop,
    struct key16 *out);
/* Is any held under this name, and not rejected? */
enum err held_live(struct store *s, struct db_txn *t, const struct key16 *name,
    bool *live) PSC_MUST_USE;
/* Was anything held under this name?  true also where that cannot be told. */
bool held_any(struct db_txn *t, const struct key16 *name);
/* The last item that got these very bytes under this name and was not
 * rejected (ERR_NOTFOUND: none); *other: different bytes came last. */
enum err held_find(struct store *s, struct db_txn *t, const struct key16 *name,
    const struct held_hash *h, uint64_t *item, bool *other) PSC_MUST_USE;
enum err held_put(struct store_txn *t, const struct key16 *name,
    const struct held_hash *h, uint64_t item) PSC_MUST_USE;
/* Makes HELD anew out of the vault's rows if it is empty. */
enum err held_restore(struct ingest *g) PSC_MUST_USE;

/* mend.c: an image that is held came again.  Is what the vault has of it
 * damaged?  v: name and original_hash.  In the job, after the batch was put:
 * its row gets the manifests of v. */
enum err mend_needed(struct store *s, struct db_txn *t, uint64_t item,
    const struct v_image *v, bool *yes) PSC_MUST_USE;
enum err mend_put(
    struct store_txn *t, uint64_t item, const struct v_image *v) PSC_MUST_USE;

/* A file on a disk of this machine, as it was when it was opened.  Its inode,
 * size and times stand for its bytes only if its inode was last changed well
 * before it was looked at: else it may change again within the same tick. */
struct file_stamp {
	struct key16 path;
	struct key16 stat;
	bool settled;
};
struct stat;
void file_stamp_make(const struct ingest *g, const struct sink *k,
    const char *path, const struct stat *st, struct file_stamp *out);
/* The item this very file went into.  ERR_NOTFOUND: look into the file. */
enum err file_known(
    struct db_txn *t, const struct file_stamp *f, uint64_t *item) PSC_MUST_USE;
enum err file_put(struct store_txn *t, const struct file_stamp *f,
    uint64_t item) PSC_MUST_USE;

/* admit.c: objects into the vault, durable when it returns. */
enum admit_state { ADMIT_STORED, ADMIT_DUPLICATE, ADMIT_QUARANTINED };
struct admitted {
	enum admit_state state;
	uint64_t item;
	bool mended; /* a duplicate whose damaged copy it replaced */
};
/* At most so many at once; their bytes are in memory (memfds) meanwhile. */
#define ADMIT_MANY V_PAGE_IMAGES
#define ADMIT_MANY_BYTES ((uint64_t)8 * MIB)
struct admit_one {
	const struct img_object *o; /* in */
	const char *subject;        /* in: its pseudonym */
	/* in: the file it was read from, to be known again; may be NULL */
	const struct file_stamp *stamp;
	enum err e;          /* out */
	struct admitted out; /* if e is ERR_OK */
};
/* One commit for all; what cannot be stored costs only itself. */
void admit_many(
    struct ingest *g, const struct sink *k, struct admit_one *list, uint32_t n);
enum err admit_object(struct ingest *g, const struct sink *k,
    const struct img_object *o, const char *subject,
    struct admitted *out) PSC_MUST_USE;

/* storing.c: a thread that stores and answers while the association goes on.
 * An object stays the caller's if it is refused; what has not been begun at
 * the end is dropped. */
struct assoc_tally {
	uint64_t stored, duplicates, refused;
};
/* Counts it, and says how the sender is answered. */
uint16_t assoc_count(struct assoc_tally *t, const struct sink *k, enum err e,
    const struct admitted *in);
struct storing;
enum err storing_new(struct ingest *g, const struct sink *k, struct imaging *im,
    struct storing **out) PSC_MUST_USE;
/* Waits while as much waits as may. */
enum err storing_put(
    struct storing *s, struct img_held *held, const char *subject) PSC_MUST_USE;
void storing_end(struct storing *s, struct assoc_tally *tally); /* NULL ok */

/* assoc.c: one thread, one helper, one association. */
/* Who a connection comes from: an IPv4 address, or the first half of an IPv6
 * one, which is what a host has to itself.  In mu: how many of it run. */
struct peer_address {
	uint8_t b[16];
	uint8_t ip[16]; /* all of it; IPv4 as ::ffff:A.B.C.D; zero: unknown */
	char text[64];
};
void peer_address_of(int fd, struct peer_address *out);
uint32_t assoc_count_from(
    const struct ingest *g, const struct peer_address *from);
/* In mu: the oldest of this address that has said nothing yet gives way;
 * false: there is none. */
bool assoc_cut_silent(struct ingest *g, const struct peer_address *from);
/* tls: the caller is to speak TLS first. */
void assoc_start(
    struct ingest *g, int fd, const struct peer_address *from, bool tls);
/* Where what goes to a target of the config goes now. */
enum err sink_for_target(struct ingest *g, const struct conf_target *to,
    const char *sender, struct sink *out, struct errmsg *em) PSC_MUST_USE;
enum err sink_for_share(struct ingest *g, const char *share,
    const char *compartment, struct sink *out, struct errmsg *em) PSC_MUST_USE;

/* senders.c: who may send (domain.md 18). */
struct sender_claim {
	const char *calling_ae;
	const char *called_ae;
	const struct peer_address *from;
	bool tls; /* it came over dicom.tls_listen */
};
/* The first inbox that fits calling AE, called AE and address; those of "*"
 * only where no inbox names the calling AE.  NULL: refused, with cause and
 * next act in em, and *answer says how. */
const struct conf_inbox *sender_inbox(const struct conf *c,
    const struct sender_claim *s, enum img_admit *answer, struct errmsg *em);
/* A line for the log, and a row of the audit unless there was one of the same
 * caller in the last ten minutes. */
void sender_refused(
    struct ingest *g, const struct sender_claim *s, const struct errmsg *em);

/* commit.c: storage commitment (domain.md 17).  A request is kept as a row
 * (tag "commit") until its report was taken. */
struct commit_asked;
enum err commit_more(struct commit_asked **all,
    const struct img_commit *c) PSC_MUST_USE; /* grows *all */
/* Durable, and on its way, when it returns ERR_OK. */
enum err commit_take(struct ingest *g, const struct sink *k,
    const struct conf_inbox *in, const struct commit_asked *a) PSC_MUST_USE;
void commit_asked_free(struct commit_asked *a); /* NULL ok */
enum err commits_start(struct ingest *g, struct errmsg *em) PSC_MUST_USE;
/* false: it still runs at `until` (CLOCK_REALTIME) and uses g. */
bool commits_stop(struct ingest *g, const struct timespec *until);

/* dial.c: a connection to "HOST:PORT", for a helper. */
enum err dial_archive(
    const char *address, int *fd, struct errmsg *em) PSC_MUST_USE;

/* gate.c: what names a patient, so that no text may hold it. */
enum err gate_keep(struct store_txn *t, const struct ingest *g,
    const struct img_identity *id) PSC_MUST_USE;

/* quarantine.c */
void q_public(const struct q_item *q, struct ingest_item *out);

/* reject.c: goes on with what a crash cut short. */
void reject_resume(struct ingest *g);

/* profiles.c: a profile's table for the helper; buf_fini(out).  em says by file
 * and line what is wrong with it. */
enum err ingest_profile_table(const struct ingest *g, const char *name,
    struct buf *out, struct errmsg *em) PSC_MUST_USE;

#endif
