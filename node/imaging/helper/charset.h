/* node/imaging/helper/charset.h: text of DICOM's character sets as UTF-8
 * (PS3.3 C.12.1.1.2, PS3.5 section 6.1 and annexes H to K).
 *
 * Single-byte sets are tables of ours; Japanese, Korean and Chinese ones are
 * glibc's, whose modules are loaded by charset_open(), before the sandbox. */
#ifndef PSC_HELPER_CHARSET_H
#define PSC_HELPER_CHARSET_H

#include "node/deid/dict.h"
#include "store/base/buf.h"

struct charset; /* loaded modules; one thread at a time.  NULL: none are */
enum err charset_open(struct charset **out) PSC_MUST_USE;
void charset_close(struct charset *c); /* NULL ok */

/* What (0008,0005) says, or what a level inherits. */
struct charset_names {
	uint8_t g0, g1; /* sets in use where no escape says otherwise */
	bool is_utf8;
	bool unknown;    /* a term that is none */
	bool undeclared; /* no value: ASCII */
};
/* values: the trimmed value of (0008,0005). */
void charset_names(struct slice values, struct charset_names *out);

/* Affected by (0008,0005): LO LT PN SH ST UC UT. */
bool charset_vr(enum dcm_vr vr);
/* Is there anything to convert in it: bytes above 7F that are no UTF-8 said to
 * be such, or escapes. */
bool charset_is_plain(struct slice text);
bool charset_is_utf8(struct slice text);

/* Appends text as UTF-8.  What cannot be read becomes '?'; *guessed is set
 * (never cleared) then, and where the names do not say what it is: UTF-8 if it
 * is well-formed as such, else Latin-1. */
void charset_convert(struct charset *c, const struct charset_names *names,
    enum dcm_vr vr, struct slice text, struct buf *out, bool *guessed);

#endif
