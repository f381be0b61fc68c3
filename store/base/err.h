/* store/base/err.h: error codes and the message a person reads.
 *
 * A function that can fail returns enum err; 0 is success and failures are
 * negative.  The peer's fault, our fault and the disk's fault are different
 * codes: see the comment beside each. */
#ifndef PSC_BASE_ERR_H
#define PSC_BASE_ERR_H

#define PSC_MUST_USE __attribute__((warn_unused_result))
#define PSC_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum err {
	ERR_OK = 0,
	ERR_NOMEM = -1,       /* ours: allocation failed */
	ERR_LIMIT = -2,       /* input above a named limit */
	ERR_SHORT = -3,       /* input ends before the field does */
	ERR_TRAILING = -4,    /* bytes left over after a whole decode */
	ERR_MALFORMED = -5,   /* input breaks its format */
	ERR_UNSUPPORTED = -6, /* well-formed, but not something we do */
	ERR_NOTFOUND = -7,
	ERR_EXISTS = -8,
	ERR_CORRUPT = -9,    /* disk: stored bytes are not what was written */
	ERR_DENIED = -10,    /* caller has no right to this */
	ERR_AUTH = -11,      /* a key, signature or MAC does not fit */
	ERR_IO = -12,        /* disk or network: the system call failed */
	ERR_FULL = -13,      /* disk: no space; nothing was changed */
	ERR_BUSY = -14,      /* ours: a queue is at its bound; try later */
	ERR_AGAIN = -15,     /* more input is needed */
	ERR_CANCELLED = -16, /* stopped on request */
	ERR_TIMEOUT = -17,
	ERR_FOREIGN = -18, /* a foreign library failed for its own reason */
};

/* What went wrong and what to do next, for a person.  No patient data and no
 * secret may be put here: messages reach logs and terminals. */
struct errmsg {
	enum err code;
	char cause[200];
	char next[160];
};

/* Short fixed text for a code, e.g. "not found".  Never NULL. */
const char *err_text(enum err e);

/* Fill *em (NULL is allowed) and return e.  next may be "". */
enum err errmsg_set(struct errmsg *em, enum err e, const char *next,
    const char *cause_fmt, ...) PSC_PRINTF(4, 5);

/* Programmer errors only, never input.  Always on. */
#define REQUIRE(x) ((x) ? (void)0 : require_failed(#x, __FILE__, __LINE__))
void require_failed(const char *what, const char *file, int line)
    __attribute__((noreturn));

#endif
