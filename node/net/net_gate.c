/* node/net/net_gate.c: how often one address may knock.
 *
 * A handshake costs three Diffie-Hellmans and a signature, and one address
 * could ask for them all day.  Each has NET_GATE_BURST knocks, and gets
 * NET_GATE_RATE a second back.  The table holds the last NET_GATE_SLOTS
 * addresses; who owns more of them than that meets NET_STRANGERS_MAX. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"

/* Without the port; of IPv6 the first half, which one site owns. */
static void
gate_host(const char *addr, char out[NET_GATE_HOST])
{
	const char *end = strrchr(addr, ':');
	size_t n = end == NULL ? strlen(addr) : (size_t)(end - addr);
	uint32_t colons = 0;

	if (n >= NET_GATE_HOST)
		n = NET_GATE_HOST - 1;
	for (size_t k = 0; k < n && addr[0] == '['; k++) {
		colons += addr[k] == ':';
		if (colons == 4)
			n = k;
	}
	memcpy(out, addr, n);
	out[n] = '\0';
}

static struct net_gate_slot *
gate_slot(struct net *n, const char *host, uint64_t now_ms)
{
	struct net_gate_slot *oldest = &n->gate[0];

	for (uint32_t i = 0; i < NET_GATE_SLOTS; i++) {
		struct net_gate_slot *s = &n->gate[i];

		if (strcmp(s->host, host) == 0)
			return s;
		if (s->at_ms < oldest->at_ms)
			oldest = s;
	}
	*oldest = (struct net_gate_slot){ .at_ms = now_ms,
		.left = NET_GATE_BURST * 1000u };
	(void)snprintf(oldest->host, sizeof(oldest->host), "%s", host);
	return oldest;
}

bool
net_gate_knock(struct net *n, const char *addr, uint64_t now_ms)
{
	char host[NET_GATE_HOST];
	struct net_gate_slot *s;
	uint64_t more;

	gate_host(addr, host);
	s = gate_slot(n, host, now_ms);
	more = (now_ms - s->at_ms) * NET_GATE_RATE;
	s->at_ms = now_ms;
	s->left = more > NET_GATE_BURST * 1000u - s->left
		      ? NET_GATE_BURST * 1000u
		      : s->left + (uint32_t)more;
	if (s->left >= 1000) {
		s->left -= 1000;
		s->told = s->told && s->left < NET_GATE_BURST * 500u;
		return true;
	}
	if (!s->told)
		log_warn("net", "an address knocks too often", "addr=%s", host);
	s->told = true;
	return false;
}
