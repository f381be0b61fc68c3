/* node/imaging/helper/sandbox.h: what the helper gives up before it looks at
 * a foreign byte. */
#ifndef PSC_HELPER_SANDBOX_H
#define PSC_HELPER_SANDBOX_H

#include "store/base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct sandbox_limits {
	uint64_t memory_bytes; /* address space; 0: none */
	uint64_t file_bytes;   /* largest memfd */
	uint64_t cpu_s;
};

/* Die with the parent; ERR_FOREIGN if parent (0: not asked) is gone. */
enum err sandbox_tie(pid_t parent) PSC_MUST_USE;
/* Resource limits, no new privileges, then the system call filter.  There
 * is no way back.  ERR_IO: the kernel refused; do not go on. */
enum err sandbox_enter(const struct sandbox_limits *lim) PSC_MUST_USE;

#endif
