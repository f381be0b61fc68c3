/* node/imaging/imaging.h: the node's side of the confined helper.
 *
 * pesscara-imaging touches all foreign image bytes (rulings.md 13, 14).  One
 * process serves one DICOM association, one import run or one conversion.
 * It has no socket of its own, no key, no file access; it talks to the node
 * over a SOCK_SEQPACKET pair: one msgpack map a frame (<= IMG_FRAME_BYTES),
 * bulk bytes by sealed memfd attached to the frame.
 *
 * Every call blocks up to a deadline and belongs to one thread at a time:
 * the thread that serves this helper.  What the helper sends is untrusted:
 * bounded, checked, and memfds are mapped only when sealed against write,
 * shrink and grow. */
#ifndef PSC_IMAGING_IMAGING_H
#define PSC_IMAGING_IMAGING_H

#include "store/base/limits.h"
#include "store/base/mp.h"

#define IMG_FRAME_BYTES (128 * KIB)
#define IMG_AE_MAX 16u
#define IMG_UID_MAX 64u
#define IMG_TEXT_MAX 256u
#define IMG_UIDS_MAX 1024u   /* distinct UIDs of one object */
#define IMG_PIECES_MAX 8192u /* rulings.md 4 */
#define IMG_FINDINGS_MAX 64u
/* Objects of an association that may wait for their answers at once, if the
 * sender asks for that (PS3.7 D.3.3.3). */
#define IMG_WINDOW_MAX 16u

struct imaging;    /* a running helper */
struct deid_table; /* node/deid/table.h */

enum imaging_mode {
	IMAGING_RECEIVE = 1, /* one DICOM association on accepted_fd */
	IMAGING_IMPORT = 2,  /* files handed over by the node */
	IMAGING_CONVERT = 3, /* DICOM series -> NIfTI */
	IMAGING_CHECK = 4,   /* what do files say of a patient? */
	IMAGING_PREVIEW = 5, /* what would de-identification do to a file? */
	IMAGING_PULL = 6,    /* ask an archive, over accepted_fd */
};

struct imaging_opts {
	const char *program; /* path of pesscara-imaging */
	enum imaging_mode mode;
	int accepted_fd; /* RECEIVE, PULL: passed by SCM_RIGHTS, caller closes
			    its own */
	const char *called_ae;
	const char *profile; /* PREVIEW; else NULL */
	struct slice table;  /* IMPORT, PREVIEW, PULL: the profile's rules,
				table_encode(); empty: the program's own */
	uint64_t memory_bytes_max; /* RLIMIT_AS of the helper; 0: none */
	uint64_t object_bytes_max; /* bigger: A700; 0: LIM_OBJECT_BYTES */
	uint32_t idle_ms;          /* association timeout; 0: 30 s */
};

enum img_msg_kind {
	IMG_VERDICT = 6, /* of a CHECK */
	IMG_ASSOC = 1,   /* who calls: answer imaging_answer_assoc */
	IMG_IDENTITY =
	    2,          /* identifiers found: answer imaging_answer_identity */
	IMG_OBJECT = 3, /* one object, parsed or not: imaging_answer_stored */
	IMG_RESULT = 4, /* conversion done, or the preview of a file */
	IMG_DONE = 5,   /* association closed or import item finished */
	IMG_ROW = 7,    /* PULL: one answer of a C-FIND */
	IMG_ANSWER = 8, /* PULL: the association or query came to an end */
	IMG_COMMIT = 9, /* part of a request for storage commitment; the last
			   one: imaging_answer_stored */
};

/* A split plan entry; store/blob checks that the plan tiles [0, n). */
enum img_piece_kind { IMG_P_HEADER = 1, IMG_P_FRAME = 2, IMG_P_OTHER = 3 };
struct img_piece {
	uint64_t off;
	uint64_t len;
	uint8_t kind;
	uint8_t bits; /* allocated bits a sample, 0 unknown */
	uint16_t w;   /* samples a row, 0 unknown */
	uint16_t h;
};

struct img_finding {
	char kind[32];    /* e.g. "risky-class", "unsupported-syntax" */
	char detail[160]; /* no patient data */
};

struct img_assoc {
	char calling_ae[IMG_AE_MAX + 1];
	char called_ae[IMG_AE_MAX + 1];
	char address[64];
	uint32_t window; /* 1 to IMG_WINDOW_MAX */
};

/* What the node needs to pick a pseudonym and map UIDs. Raw, identifying. */
struct img_identity {
	char patient_id[IMG_TEXT_MAX + 1]; /* trimmed */
	char issuer[IMG_TEXT_MAX + 1];
	char patient_name[IMG_TEXT_MAX + 1];
	uint32_t n_uids;
	char (*uids)[IMG_UID_MAX + 1];
};

/* One object.  Where the association has a window, the next may come before
 * this one was answered.  Slices point into mapped memfds, valid until the next
 * imaging_next() or imaging_close(), or the end of its img_held.  deid has
 * the address of original when both are the same bytes.  Plans always tile
 * their file, parsed or not.  An OBJECT without an IDENTITY before it is
 * possible even when parsed (identifiers that cannot be listed); after an
 * IDENTITY comes its OBJECT. */
