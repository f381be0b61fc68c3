/* node/imaging/helper/sandbox.c: rlimits and a seccomp allow list.
 *
 * What the helper needs is short: read and write descriptors it was given,
 * make and seal memfds, map memory without execution, wait, end.  Path
 * look-ups are refused with EACCES, because libraries try them in passing
 * (time zone, locale); whatever would reach out of the process (sockets,
 * programs, processes, ptrace) and everything not named kills it.
 *
 * Under AddressSanitizer the address space limit is left out: its shadow
 * maps terabytes. */
#include "node/imaging/helper/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define SANDBOX_FDS 64u

static const int sandbox_allowed[] = {
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write),
	SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(lseek),
	SCMP_SYS(sendfile), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(fcntl),
	SCMP_SYS(ftruncate), SCMP_SYS(memfd_create), SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
	SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(poll),
	SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(munmap),
	SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex),
	SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname),
	SCMP_SYS(sysinfo), SCMP_SYS(exit), SCMP_SYS(exit_group),
#ifdef __SANITIZE_ADDRESS__
	SCMP_SYS(pipe2), /* the sanitizer probes memory through a pipe */
#endif
};

/* Refused, not fatal: libraries ask and live with a no. */
static const int sandbox_refused[] = {
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(ioctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(prctl),
};

enum err
sandbox_tie(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return ERR_IO;
	if (parent > 0 && getppid() != parent)
		return ERR_FOREIGN;
	return ERR_OK;
}

static bool
sandbox_limit(__rlimit_resource_t what, uint64_t n)
{
	struct rlimit r = { .rlim_cur = n, .rlim_max = n }, now;

	/* Never above what we were given. */
	if (getrlimit(what, &now) != 0)
		return false;
	if (now.rlim_max != RLIM_INFINITY && now.rlim_max < n)
		r.rlim_cur = r.rlim_max = now.rlim_max;
	return setrlimit(what, &r) == 0;
}

static bool
sandbox_limits(const struct sandbox_limits *lim)
{
	if (!sandbox_limit(RLIMIT_CORE, 0) ||
	    !sandbox_limit(RLIMIT_NOFILE, SANDBOX_FDS) ||
	    !sandbox_limit(RLIMIT_FSIZE, lim->file_bytes) ||
	    !sandbox_limit(RLIMIT_CPU, lim->cpu_s))
		return false;
	/* Too big a memfd is an error of that write, not our end. */
	(void)signal(SIGXFSZ, SIG_IGN);
#ifndef __SANITIZE_ADDRESS__
	if (lim->memory_bytes > 0 &&
	    !sandbox_limit(RLIMIT_AS, lim->memory_bytes))
		return false;
#endif
	return true;
}

/* The calls whose arguments matter. */
static int
sandbox_special(scmp_filter_ctx f)
{
	int e;

	e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (e == 0)
		e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
		    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* fstat() is newfstatat() with an empty path. */
	if (e == 0)
		e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
		    SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	if (e == 0)
		e = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES),
		    SCMP_SYS(newfstatat), 1,
		    SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0));
	/* abort() signals itself. */
	if (e == 0)
		e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return e;
}

static int
sandbox_filter(scmp_filter_ctx f)
{
	size_t i;
	int e = 0;

	for (i = 0;
	     e == 0 && i < sizeof(sandbox_allowed) / sizeof(sandbox_allowed[0]);
	     i++)
		e = seccomp_rule_add(f, SCMP_ACT_ALLOW, sandbox_allowed[i], 0);
	for (i = 0;
	     e == 0 && i < sizeof(sandbox_refused) / sizeof(sandbox_refused[0]);
	     i++)
		e = seccomp_rule_add(
		    f, SCMP_ACT_ERRNO(EACCES), sandbox_refused[i], 0);
	if (e == 0)
		e = sandbox_special(f);
	if (e == 0)
		e = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return e;
}

enum err
sandbox_enter(const struct sandbox_limits *lim)
{
	scmp_filter_ctx f;
	int e;

	if (!sandbox_limits(lim) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_DUMPABLE, 0) != 0)
		return ERR_IO;
	f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (f == NULL)
		return ERR_NOMEM;
	e = sandbox_filter(f);
	if (e == 0)
		e = seccomp_load(f);
	seccomp_release(f);
	return e == 0 ? ERR_OK : ERR_IO;
}
