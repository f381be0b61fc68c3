/* node/backup/backup_pace.c: how long a copy that ran ahead of its rate waits.
 */
#include "node/backup/backup_internal.h"

uint64_t
backup_pace_wait_ms(const struct backup_pace *p, uint64_t now_ms)
{
	uint64_t due;

	if (p->bytes_per_s == 0)
		return 0;
	/* Seconds and the rest apart, so that nothing overflows. */
	due = p->bytes / p->bytes_per_s * 1000 +
	      (p->bytes % p->bytes_per_s) / (p->bytes_per_s / 1000 + 1);
	due += p->began_ms;
	return due > now_ms ? due - now_ms : 0;
}
