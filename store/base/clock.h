/* store/base/clock.h: time.  Wall time is shown to people and never decides
 * anything in replication. */
#ifndef PSC_BASE_CLOCK_H
#define PSC_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ms(void); /* monotonic, for deadlines */
uint64_t clock_mono_us(void);
uint64_t clock_wall_ms(void); /* since 1970-01-01 UTC */

#define CLOCK_TEXT_LEN 24
/* "2026-11-23T15:04:05Z" for wall_ms; out holds CLOCK_TEXT_LEN + 1. */
void clock_text(uint64_t wall_ms, char *out);

#endif
