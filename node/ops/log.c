/* node/ops/log.c: format one line in memory, write it with one call, so
 * that lines of several threads never mix. */
#include "node/ops/log.h"

#include <stdarg.h>
#include <unistd.h>

#include "store/base/buf.h"
#include "store/base/clock.h"

#define LOG_LINE_BYTES 1024u

static const char *const log_names[] = {
	[LOG_LV_INFO] = "info",
	[LOG_LV_WARN] = "warn",
	[LOG_LV_ERROR] = "error",
};

static void
log_clean(char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			s[i] = '?';
	}
}

void
log_line(enum log_level l, const char *area, const char *msg,
    const char *kv_fmt, ...)
{
	char line[LOG_LINE_BYTES], when[CLOCK_TEXT_LEN + 1];
	va_list ap;
	size_t n;
	int k;

	clock_text(clock_wall_ms(), when);
	k = snprintf(line, sizeof(line), "t=%s level=%s area=%s msg=\"%s\" ",
	    when, log_names[l], area, msg);
	n = k < 0 ? 0 : (size_t)k;
	if (n < sizeof(line) - 1) {
		va_start(ap, kv_fmt);
		k = vsnprintf(line + n, sizeof(line) - n, kv_fmt, ap);
		va_end(ap);
		n += k < 0 ? 0 : (size_t)k;
	}
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	log_clean(line, n);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* there is nowhere left to say it */
}
