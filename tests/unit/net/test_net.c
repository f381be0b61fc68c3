/* tests/unit/net/test_net.c: whole sites in one process, on loopback: real
 * stores, shares and sockets.  Lab and centres dial the hub only. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/site.h"
#include "node/net/net.h"
#include "store/base/mem.h"

#define WAIT_MS 20000u

struct node {
	struct site s;
	struct net *net;
	char addr[80];
};

static struct node lab, hub, c1, c2;

/* --- nodes --- */

static void
node_up(struct node *n, const char *listen)
{
	struct net_opts o = { .store = n->s.st,
		.shares = n->s.sh,
		.me = &n->s.me,
		.listen = listen };
	struct errmsg em = { 0 };

	assert_ok(net_start(&o, &n->net, &em));
	net_listen_text(n->net, n->addr, sizeof(n->addr));
}

static void
node_down(struct node *n)
{
	net_stop(n->net);
	n->net = NULL;
}

static void
node_new(struct node *n, const char *name, const char *listen)
{
	site_new(&n->s, name);
	node_up(n, listen);
}

static void
node_end(struct node *n)
{
	node_down(n);
	site_end(&n->s);
}

static uint16_t
node_port(const struct node *n)
{
	const char *colon = strrchr(n->addr, ':');
	uint32_t port = 0;

	assert_non_null(colon);
	for (colon++; *colon != '\0'; colon++)
		port = port * 10 + (uint32_t)(*colon - '0');
	return (uint16_t)port;
}

static void
node_knows(struct node *n, const struct node *peer)
{
	struct cry_device_pub d = { .box = peer->s.me.pub.box };
	struct errmsg em = { 0 };

	assert_ok(net_peer_add(n->net, "127.0.0.1", node_port(peer), &d, &em));
}

static void
node_knows_wrong_key(
    struct node *n, const struct node *peer, const struct node *key_of)
{
	struct cry_device_pub d = { .box = key_of->s.me.pub.box };
	struct errmsg em = { 0 };

	assert_ok(net_peer_add(n->net, "127.0.0.1", node_port(peer), &d, &em));
}

static struct net_peer
node_peer(struct node *n, const struct node *peer)
{
	struct net_peer *list = NULL, out = { 0 };
	uint32_t count = 0, i;

	assert_ok(net_peers(n->net, &list, &count));
	for (i = 0; i < count; i++) {
		if (memcmp(&list[i].device.box, &peer->s.me.pub.box,
			sizeof(out.device.box)) == 0)
			out = list[i];
	}
	net_peers_free(list);
	return out;
}

static uint64_t
node_chunks_rx(struct node *n)
{
	struct net_peer *list = NULL;
	uint32_t count = 0, i;
	uint64_t sum = 0;

	assert_ok(net_peers(n->net, &list, &count));
	for (i = 0; i < count; i++)
		sum += list[i].chunks_rx;
	net_peers_free(list);
	return sum;
}

static void
node_synced(struct node *n)
{
	struct net_sync s;

	assert_ok(net_sync_wait(n->net, WAIT_MS, &s));
	assert_true(s.in_sync);
	assert_true(s.connected > 0);
	assert_int_equal(s.wanted_chunks, 0);
}

/* --- waiting --- */

typedef bool (*cond_fn)(void *ctx);

static bool
wait_for(cond_fn fn, void *ctx, uint64_t ms)
{
	uint64_t until = clock_mono_ms() + ms;

	while (!fn(ctx)) {
		if (clock_mono_ms() >= until)
			return false;
		usleep(5000);
	}
	return true;
}

static bool
is_member(void *ctx)
{
	struct node *n = ctx;
	struct share_info *list = NULL;
	uint32_t count = 0;
	bool yes;

	assert_ok(shares_list(n->s.sh, &list, &count));
	yes = count == 1 && !list[0].pending;
	shares_list_free(list, count);
	return yes;
}

struct has_put {
	struct node *n;
	const struct site_put *p;
	uint32_t count;
};

static bool
has_puts(void *ctx)
{
	struct has_put *h = ctx;
	uint32_t i;

	for (i = 0; i < h->count; i++) {
		if (!site_has(
			&h->n->s, &h->p[i].asset, h->p[i].bytes, h->p[i].n))
			return false;
	}
	return true;
}

