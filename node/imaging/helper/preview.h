/* node/imaging/helper/preview.h: what de-identification would do to a file,
 * element by element. */
#ifndef PSC_HELPER_PREVIEW_H
#define PSC_HELPER_PREVIEW_H

#include "node/imaging/helper/link.h"

/* Appends a msgpack map to out:
 *   {"releasable": bool, "findings": [{"kind", "detail"}], "more": bool,
 *    "rows": [{"at", "name", "vr", "did", "was", "now", "why"}]}
 * at: "(0040,0275)[1](0008,0104)"; did: kept removed emptied replaced moved
 * cleaned dummy added changed; was and now: up to PREVIEW_TEXT_MAX printable
 * ASCII characters, which identify.  more: rows above PREVIEW_ROWS_MAX are not
 * told.  Subject, UIDs and days of the output are stand-ins.  Errors as
 * dcm_open and deid_apply; em without patient data. */
#define PREVIEW_ROWS_MAX 20000u
#define PREVIEW_TEXT_MAX 64u
#define PREVIEW_BYTES_MAX (16 * MIB)
enum err preview_make(struct slice file, const char *profile,
    const struct deid_table *table, struct charset *charset, struct buf *out,
    struct errmsg *em) PSC_MUST_USE;
/* MSG_FILE in, IMG_RESULT with one file out. */
enum err preview_run(struct link *l) PSC_MUST_USE;

#endif
