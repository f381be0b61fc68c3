/* node/imaging/helper/words.h: descriptions reduced to words of imaging
 * (Clean Descriptors, PS3.15 E.3.5): an allow-list, so what nobody thought
 * of is gone. Pure. */
#ifndef PSC_HELPER_WORDS_H
#define PSC_HELPER_WORDS_H

#include "store/base/buf.h"

/* Append the known words of text to out, one space between them.  A word is
 * known as it stands or with up to four digits before or after it (3D, T2,
 * b1000, 5mm).  Bare numbers are dropped: they may be dates or ids. */
void words_clean(struct slice text, struct buf *out);
/* All of text is known words: a code's meaning such as "Head" or "Long axis"
 * is no name of somebody. */
bool words_only(struct slice text);

#endif