static bool
dial_failed(void *ctx)
{
	struct node *n = ctx;
	struct net_peer *list = NULL;
	uint32_t count = 0, i;
	bool yes = false;

	assert_ok(net_peers(n->net, &list, &count));
	for (i = 0; i < count; i++)
		yes |= list[i].error[0] != '\0';
	net_peers_free(list);
	return yes;
}

static bool
lab_on_hub(void *ctx)
{
	(void)ctx;
	return node_peer(&lab, &hub).connected;
}

/* --- shares --- */

static void
invite(enum role role, const char *compartment, const struct node *via,
    uint64_t expires, struct buf *text)
{
	struct invite_addr a = { .host = "127.0.0.1",
		.port = node_port(via),
		.key = via->s.me.pub.box };
	struct share_invite_opts o = { .role = role,
		.compartment = compartment,
		.expires_in_s = expires,
		.addrs = &a,
		.n_addrs = 1 };
	struct errmsg em = { 0 };

	buf_reset(text);
	assert_ok(shares_invite(lab.s.sh, "trial", &o, text, &em));
	assert_non_null(buf_cstr(text));
}

/* What the node does with an invite. */
static void
accept_invite(struct node *n, const char *text)
{
	struct cry_device_pub d = { 0 };
	struct errmsg em = { 0 };
	struct invite v;
	enum err e;

	assert_ok(shares_join(n->s.sh, text, &v, &em));
	d.box = v.addrs[0].key;
	e = net_peer_add(n->net, v.addrs[0].host, v.addrs[0].port, &d, &em);
	assert_true(e == ERR_OK || e == ERR_EXISTS);
}

static void
join(struct node *n, enum role role, const char *compartment)
{
	struct buf text = BUF_MAX(4096);

	invite(role, compartment, &hub, 60, &text);
	accept_invite(n, buf_cstr(&text));
	assert_true(wait_for(is_member, n, WAIT_MS));
	buf_fini(&text);
}

static int
setup(void **state)
{
	static const char *const names[] = { "centre1", "centre2" };
	struct errmsg em = { 0 };

	(void)state;
	node_new(&hub, "hub", "127.0.0.1:0");
	node_new(&lab, "lab", "off");
	node_new(&c1, "centre-one", "off");
	node_new(&c2, "centre-two", "off");
	assert_ok(shares_create(lab.s.sh, "trial", names, 2, false, &em));
	node_knows(&lab, &hub);
	join(&hub, ROLE_HUB, NULL);
	join(&c1, ROLE_WRITER, "centre1");
	assert_true(wait_for(lab_on_hub, NULL, WAIT_MS));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	node_end(&lab);
	node_end(&hub);
	node_end(&c1);
	node_end(&c2);
	return 0;
}

/* --- files --- */

static void
put_many(struct node *n, const char *compartment, uint64_t seed, size_t bytes,
    struct site_put *p, uint32_t count)
{
	struct prng g = { seed };
	uint8_t *b;
	char *name;
	uint32_t i;

	for (i = 0; i < count; i++) {
		b = mem_new(bytes);
		name = mem_new(32);
		assert_non_null(b);
		assert_non_null(name);
		prng_fill(&g, b, bytes);
		(void)snprintf(name, 32, "S-%u-%u", (unsigned)seed, i);
		p[i] = (struct site_put){ .s = &n->s,
			.share = "trial",
			.compartment = compartment,
			.subject = name,
			.bytes = b,
			.n = bytes };
		assert_ok(site_put(&p[i]));
	}
}

static void
puts_free(struct site_put *p, uint32_t count)
{
	uint32_t i;
	union {
		const void *c;
		void *v;
	} u;

	for (i = 0; i < count; i++) {
		u.c = p[i].bytes;
		mem_free(u.v);
		u.c = p[i].subject;
		mem_free(u.v);
	}
}

static struct net_root
root_of(struct node *n, uint16_t compartment)
{
	struct net_root *list = NULL, out = { 0 };
	uint32_t count = 0, i;

	assert_ok(net_roots(n->net, &list, &count));
	for (i = 0; i < count; i++) {
		if (list[i].compartment == compartment)
			out = list[i];
	}
	net_roots_free(list);
	return out;
}

/* --- tests --- */

