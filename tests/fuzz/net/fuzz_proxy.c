/* Any bytes as a proxy's answer, whole and in pieces: nothing crashes, both
 * end alike, what came after an answer is not eaten. */
#include <stdlib.h>

#include "node/net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
talk(uint8_t how, struct slice in, size_t piece, size_t *left)
{
	enum conf_proxy_kind kind =
	    how == 'h' ? CONF_PROXY_HTTP : CONF_PROXY_SOCKS5;
	static struct proxy_talk t;
	struct buf out = BUF_MAX(1024);
	enum err e;
	struct slice part;

	t.login = how == 'p' ? "user:secret" : NULL;
	e = proxy_begin(&t, kind, "hub.example", 443, &out);

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
	size_t whole = 0, pieces = 0;
	struct slice in;

	if (size < 2)
		return 0;
	in = slice_of(data + 2, size - 2);
	if (talk(data[0], in, in.n + 1, &whole) !=
		talk(data[0], in, 1, &pieces) ||
	    whole != pieces)
		abort();
	return 0;
}
