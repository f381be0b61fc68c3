/* store/catalog/images.h: the images of a large series, laid as rows a few at
 * a time.
 *
 * A content table of more than CAT_TABLE_NOW bytes is not read by the writer.
 * When its chunks are here its version waits in table LAY, not complete yet;
 * some thread reads and parses it, and lays the images in jobs of at most
 * CAT_LAY_STEP.  The version is complete, and its event is told, with the
 * last.  Between two steps the images that are there are whole and found; a
 * process that ends in between begins again. */
#ifndef PSC_CATALOG_IMAGES_H
#define PSC_CATALOG_IMAGES_H

#include "store/base/limits.h"
#include "store/catalog/catalog.h"

/* Some 600 images, a tenth of a second of the writer. */
#define CAT_TABLE_NOW (512 * KIB)
#define CAT_LAY_STEP 128u

struct cat_laying;
/* The next that waits, and whose chunks are here.  Not on the writer thread.
 * ERR_NOTFOUND: none. */
enum err cat_laying_open(struct store *s, struct cat_laying **out) PSC_MUST_USE;
/* In a job: a step of it; *more: it was not the last.  If the job fails in any
 * way l does not tell the truth any more: close it. */
enum err cat_laying_step(
    struct store_txn *t, struct cat_laying *l, bool *more) PSC_MUST_USE;
void cat_laying_close(struct cat_laying *l); /* NULL ok */

#endif