static void
two_centres_reach_the_lab_through_a_blind_hub(void **state)
{
	struct site_put p1[4], p2[3];
	struct has_put h1 = { &lab, p1, 4 }, h2 = { &lab, p2, 3 };
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct db_txn *txn = NULL;
	struct net_root a, b, c;

	(void)state;
	join(&c2, ROLE_WRITER, "centre2");
	put_many(&c1, "centre1", 1, 200000, p1, 4);
	put_many(&c2, "centre2", 2, 3000, p2, 3);
	assert_true(wait_for(has_puts, &h1, WAIT_MS));
	assert_true(wait_for(has_puts, &h2, WAIT_MS));
	node_synced(&lab);
	node_synced(&c1);
	node_synced(&c2);
	node_synced(&hub);
	a = root_of(&lab, 1);
	b = root_of(&c1, 1);
	c = root_of(&hub, 1);
	assert_int_equal(a.ops, 4);
	assert_memory_equal(a.root.b, b.root.b, 32);
	assert_memory_equal(a.root.b, c.root.b, 32);
	/* the hub holds all of it and can open none of it */
	assert_int_equal(site_table(&hub.s, DB_OP), 7);
	assert_int_equal(site_rows(&hub.s, "ekey"), 0);
	assert_int_equal(site_table(&hub.s, DB_ASSET), 0);
	assert_ok(store_read(hub.s.st, &txn));
	assert_int_equal(shares_open_op(hub.s.sh, txn, 1, &plain), ERR_DENIED);
	db_abort(txn);
	/* and the lab can: the control */
	assert_ok(store_read(lab.s.st, &txn));
	assert_ok(shares_open_op(lab.s.sh, txn, 1, &plain));
	db_abort(txn);
	/* a centre got nothing of the other's */
	assert_int_equal(site_table(&c1.s, DB_OP), 4);
	assert_int_equal(site_table(&c2.s, DB_OP), 3);
	assert_int_equal(root_of(&c1, 2).ops, 0);
	buf_fini(&plain);
	puts_free(p1, 4);
	puts_free(p2, 3);
}

/* Evicting at the lab asks the hub for proof; one other is not two, and
 * nobody there is none. */
static void
a_copy_goes_only_when_others_prove_to_hold_it(void **state)
{
	struct site_put p[3];
	struct has_put h = { &lab, p, 3 };
	struct net_proven others = { lab.net, 2 };
	const struct share_evict_opts o = { .proven = net_proven,
		.proven_ctx = &others };
	struct share_evicted out;
	struct errmsg em = { 0 };

	(void)state;
	put_many(&c1, "centre1", 9, 200000, p, 3);
	assert_true(wait_for(has_puts, &h, WAIT_MS));
	node_synced(&lab);
	node_synced(&c1);
	assert_ok(
	    shares_subscribe(lab.s.sh, "trial", "centre1", SHARE_NONE, &em));
	assert_ok(shares_evict(lab.s.sh, &o, &out));
	assert_int_equal(out.versions, 0);
	assert_int_equal(out.kept, 3);
	node_down(&hub);
	others.copies = 1;
	assert_ok(shares_evict(lab.s.sh, &o, &out));
	assert_int_equal(out.versions, 0);
	assert_int_equal(out.kept, 1); /* the rest waits too */
	assert_true(has_puts(&h));
	node_up(&hub, hub.addr);
	node_synced(&lab);
	assert_ok(shares_evict(lab.s.sh, &o, &out));
	assert_int_equal(out.versions, 3);
	assert_int_equal(out.kept, 0);
	puts_free(p, 3);
}

static void
what_was_written_while_apart_arrives_after_reconnect(void **state)
{
	struct site_put p[2];
	struct has_put h = { &lab, p, 2 };
	struct net_sync s;
	char addr[80];

	(void)state;
	(void)snprintf(addr, sizeof(addr), "%s", hub.addr);
	node_down(&hub);
	put_many(&c1, "centre1", 3, 50000, p, 2);
	assert_int_equal(net_sync_wait(lab.net, 300, &s), ERR_TIMEOUT);
	assert_false(has_puts(&h));
	node_up(&hub, addr);
	assert_true(wait_for(has_puts, &h, WAIT_MS));
	node_synced(&lab);
	puts_free(p, 2);
}

#define MANY 100u

