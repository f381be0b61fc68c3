/* wire QUEUE DELAY_MS LOSS_PERMILLE SEED: a long or a bad cable.
 *
 * Every packet of the NFQUEUE goes on after the delay, in order; of a thousand
 * the given number is dropped, chosen by the seed.  (netem is in few kernels;
 * NFQUEUE is in most.)  Prints "ready" once packets pass; ends by a signal.
 * When memory or the queue runs out packets are lost, as on a wire. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/netfilter.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#include "store/base/num.h"

#define WAITING_MAX (1u << 16) /* packets */
#define SOCKET_BYTES (8 << 20)

struct wire {
	struct nfq_q_handle *q;
	uint64_t delay_us;
	uint32_t loss, rng;
	uint32_t first, n; /* ring: all wait equally long */
	uint32_t id[WAITING_MAX];
	uint64_t due[WAITING_MAX];
};

static uint64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* xorshift32, below 1000 */
static uint32_t
dice(struct wire *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 17;
	w->rng ^= w->rng << 5;
	return w->rng % 1000u;
}

static int
packet_cb(struct nfq_q_handle *q, struct nfgenmsg *msg, struct nfq_data *data,
    void *ctx)
{
	const struct nfqnl_msg_packet_hdr *h = nfq_get_msg_packet_hdr(data);
	struct wire *w = ctx;
	uint32_t at;

	(void)msg;
	if (h == NULL)
		return 0;
	if (w->n == WAITING_MAX || dice(w) < w->loss)
		return nfq_set_verdict(
		    q, ntohl(h->packet_id), NF_DROP, 0, NULL);
	at = (w->first + w->n++) % WAITING_MAX;
	w->id[at] = ntohl(h->packet_id);
	w->due[at] = now_us() + w->delay_us;
	return 0;
}

/* How long until the next one is due, in ms; -1: none waits. */
static int
let_pass(struct wire *w)
{
	uint64_t now = now_us(), due;

	while (w->n > 0) {
		due = w->due[w->first];
		if (due > now)
			return (int)((due - now + 999u) / 1000u);
		(void)nfq_set_verdict(
		    w->q, w->id[w->first], NF_ACCEPT, 0, NULL);
		w->first = (w->first + 1u) % WAITING_MAX;
		w->n--;
	}
	return -1;
}

static int
run(struct wire *w, struct nfq_handle *h)
{
	static char bytes[65536] __attribute__((aligned(8)));
	struct pollfd p = { .fd = nfq_fd(h), .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, let_pass(w)) <= 0)
			continue;
		n = recv(p.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n > 0)
			(void)nfq_handle_packet(h, bytes, (int)n);
		else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			return 1;
	}
}

int
main(int argc, char **argv)
{
	static struct wire w;
	struct nfq_handle *h = nfq_open();
	int bytes = SOCKET_BYTES;
	uint64_t arg[4] = { 0 };

	for (int i = 0; i < 4 && argc == 5; i++) {
		if (num_u64(slice_str(argv[i + 1]), 0, 1000, &arg[i]) != ERR_OK)
			argc = 0;
	}
	if (argc != 5 || h == NULL) {
		fprintf(stderr, "wire: no NFQUEUE, or not four arguments\n");
		return 1;
	}
	w.delay_us = arg[1] * 1000u;
	w.loss = (uint32_t)arg[2];
	w.rng = (uint32_t)arg[3] * 2654435761u + 1u;
	w.q = nfq_create_queue(h, (uint16_t)arg[0], packet_cb, &w);
	if (w.q == NULL || nfq_set_mode(w.q, NFQNL_COPY_META, 0) < 0 ||
	    nfq_set_queue_maxlen(w.q, WAITING_MAX) < 0) {
		perror("wire");
		return 1;
	}
	(void)setsockopt(
	    nfq_fd(h), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	printf("ready\n");
	fflush(stdout);
	return run(&w, h);
}
