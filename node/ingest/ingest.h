/* node/ingest/ingest.h: intake: associations and imports -> vault and
 * quarantine -> release into a share.
 *
 * A thread accepts DICOM connections (bounded), one thread and one helper
 * process serve each association: its object is split, prepared and committed
 * together with its vault row before the sender gets success.  The vault is
 * local: sealed rows, no feed, no share.  rulings.md 10-13; domain.md. */
#ifndef PSC_INGEST_INGEST_H
#define PSC_INGEST_INGEST_H

#include "node/conf/conf.h"
#include "node/imaging/imaging.h"
#include "node/share/share.h"

/* For struct store_row_owner: chunks of a vault row (tag "vi"), original and
 * de-identified form. */
enum err ingest_vault_chunks(struct store *s, struct db_txn *t,
    struct slice value, store_hold_fn hold, void *ctx) PSC_MUST_USE;

/* In a rebuild: plaintext hashes of the images of a vault row. */
enum err ingest_vault_learn(struct store_txn *t, struct slice row) PSC_MUST_USE;

struct ingest;
struct ingest_opts {
	struct store *store;
	struct shares *shares;
	const struct conf *conf;
	const char *helper; /* path of pesscara-imaging */
	const char *home;
	const struct cry_identity *me;
};
/* Binds dicom.listen (ERR_BUSY: port taken) and starts accepting. */
enum err ingest_start(const struct ingest_opts *o, struct ingest **out,
    struct errmsg *em) PSC_MUST_USE;
/* Running associations get 10 s to end.  false: some did not, their threads
 * still use the store, so the process must end without closing it. NULL ok */
bool ingest_stop(struct ingest *g);
void ingest_listen_text(struct ingest *g, char *out, size_t cap);
void ingest_tls_text(struct ingest *g, char *out, size_t cap);

struct ingest_item { /* a quarantine item */
	char id[40];
	char state[16]; /* held, released, rejected */
	uint64_t received_ms;
	char calling_ae[IMG_AE_MAX + 1];
	char modality[IMG_AE_MAX + 1];
	char subject[128];
	char share[LIM_NAME_BYTES + 1];
	char compartment[LIM_NAME_BYTES + 1];
	uint64_t instances, bytes;
	uint32_t n_findings;
	struct img_finding findings[8];
	char asset[ASSET_ID_TEXT + 1]; /* after release */
};
/* Newest last.  state NULL: held ones only; "all". */
typedef int (*ingest_item_fn)(void *ctx, const struct ingest_item *it);
enum err ingest_quarantine_each(struct ingest *g, const char *state,
    ingest_item_fn fn, void *ctx) PSC_MUST_USE;
uint64_t ingest_quarantine_held(struct ingest *g);
/* id: whole or unique prefix. Blocks until durable. *out: the item after. */
enum err ingest_release(struct ingest *g, const char *id, const char *actor,
    const char *reason, struct ingest_item *out,
    struct errmsg *em) PSC_MUST_USE;
enum err ingest_reject(struct ingest *g, const char *id, const char *actor,
    const char *reason, struct ingest_item *out,
    struct errmsg *em) PSC_MUST_USE;

/* Import files and folders (recursive).  fn is called once a file. */
struct ingest_import_opts {
	const char *const *paths;
	uint32_t n_paths;
	const char *share, *compartment, *profile;
	const char *domain; /* whose PatientIDs these are; NULL: our own */
	bool no_deid;
	const char *actor, *reason;
};
struct ingest_imported {
	const char *path;
	const char *state; /* stored duplicate quarantined refused */
	const char *item;  /* quarantine item or "" */
	const char *reason;
	uint64_t bytes;
	bool again; /* refused, but for no fault of its own */
};
typedef int (*ingest_imported_fn)(void *ctx, const struct ingest_imported *f);
enum err ingest_import(struct ingest *g, const struct ingest_import_opts *o,
    ingest_imported_fn fn, void *ctx, struct errmsg *em) PSC_MUST_USE;
/* Ask an archive of the config for images, and what came of them.  Texts may
 * be NULL; of patient, study and accession one is needed. */
struct ingest_pull_opts {
	const char *archive;
	const char *patient, *study, *series, *accession, *date, *modality;
	bool dry_run; /* only look what there is */
	bool move;    /* C-MOVE to our own AE title, else C-GET */
	const char *actor;
};
/* Of one series; now and then one without (NULL), whose `stored` counts the
 * images that came so far. */