static void
stopped_in_mid_transfer_it_resumes_without_fetching_twice(void **state)
{
	struct site_put p[MANY];
	struct has_put h = { &lab, p, MANY };
	uint64_t total, had, first, until;

	(void)state;
	node_down(&lab);
	put_many(&c1, "centre1", 4, 300000, p, MANY);
	node_synced(&c1); /* the hub has it all */
	total = site_chunks(&c1.s);
	node_up(&lab, "off");
	until = clock_mono_ms() + WAIT_MS;
	while (site_chunks(&lab.s) < 10)
		assert_true(clock_mono_ms() < until);
	first = node_chunks_rx(&lab);
	node_down(&lab);
	had = site_chunks(&lab.s);
	assert_true(had >= 10);
	assert_true(had < total);
	assert_true(first <= had + 64);
	node_up(&lab, "off");
	assert_true(wait_for(has_puts, &h, WAIT_MS));
	node_synced(&lab);
	assert_int_equal(site_chunks(&lab.s), total);
	assert_int_equal(node_chunks_rx(&lab), total - had);
	puts_free(p, MANY);
}

static void
store_reopened_it_still_has_its_peers_and_shares(void **state)
{
	struct site_put p[1];
	struct has_put h = { &lab, p, 1 };

	(void)state;
	node_down(&lab);
	site_close(&lab.s);
	site_open(&lab.s);
	node_up(&lab, "off");
	put_many(&c1, "centre1", 5, 1000, p, 1);
	assert_true(wait_for(has_puts, &h, WAIT_MS));
	puts_free(p, 1);
}

static void
used_expired_and_forged_invites_join_nobody(void **state)
{
	struct buf text = BUF_MAX(4096);
	struct share_member_info *m = NULL;
	struct share_info i = site_share(&lab.s, "trial");
	struct errmsg em = { 0 };
	struct invite v;
	uint32_t before = 0, n = 0;

	(void)state;
	/* used by centre 1, tried by centre 2 */
	invite(ROLE_WRITER, "centre2", &hub, 60, &text);
	accept_invite(&c2, buf_cstr(&text));
	assert_true(wait_for(is_member, &c2, WAIT_MS));
	assert_ok(shares_members(lab.s.sh, &i.id, &m, &before));
	shares_members_free(m);
	node_down(&c2);
	site_end(&c2.s);
	node_new(&c2, "somebody", "off");
	accept_invite(&c2, buf_cstr(&text));
	assert_false(wait_for(is_member, &c2, 700));
	/* expired after it was accepted, before the claim came */
	node_down(&lab);
	invite(ROLE_WRITER, "centre2", &hub, 1, &text);
	accept_invite(&c2, buf_cstr(&text));
	sleep(2);
	node_up(&lab, "off");
	assert_false(wait_for(is_member, &c2, 1000));
	/* a secret nobody issued */
	invite(ROLE_WRITER, "centre2", &hub, 60, &text);
	assert_ok(invite_decode(buf_slice(&text), &v));
	v.secret[3] ^= 0x10;
	buf_reset(&text);
	assert_ok(invite_encode(&v, &text));
	accept_invite(&c2, buf_cstr(&text));
	assert_false(wait_for(is_member, &c2, 700));
	assert_ok(shares_members(lab.s.sh, &i.id, &m, &n));
	assert_int_equal(n, before);
	shares_members_free(m);
	share_info_fini(&i);
	buf_fini(&text);
	(void)em;
}

static void
both_dial_and_one_connection_stays(void **state)
{
	struct node b = { 0 };
	uint64_t until;
	int both = 0;

	(void)state;
	node_new(&b, "b", "127.0.0.1:0");
	node_knows(&b, &hub);
	node_knows(&hub, &b);
	until = clock_mono_ms() + 3000;
	while (clock_mono_ms() < until && both < 50) {
		both = node_peer(&b, &hub).connected &&
			       node_peer(&hub, &b).connected
			   ? both + 1
			   : 0;
		usleep(10000);
	}
	assert_true(both >= 50); /* half a second without a change */
	node_end(&b);
}

static void
wrong_key_is_said_and_never_connects(void **state)
{
	struct node b = { 0 };
	struct net_peer p;
	struct errmsg em = { 0 };

	(void)state;
	node_new(&b, "b", "off");
	node_knows_wrong_key(&b, &hub, &c2);
	assert_true(wait_for(dial_failed, &b, WAIT_MS));
	p = node_peer(&b, &c2);
	assert_false(p.connected);
	assert_string_equal(
	    p.error, "the other side's key is not the one expected");
	assert_ok(net_peer_remove(b.net, hub.addr, &em));
	assert_int_equal(net_peer_remove(b.net, hub.addr, &em), ERR_NOTFOUND);
	assert_false(dial_failed(&b));
	/* with the right one it does: the control */
	node_knows(&b, &hub);
	usleep(500 * 1000);
	assert_true(node_peer(&b, &hub).connected);
	node_end(&b);
}

