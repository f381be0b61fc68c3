/* tests/unit/helper/test_sandbox.c: what the sandbox stops, and that it does
 * not stop the helper's own work.
 *
 * Each case runs in a child of its own; the control run without the sandbox
 * shows that the same action works before it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/imaging/helper/sandbox.h"
#include "node/imaging/sealed.h"
#include "store/base/limits.h"

#define WORKED 0
#define REFUSED 40

typedef int (*act_fn)(void);

/* 128 + signal, or what act returned. */
static int
run(act_fn act, bool confined)
{
	struct sandbox_limits lim = { .file_bytes = MIB, .cpu_s = 10 };
	int st = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (confined && sandbox_enter(&lim) != ERR_OK)
			_exit(99);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static int
verdict(int result)
{
	return result >= 0 ? WORKED : REFUSED;
}

static int
act_open(void)
{
	return verdict(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int
act_create(void)
{
	return verdict(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static int
act_stat(void)
{
	struct stat st;

	return verdict(stat("/etc/passwd", &st));
}

static int
act_socket(void)
{
	return verdict(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int
act_socketpair(void)
{
	int sv[2];

	return verdict(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
}

static int
act_connect(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	/* Any answer of the kernel counts as reached. */
	(void)connect(0, (struct sockaddr *)(void *)&a, sizeof(a));
	return WORKED;
}

static int
act_bind(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)bind(0, (struct sockaddr *)(void *)&a, sizeof(a));
	return WORKED;
}

static int
act_listen(void)
{
	(void)listen(0, 1);
	return WORKED;
}

static int
act_accept(void)
{
	(void)accept4(0, NULL, NULL, SOCK_CLOEXEC);
	return WORKED;
}

static int
act_exec(void)
{
	char name[] = "true";
	char *argv[] = { name, NULL };

	(void)execv("/bin/true", argv);
	return REFUSED;
}

static int
act_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return verdict(pid);
}

static int
act_ptrace(void)
{
	return verdict((int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int
act_kill_parent(void)
{
	(void)kill(getppid(), 0);
	return WORKED;
}

static int
act_map_code(void)
{
	int fd = sealed_new();
	void *p;
	bool mapped;

	if (fd < 0 || ftruncate(fd, 4096) != 0)
		return 1;
	p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	mapped = p != MAP_FAILED;
	if (mapped)
		(void)munmap(p, 4096);
	return mapped ? WORKED : REFUSED;
}

static int
act_memfd_and_sendmsg(void)
{
	struct slice text = SLICE_LIT("voxels"), back;
	struct iovec v = { .iov_base = &text, .iov_len = sizeof(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = sealed_new();

	if (fd < 0 || sealed_write(fd, text) != ERR_OK ||
	    sealed_close_writes(fd) != ERR_OK ||
	    sealed_map(fd, text.n, &back) != ERR_OK || !slice_eq(back, text))
		return 1;
	sealed_unmap(&back);
	/* Standard input is no socket: ENOTSOCK says that sendmsg ran. */
	if (sendmsg(0, &m, MSG_NOSIGNAL) < 0 && errno != ENOTSOCK)
		return 2;
	return WORKED;
}

static int
act_big_memfd(void)
{
	static uint8_t block[64 * 1024];
	int fd = sealed_new();
	int i;

	for (i = 0; i < 32; i++) { /* limit is 1 MiB */
		if (sealed_write(fd, slice_of(block, sizeof(block))) != ERR_OK)
			return REFUSED;
	}
	return WORKED;
}

static void
killed(act_fn act)
{
	assert_true(run(act, false) < 128);
	assert_int_equal(run(act, true), 128 + SIGSYS);
}

static void
test_paths_are_refused(void **state)
{
	(void)state;
	assert_int_equal(run(act_open, false), WORKED);
	assert_int_equal(run(act_open, true), REFUSED);
	assert_int_equal(run(act_create, true), REFUSED);
	assert_int_equal(run(act_stat, false), WORKED);
	assert_int_equal(run(act_stat, true), REFUSED);
}

static void
test_network_kills(void **state)
{
	(void)state;
	killed(act_socket);
	killed(act_socketpair);
	killed(act_connect);
	killed(act_bind);
	killed(act_listen);
	killed(act_accept);
}

static void
test_programs_and_processes_kill(void **state)
{
	(void)state;
	killed(act_exec);
	killed(act_fork);
	killed(act_ptrace);
	killed(act_kill_parent);
}

static void
test_no_new_code(void **state)
{
	(void)state;
	killed(act_map_code);
}

static void
test_memfd_and_sendmsg_work(void **state)
{
	(void)state;
	assert_int_equal(run(act_memfd_and_sendmsg, true), WORKED);
}

static void
test_memfd_is_bounded_without_a_signal(void **state)
{
	(void)state;
	assert_int_equal(run(act_big_memfd, false), WORKED);
	assert_int_equal(run(act_big_memfd, true), REFUSED);
}

/* A helper whose starter dies goes with it. */
static void
test_dies_with_its_parent(void **state)
{
	int p[2];
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		pid_t self = getpid();

		if (fork() == 0) {
			if (sandbox_tie(self) == ERR_OK)
				(void)!write(p[1], "x", 1);
			(void)close(p[0]);
			for (;;)
				(void)pause();
		}
		(void)!read(p[0], &c, 1); /* tied: now go */
		_exit(0);
	}
	(void)close(p[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(p[0], &c, 1), 0); /* all writers are dead */
	(void)close(p[0]);
}

static void
test_orphan_notices(void **state)
{
	(void)state;
	assert_int_equal(sandbox_tie(getpid()), ERR_FOREIGN);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_are_refused),
		cmocka_unit_test(test_network_kills),
		cmocka_unit_test(test_programs_and_processes_kill),
		cmocka_unit_test(test_no_new_code),
		cmocka_unit_test(test_memfd_and_sendmsg_work),
		cmocka_unit_test(test_memfd_is_bounded_without_a_signal),
		cmocka_unit_test(test_dies_with_its_parent),
		cmocka_unit_test(test_orphan_notices),
	};

	/* accept() on standard input must not wait. */
	(void)freopen("/dev/null", "r", stdin);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
