/* node/ops/log.h: one logfmt line per happening, to stderr.
 *
 *   t=2026-11-23T15:04:05Z level=warn area=ingest msg="..." ae="SCANNER1"
 *
 * No patient data and no secret is ever logged (architecture rule 9): values
 * are our own words, AE titles, addresses, our ids and counts. */
#ifndef PSC_OPS_LOG_H
#define PSC_OPS_LOG_H

#include "store/base/err.h"

enum log_level { LOG_LV_INFO, LOG_LV_WARN, LOG_LV_ERROR };

/* kv_fmt: "key=%s n=%u" style, values quoted by the caller's format where
 * they hold spaces; control characters are replaced. "" for none. */
void log_line(enum log_level l, const char *area, const char *msg,
    const char *kv_fmt, ...) PSC_PRINTF(4, 5);

#define log_info(area, msg, ...) log_line(LOG_LV_INFO, area, msg, __VA_ARGS__)
#define log_warn(area, msg, ...) log_line(LOG_LV_WARN, area, msg, __VA_ARGS__)
#define log_error(area, msg, ...) log_line(LOG_LV_ERROR, area, msg, __VA_ARGS__)

#endif
