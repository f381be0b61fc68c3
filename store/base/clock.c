/* store/base/clock.c: the process's clocks. */
#include "store/base/clock.h"

#include "store/base/err.h"

static uint64_t
clock_us(clockid_t id)
{
	struct timespec t;

	REQUIRE(clock_gettime(id, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t
clock_mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t
clock_mono_ms(void)
{
	return clock_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t
clock_wall_ms(void)
{
	return clock_us(CLOCK_REALTIME) / 1000u;
}

void
clock_text(uint64_t wall_ms, char *out)
{
	time_t t = (time_t)(wall_ms / 1000u);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(out, CLOCK_TEXT_LEN + 1, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}
