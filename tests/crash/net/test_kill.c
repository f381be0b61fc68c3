/* tests/crash/net/test_kill.c: a site is killed (kill -9) in the middle of a
 * transfer, several times, and started again: what it had stays, the rest
 * comes, and in the end it holds every byte.
 *
 * This process is the sender; each receiver is this program run again as a
 * child: it opens its store, says through a pipe that it holds some more
 * chunks, and is killed. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/site.h"
#include "node/net/net.h"
#include "store/base/num.h"

#define FILES 160u
#define FILE_BYTES ((size_t)200 * KIB)
#define KILLS 3
/* Chunks a child may take before it is killed; commits come in groups, so it
 * has somewhat more by then. */
#define KILL_AFTER 20u

static struct site sender, receiver;
static uint64_t total;
static uint8_t files[FILES][FILE_BYTES];
static struct site_put put_v[FILES];

static struct net *
net_up(struct site *s, const char *listen, char addr[80])
{
	struct net_opts o = {
		.store = s->st, .shares = s->sh, .me = &s->me, .listen = listen
	};
	struct errmsg em = { 0 };
	struct net *n = NULL;

	if (net_start(&o, &n, &em) != ERR_OK)
		return NULL;
	net_listen_text(n, addr, 80);
	return n;
}

static uint64_t
chunks(struct site *s)
{
	struct store_stats st;

	return store_stats(s->st, &st) == ERR_OK ? st.chunks : 0;
}

/* --- the child --- */

#define ID_FILE "/identity.test"

static void
identity_path(const struct site *s, char out[TMPDIR_MAX + 32])
{
	(void)snprintf(out, TMPDIR_MAX + 32, "%s%s", s->dir, ID_FILE);
}

static bool
child_open(struct site *s)
{
	struct store_opts so = {
		.dir = s->dir, .segment_bytes = 64 * MIB, .map_bytes = 512 * MIB
	};
	struct shares_opts o = { .me = &s->me, .site = s->name };
	char path[TMPDIR_MAX + 32];
	struct errmsg em = { 0 };
	FILE *f;

	identity_path(s, path);
	f = fopen(path, "rb");
	if (f == NULL || fread(&s->me, sizeof(s->me), 1, f) != 1)
		return false;
	fclose(f);
	so.local = s->me.local;
	so.convergence = s->me.convergence;
	if (store_open(&so, &s->st, &em) != ERR_OK)
		return false;
	o.store = s->st;
	return shares_open(&o, &s->sh, &em) == ERR_OK;
}

/* argv: dir, pipe, how many more chunks, how many there are at all.  Runs
 * until it is killed; exits only when it cannot do what it should. */
static int
child_main(char **argv)
{
	char addr[80], c = 'x';
	uint64_t start, now, num[3];
	int i;

	(void)snprintf(receiver.dir, sizeof(receiver.dir), "%s", argv[0]);
	(void)snprintf(receiver.name, sizeof(receiver.name), "receiver");
	for (i = 0; i < 3; i++) {
		if (num_u64(slice_str(argv[i + 1]), 0, UINT32_MAX, &num[i]) !=
		    ERR_OK)
			return 1;
	}
	if (cry_init() != ERR_OK || !child_open(&receiver))
		return 1;
	start = chunks(&receiver);
	if (net_up(&receiver, "off", addr) == NULL)
		return 2;
	for (;;) {
		now = chunks(&receiver);
		if (now >= num[2])
			return 4; /* too fast to be killed in the middle */
		if (now >= start + num[1])
			break;
		usleep(500);
	}
	if (write((int)num[0], &c, 1) != 1)
		return 3;
	sleep(20);
	return 5;
}

/* A child that is killed when it holds `more` new chunks. */
static void
run_and_kill(uint64_t more)
{
	char self[] = "/proc/self/exe", fd_text[24], more_text[24],
	     total_text[24];
	char *argv[] = { self, receiver.dir, fd_text, more_text, total_text,
		NULL };
	int fd[2], status = 0;
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	(void)snprintf(fd_text, sizeof(fd_text), "%d", fd[1]);
	(void)snprintf(more_text, sizeof(more_text), "%u", (unsigned)more);
	(void)snprintf(total_text, sizeof(total_text), "%u", (unsigned)total);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execv(self, argv);
		_exit(9);
	}
	close(fd[1]);
	assert_int_equal(read(fd[0], &c, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(fd[0]);
}

static void
identity_write(const struct site *s)
{
	char path[TMPDIR_MAX + 32];
	FILE *f;

	identity_path(s, path);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(&s->me, sizeof(s->me), 1, f), 1);
	assert_int_equal(fclose(f), 0);
}

/* --- the sender --- */