struct img_object {
	bool parsed;           /* false: original only, see findings */
	bool releasable;       /* deid present and no blocking finding */
	struct slice original; /* Part 10 file as received */
	struct slice deid;     /* de-identified Part 10 file, or empty */
	const struct img_piece *original_plan;
	uint32_t n_original_plan;
	const struct img_piece *deid_plan;
	uint32_t n_deid_plan;
	char sop_class[IMG_UID_MAX + 1];
	char transfer_syntax[IMG_UID_MAX + 1];
	char sop_uid[IMG_UID_MAX + 1];    /* original */
	char series_uid[IMG_UID_MAX + 1]; /* original */
	char study_uid[IMG_UID_MAX + 1];  /* original */
	char deid_sop_uid[IMG_UID_MAX + 1];
	char deid_series_uid[IMG_UID_MAX + 1];
	char deid_study_uid[IMG_UID_MAX + 1];
	char modality[IMG_AE_MAX + 1];
	/* De-identified catalog fields: msgpack map {"subject": {KEYWORD:
	 * string | number | array}, "exam": .., "series": .., "image": ..}. */
	struct slice fields;
	const struct img_finding *findings;
	uint32_t n_findings;
};

struct img_out_file {
	char name[64];      /* e.g. "image.nii.gz", "image.json" */
	struct slice bytes; /* valid until imaging_close() */
};

struct img_result {
	bool ok;
	char reason[160]; /* why not; no patient data */
	uint32_t n_files;
	struct img_out_file files[8];
	struct slice
	    fields; /* msgpack map KEYWORD -> value for the new asset */
};

/* End of an association or of one import item.  Objects refused by the
 * helper itself (too large A700, mismatch A900) never reach the node as
 * IMG_OBJECT: they are counted here. */
struct img_done {
	uint32_t stored;  /* objects the node answered OK for */
	uint32_t refused; /* answered otherwise */
	char reason[64];  /* "release", "abort", "idle", "refused", "file" .. */
};

/* What a file of a person's says of a patient.  All of it is what the file
 * claims; texts may identify and go into no message. */
#define IMG_CHECK_TEXT_MAX (32 * KIB)
enum img_check_kind { IMG_CHECK_OTHER, IMG_CHECK_DICOM, IMG_CHECK_NIFTI };
struct img_verdict {
	enum img_check_kind kind;
	char blocked[160]; /* why it may not leave as it is; "" */
	char review[160];  /* why a person must look; "" */
	char patient_id[IMG_TEXT_MAX + 1];
	char patient_name[IMG_TEXT_MAX + 1];
	char packed_name[IMG_TEXT_MAX + 1]; /* gzip kept it; "" */
	bool packed_text;                   /* gzip kept a comment */
	struct slice text; /* NIfTI: header texts and extensions, as one;
			      valid until the next imaging_next() */
};

/* --- PULL: a query/retrieve client (PS3.4 C), study root --- */
enum img_pull_op {
	IMG_FIND = 1,
	IMG_GET = 2,
	IMG_MOVE = 3,
	IMG_REPORT = 4 /* of a storage commitment: N-EVENT-REPORT */
};
enum img_level { IMG_STUDY = 1, IMG_SERIES = 2, IMG_IMAGE = 3 };
#define IMG_PULL_CLASSES 4u
#define IMG_KEY_MAX 64u

struct img_dial {
	enum img_pull_op op; /* of all queries of this association */
	char calling_ae[IMG_AE_MAX + 1];
	char called_ae[IMG_AE_MAX + 1];
	/* GET: SOP classes to be sent; 0: the usual ones, but then in fewer
	 * transfer syntaxes. */
	char classes[IMG_PULL_CLASSES][IMG_UID_MAX + 1];
	uint32_t n_classes;
	uint16_t event; /* REPORT: 1, all is here; 2, not all */
};

struct img_query { /* "" matches anything */
	enum img_level level;
	char patient[IMG_KEY_MAX + 1];
	char accession[IMG_AE_MAX + 1];
	char date[24];
	char modality[IMG_AE_MAX + 1];
	char study[IMG_UID_MAX + 1];
	char series[IMG_UID_MAX + 1];
	char destination[IMG_AE_MAX + 1]; /* MOVE */
};

/* UIDs are well formed; "" above its level. */
struct img_row {
	char study[IMG_UID_MAX + 1];
	char series[IMG_UID_MAX + 1];
	char sop[IMG_UID_MAX + 1];
	char sop_class[IMG_UID_MAX + 1];
	char modality[IMG_AE_MAX + 1];
};

/* What a sender wants our word for (PS3.4 J).  UIDs are well formed. */
#define IMG_REFS_MAX 256u      /* of one message */
#define IMG_COMMIT_REFS 20000u /* of one request */
struct img_ref {
	char sop_class[IMG_UID_MAX + 1];
	char sop_uid[IMG_UID_MAX + 1];
};
struct img_commit {
	char transaction[IMG_UID_MAX + 1];
	const struct img_ref *refs; /* until the next imaging_next() */
	uint32_t n;
	bool last;
};

