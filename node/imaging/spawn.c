/* node/imaging/spawn.c: start and end a helper process.
 *
 * posix_spawn (vfork inside: cheap from a big process) with a file action
 * list that leaves descriptors 0 and 1 on /dev/null, 2 as it is, 3 = our
 * pair, and closes the rest.  The helper confines itself and asks the
 * kernel to be killed with the thread that started it; should it miss that,
 * it sees end of file on the pair.  A helper is waited for by pidfd, so no
 * other child of the process is ever reaped here. */
#include "node/imaging/imaging_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/base/clock.h"

#define SPAWN_FD 3

static int
spawn_actions(posix_spawn_file_actions_t *fa, int sock)
{
	int e = posix_spawn_file_actions_init(fa);

	if (e != 0)
		return e;
	if ((e = posix_spawn_file_actions_addopen(
		 fa, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
	    (e = posix_spawn_file_actions_addopen(
		 fa, 1, "/dev/null", O_WRONLY, 0)) == 0 &&
	    (e = posix_spawn_file_actions_adddup2(fa, sock, SPAWN_FD)) == 0)
		e = posix_spawn_file_actions_addclosefrom_np(fa, SPAWN_FD + 1);
	if (e != 0)
		(void)posix_spawn_file_actions_destroy(fa);
	return e;
}

static int
spawn_attr(posix_spawnattr_t *at)
{
	sigset_t none, all;
	int e = posix_spawnattr_init(at);

	if (e != 0)
		return e;
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	if ((e = posix_spawnattr_setsigmask(at, &none)) == 0 &&
	    (e = posix_spawnattr_setsigdefault(at, &all)) == 0)
		e = posix_spawnattr_setflags(
		    at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (e != 0)
		(void)posix_spawnattr_destroy(at);
	return e;
}

/* argv carries our pid: the helper checks that we still are its parent
 * after it asked to die with us. */
static int
spawn_exec(const char *program, int sock, pid_t *pid)
{
	char name[] = "pesscara-imaging", parent[24];
	char *argv[] = { name, parent, NULL };
	char *envp[] = { NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	int e;

	(void)snprintf(parent, sizeof(parent), "%ld", (long)getpid());
	if ((e = spawn_actions(&fa, sock)) != 0)
		return e;
	if ((e = spawn_attr(&at)) == 0) {
		e = posix_spawn(pid, program, &fa, &at, argv, envp);
		(void)posix_spawnattr_destroy(&at);
	}
	(void)posix_spawn_file_actions_destroy(&fa);
	return e;
}

enum err
spawn_helper(
    const struct imaging_opts *opts, struct imaging *im, struct errmsg *em)
{
	int sv[2] = { -1, -1 }, far = -1, code = 0;
	enum err e = ERR_IO;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) != 0) {
		code = errno;
		goto out;
	}
	/* Above the numbers that the file actions give away. */
	far = fcntl(sv[1], F_DUPFD_CLOEXEC, SPAWN_FD + 1);
	if (far < 0) {
		code = errno;
		goto out;
	}
	code = spawn_exec(opts->program, far, &im->pid);
	if (code != 0) {
		im->pid = -1;
		goto out;
	}
	im->pidfd = (int)syscall(SYS_pidfd_open, im->pid, 0);
	im->sock = sv[0];
	sv[0] = -1;
	e = ERR_OK;
out:
	if (far >= 0)
		(void)close(far);
	if (sv[0] >= 0)
		(void)close(sv[0]);
	if (sv[1] >= 0)
		(void)close(sv[1]);
	if (e != ERR_OK)
		(void)errmsg_set(em, e, "check the installation",
		    "cannot start the imaging helper (error %d)", code);
	return e;
}

static bool
spawn_ended(const struct imaging *im, uint32_t wait_ms)
{
	struct pollfd p = { .fd = im->pidfd, .events = POLLIN };
	uint64_t end = clock_mono_ms() + wait_ms, now;
	int n;

	if (im->pidfd < 0)
		return false;
	do {
		now = clock_mono_ms();
		n = poll(&p, 1, now >= end ? 0 : (int)(end - now));
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

void
spawn_reap(struct imaging *im, uint32_t wait_ms)
{
	if (im->pid <= 0)
		return;
	if (!spawn_ended(im, wait_ms))
		(void)kill(im->pid, SIGKILL);
	while (waitpid(im->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	im->pid = -1;
	if (im->pidfd >= 0)
		(void)close(im->pidfd);
	im->pidfd = -1;
}
