/* node/imaging/helper/dates.h: dates moved by whole days (PS3.15 E.3.6, Retain
 * Longitudinal Temporal Information With Modified Dates).  Pure. */
#ifndef PSC_HELPER_DATES_H
#define PSC_HELPER_DATES_H

#include "node/deid/dict.h"

#define DATES_VALUE_MAX 32u

/* The dummy that stands where a date was taken out; it is never moved. */
#define DATES_DUMMY "19000101"

/* Days since 1970-01-01 of YYYYMMDD or of ACR-NEMA's YYYY.MM.DD in the
 * Gregorian calendar; false when s is neither. */
bool dates_parse(struct slice s, int32_t *days);

/* One trimmed value of a DA, DT, TM or SH (an offset from UTC), moved by
 * days.  The time of a DT and its offset stay; a TM and an SH stay as they
 * are.  Empty and the dummy stand for themselves.  False, out "": it is not a
 * whole date (a year alone, a range) or not what its VR says. */
bool dates_shift(struct slice one, enum dcm_vr vr, int32_t days,
    char out[DATES_VALUE_MAX + 1]);

#endif
