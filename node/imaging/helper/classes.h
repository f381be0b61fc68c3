/* node/imaging/helper/classes.h: what a SOP class means for release: which
 * IOD family it is (attribute types) and whether its objects may leave
 * without a person looking (domain.md 9). */
#ifndef PSC_HELPER_CLASSES_H
#define PSC_HELPER_CLASSES_H

#include "node/imaging/helper/walk.h"

enum iod_family {
	FAM_CLASSIC,  /* single frame, General Image module */
	FAM_PET,      /* acquisition date and time are type 2 */
	FAM_ENHANCED, /* multi-frame functional groups */
	FAM_SR,
	FAM_RT,
	FAM_OTHER,
};

enum iod_family classes_family(const struct dcm_file *f);
/* The k-th check, k < CLASSES_RISKS: a short text without patient data why a
 * person must look, or NULL. */
#define CLASSES_RISKS 8u
#define CLASSES_RISK_OVERLAY 7u /* the one that is about overlay bits */
const char *classes_risk(const struct dcm_file *f, uint32_t k);

#endif
