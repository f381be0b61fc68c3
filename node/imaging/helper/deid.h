/* node/imaging/helper/deid.h: parse one DICOM object, say what identifies
 * it, and write its de-identified form.  Pure: bytes in, bytes out; runs in
 * the confined helper, and in tests without it. */
#ifndef PSC_HELPER_DEID_H
#define PSC_HELPER_DEID_H

#include "node/imaging/imaging.h"

struct dcm_file; /* a walked object; borrows the bytes it was opened on */

/* Walk a Part 10 file (or a bare dataset: implicit or explicit little endian
 * guessed as in PS3.10).  ERR_MALFORMED, ERR_SHORT (truncated), ERR_LIMIT,
 * ERR_UNSUPPORTED, ERR_NOMEM; em says which without patient data. */
enum err dcm_open(
    struct slice file, struct dcm_file **out, struct errmsg *em) PSC_MUST_USE;
void dcm_close(struct dcm_file *f); /* NULL ok */

/* Identity frame content; out->uids is freed by deid_identity_fini. */
enum err deid_identity(
    const struct dcm_file *f, struct img_identity *out) PSC_MUST_USE;
void deid_identity_fini(struct img_identity *id);

/* Split plan of a walked file: header | frames | rest (max IMG_PIECES_MAX). */
enum err dcm_plan(const struct dcm_file *f, struct img_piece *out, uint32_t max,
    uint32_t *n) PSC_MUST_USE;

struct deid_result {
	struct buf file; /* whole de-identified Part 10 file */
	bool same;       /* it would be the input: file is empty (no_deid) */
	struct img_finding findings[IMG_FINDINGS_MAX];
	uint32_t n_findings;
	bool releasable;
	char sop_uid[IMG_UID_MAX + 1];
	char series_uid[IMG_UID_MAX + 1];
	char study_uid[IMG_UID_MAX + 1];
	struct buf fields; /* see struct img_object.fields */
};

/* identity: as deid_identity gave it, ctx->new_uids in the same order.
 *
 * Profiles: "basic" is PS3.15 table E.1-1 plus our keep set; "trial-imaging"
 * is the same with Clean Descriptors (113105: study, series, protocol and
 * step descriptions reduced to the words of words.c), Retain Patient
 * Characteristics (113108), Retain Safe Private (113111: numeric diffusion
 * and scaling elements, listed in rules.c) and, when ctx->shift_days is not
 * 0, Retain Longitudinal Temporal Information With Modified Dates (113107).
 * Table and reviewed list: dict/.
 *
 * ERR_UNSUPPORTED (transfer syntax, media directory, unknown profile or a
 * pseudonym that is not plain ASCII), ERR_LIMIT, ERR_NOMEM.  *out is always
 * set and always needs deid_result_fini; after an error it holds findings
 * only.
 *
 * Findings that make releasable false: risky-class, unsupported-syntax,
 * overlay-in-pixels, identifier-survived, unmapped-uid, duplicate-element,
 * too-many-identifiers, no-sop-instance-uid, pixels-lost.  Findings that only
 * tell: text-cleaned, ill-formed-value, overlay-dropped, overlay-masked,
 * trailing-bytes. */
enum err deid_apply(const struct dcm_file *f, const struct img_identity *id,
    const struct img_context *ctx, struct deid_result *out,
    struct errmsg *em) PSC_MUST_USE;
void deid_result_fini(struct deid_result *r);

/* Original values for the object frame. "" when absent. */
void dcm_text(const struct dcm_file *f, uint32_t tag, char *out, size_t cap);
const char *dcm_transfer_syntax(const struct dcm_file *f);

#endif
