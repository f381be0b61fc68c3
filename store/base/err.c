/* store/base/err.c: texts for codes, messages for people, REQUIRE. */
#include "store/base/err.h"

#include <stdarg.h>

const char *
err_text(enum err e)
{
	switch (e) {
	case ERR_OK: return "ok";
	case ERR_NOMEM: return "out of memory";
	case ERR_LIMIT: return "above a limit";
	case ERR_SHORT: return "ends too early";
	case ERR_TRAILING: return "bytes left over";
	case ERR_MALFORMED: return "malformed";
	case ERR_UNSUPPORTED: return "not supported";
	case ERR_NOTFOUND: return "not found";
	case ERR_EXISTS: return "exists already";
	case ERR_CORRUPT: return "corrupt on disk";
	case ERR_DENIED: return "not permitted";
	case ERR_AUTH: return "key or signature does not fit";
	case ERR_IO: return "input/output error";
	case ERR_FULL: return "no space left";
	case ERR_BUSY: return "busy";
	case ERR_AGAIN: return "incomplete";
	case ERR_CANCELLED: return "cancelled";
	case ERR_TIMEOUT: return "timed out";
	case ERR_FOREIGN: return "failed in a foreign library";
	}
	return "unknown error";
}

enum err
errmsg_set(
    struct errmsg *em, enum err e, const char *next, const char *cause_fmt, ...)
{
	va_list ap;

	if (em == NULL)
		return e;
	em->code = e;
	va_start(ap, cause_fmt);
	(void)vsnprintf(em->cause, sizeof(em->cause), cause_fmt, ap);
	va_end(ap);
	(void)snprintf(em->next, sizeof(em->next), "%s", next);
	return e;
}

void
require_failed(const char *what, const char *file, int line)
{
	(void)fprintf(stderr, "pesscara: REQUIRE(%s) failed at %s:%d\n", what,
	    file, line);
	abort();
}