struct img_answer {
	char reason[64]; /* "ok", or what went wrong on the way */
	uint16_t status; /* DIMSE status of the last response */
	uint16_t completed, failed, warned; /* as the archive counts */
	uint32_t others; /* rows that were not what was asked for: dropped */
};

struct img_msg {
	enum img_msg_kind kind;
	struct img_assoc assoc;
	struct img_identity identity;
	struct img_object object;
	struct img_result result;
	struct img_done done;
	struct img_verdict verdict;
	struct img_row row;
	struct img_answer answer;
	struct img_commit commit;
};

/* The node's answer to IMG_IDENTITY (rulings.md 14: no key goes there). */
struct img_context {
	const char *profile; /* name; told in (0012,0063) */
	/* Its rules; NULL: the program's own profile of that name.  Not sent
	 * with the answer: imaging_spawn() and imaging_answer_assoc() have it.
	 */
	const struct deid_table *table;
	const char *subject; /* pseudonym for PatientID and PatientName */
	int32_t shift_days;  /* where the profile moves dates; 0: removed */
	/* new_uids[i] replaces identity.uids[i]; NULL keeps it. */
	const char *const *new_uids;
	uint32_t n_uids;
	bool no_deid; /* identified data allowed and asked for */
};

/* DICOM C-STORE statuses we answer with (PS3.4 B.2.3). */
#define IMG_STATUS_OK 0x0000u
#define IMG_STATUS_OUT_OF_RESOURCES 0xA700u
#define IMG_STATUS_MISMATCH 0xA900u
#define IMG_STATUS_REFUSED 0x0122u
#define IMG_STATUS_FAILED 0x0110u /* processing failure: N-ACTION only */

/* The helper dies with the calling thread (PR_SET_PDEATHSIG). */
enum err imaging_spawn(const struct imaging_opts *opts, struct imaging **out,
    struct errmsg *em) PSC_MUST_USE;
/* Next frame.  ERR_TIMEOUT; ERR_FOREIGN: the helper died (what it held is
 * lost, nothing else); ERR_MALFORMED: it lied, and was killed. */
enum err imaging_next(
    struct imaging *im, uint32_t timeout_ms, struct img_msg *out) PSC_MUST_USE;
/* Taken, or refused for good; the values are the reasons of PS3.8 9.3.4,
 * source "service user". */
enum img_admit {
	IMG_ADMITTED = 0,
	IMG_ADMITTED_COMMIT = 1, /* and may ask for storage commitment */
	IMG_REFUSED_CALLING_AE = 3,
	IMG_REFUSED_CALLED_AE = 7
};
/* table: the inbox's profile, as in struct imaging_opts. */
enum err imaging_answer_assoc(
    struct imaging *im, enum img_admit answer, struct slice table) PSC_MUST_USE;
/* ctx NULL: do not de-identify; the object comes parsed, original only. */
enum err imaging_answer_identity(
    struct imaging *im, const struct img_context *ctx) PSC_MUST_USE;
/* To the first object that has had no answer.  Also from a second thread, and
 * while imaging_next() waits. */
enum err imaging_answer_stored(
    struct imaging *im, uint16_t status) PSC_MUST_USE;
/* Keeps the object of the last imaging_next() beyond the next one: several
 * can be stored together.  ERR_NOMEM: it stays as it was. */
struct img_held;
enum err imaging_hold(struct imaging *im, struct img_held **out) PSC_MUST_USE;
const struct img_object *img_held_object(const struct img_held *h);
void img_held_free(struct img_held *h); /* NULL ok */
/* CHECK: a file that nobody changes any more, open for reading; VERDICT
 * follows.  IMPORT: hand over one file (open for reading, any seekable fd); the
 * helper answers with IDENTITY and OBJECT frames, then DONE.  PREVIEW: one
 * sealed memfd; RESULT follows, its file is what preview.h says.  The caller
 * keeps fd. The next file may be sent once the object was answered, before
 * DONE. */
enum err imaging_send_file(
    struct imaging *im, int fd, uint64_t bytes) PSC_MUST_USE;
/* PULL: ask for the association; ANSWER follows.  Then queries, one at a time:
 * ROWs (FIND) or IDENTITY and OBJECT (GET), then ANSWER.  REPORT: instead of
 * a query a sealed memfd by imaging_send_file(), the event's dataset in
 * implicit VR little endian. */
enum err imaging_dial(
    struct imaging *im, const struct img_dial *d) PSC_MUST_USE;
enum err imaging_query(
    struct imaging *im, const struct img_query *q) PSC_MUST_USE;
/* CONVERT: files[i] are whole Part 10 files of one series; RESULT follows. */
enum err imaging_send_series(struct imaging *im, const struct slice *files,
    uint32_t n_files) PSC_MUST_USE;
/* Process id of the helper, for accounting and tests; -1 once reaped. */
int imaging_pid(const struct imaging *im);
/* Ends the helper: closes the pair, waits up to a second, kills, reaps. */
void imaging_close(struct imaging *im); /* NULL ok */

#endif