static struct invite
make_invite(const char *addr)
{
	struct invite_addr a = { .host = "127.0.0.1",
		.key = sender.me.pub.box };
	struct share_invite_opts o = { .role = ROLE_READER,
		.compartment = "c",
		.expires_in_s = 60,
		.addrs = &a,
		.n_addrs = 1 };
	struct buf text = BUF_MAX(4096);
	struct errmsg em = { 0 };
	const char *p = strrchr(addr, ':');
	struct invite v;

	assert_non_null(p);
	for (p++; *p != '\0'; p++)
		a.port = (uint16_t)(a.port * 10 + (*p - '0'));
	assert_ok(shares_invite(sender.sh, "trial", &o, &text, &em));
	assert_ok(shares_join(receiver.sh, buf_cstr(&text), &v, &em));
	buf_fini(&text);
	return v;
}

static bool
joined(void)
{
	struct share_info *list = NULL;
	uint32_t n = 0;
	bool yes;

	assert_ok(shares_list(receiver.sh, &list, &n));
	yes = n == 1 && !list[0].pending;
	shares_list_free(list, n);
	return yes;
}

/* Membership while nobody is killed, then the receiver's store is left to
 * the children. */
static void
receiver_joins(const char *addr)
{
	struct cry_device_pub d = { 0 };
	struct errmsg em = { 0 };
	struct invite v = make_invite(addr);
	uint64_t until = clock_mono_ms() + 20000;
	struct net *n;
	char mine[80];

	n = net_up(&receiver, "off", mine);
	assert_non_null(n);
	d.box = v.addrs[0].key;
	assert_ok(net_peer_add(n, v.addrs[0].host, v.addrs[0].port, &d, &em));
	while (!joined()) {
		assert_true(clock_mono_ms() < until);
		usleep(2000);
	}
	net_stop(n);
	site_close(&receiver);
}

static void
fill(void)
{
	struct prng g = { 77 };
	static char names[FILES][16];
	uint32_t i;

	for (i = 0; i < FILES; i++) {
		prng_fill(&g, files[i], FILE_BYTES);
		(void)snprintf(names[i], sizeof(names[i]), "S-%u", i);
		put_v[i] = (struct site_put){ .s = &sender,
			.share = "trial",
			.compartment = "c",
			.subject = names[i],
			.bytes = files[i],
			.n = FILE_BYTES };
		assert_ok(site_put(&put_v[i]));
	}
}

static bool
all_here(void)
{
	uint32_t i;

	for (i = 0; i < FILES; i++) {
		if (!site_has(&receiver, &put_v[i].asset, files[i], FILE_BYTES))
			return false;
	}
	return true;
}

static void
count_bad(void *ctx, const struct store_bad *bad)
{
	(void)bad;
	++*(uint32_t *)ctx;
}

static struct cry_id
catalog_of(struct site *s)
{
	struct share_info i = site_share(s, "trial");
	struct db_txn *txn = NULL;
	struct cry_id h;

	assert_ok(store_read(s->st, &txn));
	assert_ok(cat_hash(s->st, txn, i.no, i.c[0].no, &h));
	db_abort(txn);
	share_info_fini(&i);
	return h;
}

/* Every record is sound and both catalogs are the same. */
static void
all_sound(void)
{
	struct cry_id a = catalog_of(&sender), b = catalog_of(&receiver);
	uint64_t checked = 0;
	uint32_t bad = 0;

	assert_memory_equal(a.b, b.b, sizeof(a.b));
	assert_ok(store_verify(receiver.st, true, count_bad, &bad, &checked));
	assert_int_equal(bad, 0);
	assert_true(checked > total);
}

static void
killed_in_mid_transfer_it_converges(void **state)
{
	static const char *const names[] = { "c" };
	uint64_t had, until;
	struct net_peer *peers = NULL;
	struct errmsg em = { 0 };
	struct net *ns, *nr;
	uint32_t n = 0;
	char addr[80], mine[80];
	int i;

	(void)state;
	site_new(&sender, "sender");
	site_new(&receiver, "receiver");
	assert_ok(shares_create(sender.sh, "trial", names, 1, false, &em));
	assert_ok(shares_grant(
	    sender.sh, "trial", &sender.me.pub, ROLE_WRITER, "c", &em));
	ns = net_up(&sender, "127.0.0.1:0", addr);
	assert_non_null(ns);
	receiver_joins(addr);
	identity_write(&receiver);
	fill();
	total = chunks(&sender);
	for (i = 0; i < KILLS; i++)
		run_and_kill(i == 0 ? 1 : KILL_AFTER);
	site_open(&receiver);
	had = chunks(&receiver);
	assert_true(had > (uint64_t)KILL_AFTER * (KILLS - 1));
	assert_true(had < total);
	nr = net_up(&receiver, "off", mine);
	assert_non_null(nr);
	until = clock_mono_ms() + 20000;
	while (!all_here()) {
		assert_true(clock_mono_ms() < until);
		usleep(5000);
	}
	/* and only what was missing was fetched */
	assert_int_equal(chunks(&receiver), total);
	usleep(100 * 1000);
	assert_ok(net_peers(nr, &peers, &n));
	assert_int_equal(n, 1);
	assert_int_equal(peers[0].chunks_rx, total - had);
	net_peers_free(peers);
	net_stop(nr);
	net_stop(ns);
	all_sound();
	site_end(&sender);
	site_end(&receiver);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_in_mid_transfer_it_converges),
	};

	if (argc == 5)
		return child_main(argv + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