struct ingest_pulled {
	const char *study, *series, *modality;
	uint32_t found;                       /* by C-FIND */
	uint32_t here;                        /* of these, after the pull */
	uint32_t stored, duplicates, refused; /* C-GET only */
	const char *reason;                   /* why not all; "" */
};
typedef int (*ingest_pulled_fn)(void *ctx, const struct ingest_pulled *p);
enum err ingest_pull(struct ingest *g, const struct ingest_pull_opts *o,
    ingest_pulled_fn fn, void *ctx, struct errmsg *em) PSC_MUST_USE;
/* What de-identification would do to one DICOM file, element by element:
 * the map of node/imaging/helper/preview.h, bounded, checked, its texts
 * printable ASCII.  Nothing is stored; the look is audited, for it identifies.
 * profile NULL: basic. */
enum err ingest_preview(struct ingest *g, const char *path, const char *profile,
    const char *actor, struct buf *out, struct errmsg *em) PSC_MUST_USE;
#define INGEST_PREVIEW_ROWS 20000u
#define INGEST_PREVIEW_BYTES (16 * MIB)
/* De-identification profiles: the program's own and HOME/profiles/NAME.yaml. */
struct ingest_profile {
	char name[32];
	char parent[32];       /* what it extends; "": the program's own */
	char hash[65];         /* over its effective rules and options */
	char options[64];      /* "113105 113107 .." */
	char description[201]; /* by its author */
	uint32_t rules;        /* elements that it names */
	bool departs; /* keeps what the basic profile takes: not stamped 113100
		       */
	char wrong[200]; /* why it cannot be used; "" */
};
struct ingest_rule {      /* that differs from the parent's */
	char element[96]; /* "(0008,1010)" or 0019[CREATOR]0c */
	char name[72];    /* keyword */
	char now[96];
	char parent[96];
};
typedef int (*ingest_profile_fn)(void *ctx, const struct ingest_profile *p);
typedef int (*ingest_rule_fn)(void *ctx, const struct ingest_rule *r);
enum err ingest_profiles_each(
    const struct ingest *g, ingest_profile_fn fn, void *ctx) PSC_MUST_USE;
enum err ingest_profile_get(const struct ingest *g, const char *name,
    struct ingest_profile *out, struct errmsg *em) PSC_MUST_USE;
enum err ingest_profile_rules(const struct ingest *g, const char *name,
    ingest_rule_fn fn, void *ctx, struct errmsg *em) PSC_MUST_USE;
/* Map of pseudonyms: "PatientID,pseudonym" lines; kept sealed. Audited.
 * domain: whose PatientIDs they are; NULL or "": the site's own. */
enum err ingest_lookup_import(struct ingest *g, const char *path,
    const char *domain, const char *actor, uint64_t *added,
    struct errmsg *em) PSC_MUST_USE;
/* Who is behind a pseudonym (domain.md 4, 25, 28).  Who asked, when and why is
 * audited before anybody is told, and also where nobody is found.  All of it
 * identifies: it goes to whoever signed, into no log and no message.
 * ERR_MALFORMED: without a reason; ERR_NOTFOUND. */
struct ingest_person {
	char share[LIM_NAME_BYTES + 1];
	char subject[CAT_KEY_MAX + 1];
	char patient_id[IMG_TEXT_MAX + 1];
	char issuer[IMG_TEXT_MAX + 1];
	char patient_name[IMG_TEXT_MAX + 1];
	char domain[33];
};
typedef int (*ingest_person_fn)(void *ctx, const struct ingest_person *p);
struct ingest_look {
	const char *pseudonym;
	const char *share; /* NULL: in all */
	const char *actor, *reason;
};
enum err ingest_reidentify(struct ingest *g, const struct ingest_look *o,
    ingest_person_fn fn, void *ctx, struct errmsg *em) PSC_MUST_USE;

/* May this text go into a share?  ERR_DENIED: it holds a PatientID that this
 * site knows, or two parts of a patient's name in a row (domain.md 11). */
enum err ingest_gate(struct ingest *g, const struct cry_id *share,
    struct slice text, struct errmsg *em) PSC_MUST_USE;

#endif
