/* node/workdir/gate.c: what may go into a share by check-in (domain.md 10,
 * 11).
 *
 * Nothing here can clean a file of an analyst's; so what cannot be checked
 * goes in only with a person's reason, which is kept and audited. */
#include "node/workdir/checkin.h"

enum err
ci_gate(struct checkin *k, const struct ci_group *g, const struct ci_file *f,
    int fd)
{
	(void)g;
	(void)fd;
	if (*k->o->reason != '\0')
		return ERR_OK;
	return errmsg_set(k->em, ERR_DENIED,
	    "Look at it for names and dates, then add --reason TEXT.",
	    "%.60s/%.80s: no program here can tell whether it names a patient",
	    f->folder, f->name);
}

void
ci_gate_end(struct checkin *k)
{
	imaging_close(k->helper);
	k->helper = NULL;
}
