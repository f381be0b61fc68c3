/* node/backup/scrub.h: a thread that reads the log over and over, slowly, so
 * that rot is found while another copy still exists.  What it finds is an
 * event ("store.damaged"), a log line and a figure in status; reads never
 * give damaged bytes out, scrub or not. */
#ifndef PSC_BACKUP_SCRUB_H
#define PSC_BACKUP_SCRUB_H

#include "store/blob/store.h"

struct scrub;
struct scrub_status {
	bool on;
	uint64_t rounds; /* times the whole log was read */
	uint64_t bytes;  /* read in this run */
	uint64_t bad;    /* found in this run */
	char last[128];  /* what was found last; "": nothing */
};
/* bytes_per_s 0: off, *out is NULL.  Goes on where the last run stopped. */
enum err scrub_start(struct store *s, uint64_t bytes_per_s, struct scrub **out,
    struct errmsg *em) PSC_MUST_USE;
void scrub_stop(struct scrub *g);                             /* NULL ok */
void scrub_status(struct scrub *g, struct scrub_status *out); /* NULL ok */

#endif
