/* node/imaging/helper/import.h: files the node hands over, one by one. */
#ifndef PSC_HELPER_IMPORT_H
#define PSC_HELPER_IMPORT_H

#include "node/imaging/helper/link.h"

/* Until the node closes the pair; an error means it did so in mid-talk. */
enum err import_run(struct link *l) PSC_MUST_USE;

#endif