static int
stranger(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	sa.sin_port = htons(port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void
silent_strangers_are_bounded(void **state)
{
	struct pollfd fd[80];
	uint64_t until = clock_mono_ms() + 5000;
	int i, open = 0;
	char c;

	(void)state;
	for (i = 0; i < 80; i++)
		fd[i] = (struct pollfd){ stranger(node_port(&hub)), POLLIN, 0 };
	do {
		(void)poll(fd, 80, 50);
		for (i = 0, open = 0; i < 80; i++)
			open += recv(fd[i].fd, &c, 1, MSG_DONTWAIT) != 0;
	} while (open > 64 && clock_mono_ms() < until);
	assert_int_equal(open, 64);
	for (i = 0; i < 80; i++)
		close(fd[i].fd);
	/* members were not disturbed */
	assert_true(lab_on_hub(NULL));
}

static void
noise_of_a_stranger_closes_its_connection_only(void **state)
{
	uint8_t junk[500];
	struct prng g = { 9 };
	struct pollfd p;
	int fd = stranger(node_port(&hub));
	char c;

	(void)state;
	prng_fill(&g, junk, sizeof(junk));
	junk[0] = 48; /* a plausible length, then rubbish */
	junk[1] = 0;
	assert_int_equal(
	    send(fd, junk, sizeof(junk), MSG_NOSIGNAL), sizeof(junk));
	p = (struct pollfd){ fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 3000), 1);
	assert_true(recv(fd, &c, 1, 0) <= 0);
	close(fd);
	assert_true(lab_on_hub(NULL));
}

static void
taken_port_and_bad_address_are_told(void **state)
{
	struct net_opts o = {
		.store = lab.s.st, .shares = lab.s.sh, .me = &lab.s.me
	};
	struct errmsg em = { 0 };
	struct net *n = NULL;

	(void)state;
	node_down(&lab);
	o.listen = hub.addr;
	assert_int_equal(net_start(&o, &n, &em), ERR_BUSY);
	o.listen = "nonsense";
	assert_true(net_start(&o, &n, &em) != ERR_OK);
	assert_true(em.cause[0] != '\0');
	node_up(&lab, "off");
	assert_string_equal(lab.addr, "off");
}

/* The hub as the one who invites reaches it need not be how we do. */
static void
an_invite_does_not_replace_an_address_given_by_hand(void **state)
{
	struct cry_device_pub whole = hub.s.me.pub, box = { .box = whole.box };
	struct errmsg em = { 0 };
	struct net_peer p;

	(void)state;
	assert_ok(net_peer_add(c1.net, "127.0.0.2", 1, &box, &em));
	assert_ok(net_peer_add(c1.net, "127.0.0.2", 2, &box, &em));
	assert_ok(net_peer_add(c1.net, "127.0.0.2", 3, &whole, &em));
	assert_int_equal(
	    net_peer_add(c1.net, "127.0.0.2", 4, &box, &em), ERR_EXISTS);
	node_down(&c1);
	node_up(&c1, "off");
	p = node_peer(&c1, &hub);
	assert_int_equal(p.port, 3);
	assert_memory_equal(&p.device.sign, &whole.sign, sizeof(p.device.sign));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_centres_reach_the_lab_through_a_blind_hub),
		T(a_copy_goes_only_when_others_prove_to_hold_it),
		T(what_was_written_while_apart_arrives_after_reconnect),
		T(stopped_in_mid_transfer_it_resumes_without_fetching_twice),
		T(store_reopened_it_still_has_its_peers_and_shares),
		T(used_expired_and_forged_invites_join_nobody),
		T(both_dial_and_one_connection_stays),
		T(wrong_key_is_said_and_never_connects),
		T(silent_strangers_are_bounded),
		T(noise_of_a_stranger_closes_its_connection_only),
		T(an_invite_does_not_replace_an_address_given_by_hand),
		T(taken_port_and_bad_address_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
