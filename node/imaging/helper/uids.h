/* node/imaging/helper/uids.h: the set of UIDs one object names, by hash. */
#ifndef PSC_HELPER_UIDS_H
#define PSC_HELPER_UIDS_H

#include "node/imaging/helper/walk.h"

#define UIDS_NONE UINT32_MAX

struct uids {
	char (*v)[IMG_UID_MAX + 1];
	uint32_t n;
	uint32_t cap;
	bool full; /* some UID found no room (IMG_UIDS_MAX) */
	uint16_t slot[4 * IMG_UIDS_MAX]; /* index + 1; 0 free */
};

/* Add a UID that is not there yet.  Above IMG_UIDS_MAX only marks full. */
enum err uids_add(struct uids *u, struct slice uid) PSC_MUST_USE;
uint32_t uids_find(const struct uids *u, struct slice uid);
void uids_fini(struct uids *u);

/* A UID that stands for something of this patient or site: well-formed and
 * not one the standard registers (PS3.6 annex A). */
bool uids_mappable(struct slice uid);

#endif
