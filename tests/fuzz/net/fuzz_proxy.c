/* Any bytes as a proxy's answer, whole and in pieces: nothing crashes, both
 * end alike, what came after an answer is not eaten. */
#include <stdlib.h>

#include "node/net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
talk(enum conf_proxy_kind kind, struct slice in, size_t piece, size_t *left)
{
	static struct proxy_talk t;
	struct buf out = BUF_MAX(1024);
	enum err e = proxy_begin(&t, kind, "hub.example", 443, &out);
	struct slice part;

	if (e != ERR_OK)
		abort();
	for (e = ERR_AGAIN; e == ERR_AGAIN && in.n > 0;) {
		part = slice_of(in.p, in.n < piece ? in.n : piece);
		in = slice_of(in.p + part.n, in.n - part.n);
		e = proxy_feed(&t, &part, &out);
		if (e == ERR_OK)
			in = slice_of(part.p, part.n + in.n);
	}
	if (e != ERR_OK && e != ERR_AGAIN && t.why[0] == '\0')
		abort();
	*left = e == ERR_OK ? in.n : 0;
	buf_fini(&out);
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum conf_proxy_kind kind = CONF_PROXY_HTTP;
	size_t whole = 0, pieces = 0;
	struct slice in;

	if (size < 2)
		return 0;
	if (data[0] == 's')
		kind = CONF_PROXY_SOCKS5;
	in = slice_of(data + 2, size - 2);
	if (talk(kind, in, in.n + 1, &whole) != talk(kind, in, 1, &pieces) ||
	    whole != pieces)
		abort();
	return 0;
}
