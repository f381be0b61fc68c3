/* node/conf/conf_limit.c: peers.schedule: parse, show, and what holds now.
 *
 * The first entry whose days and hours hold decides; what it does not say, and
 * all other times, is as in peers.limit.  Hours are this machine's local
 * time: an hour that a change of the clocks repeats counts twice, one that it
 * skips does not come.  An entry that ends before it begins goes over
 * midnight and belongs to the day it begins on. */
#include <time.h>

#include "node/conf/conf_internal.h"

#include "store/base/num.h"

#define DAY_MIN ((size_t)24 * 60)
#define ALL_DAYS 0x7fu

static const char *const day_names[7] = { "mon", "tue", "wed", "thu", "fri",
	"sat", "sun" };

/* "mon" at s: 0 to 6, else 7. */
static uint32_t
day_at(const char *s)
{
	uint32_t d = 0;

	while (d < 7 && strncmp(s, day_names[d], 3) != 0)
		d++;
	return d;
}

/* "daily", or days and spans of days: "mon-fri", "sat,sun". */
static bool
days_parse(const char *s, uint8_t *out)
{
	uint32_t a, b, bits = 0;

	if (strcmp(s, "daily") == 0) {
		*out = ALL_DAYS;
		return true;
	}
	for (;; s++) {
		if ((a = b = day_at(s)) == 7)
			return false;
		s += 3;
		if (*s == '-') {
			if ((b = day_at(s + 1)) == 7)
				return false;
			s += 4;
		}
		for (; a != b; a = (a + 1) % 7)
			bits |= 1u << a;
		bits |= 1u << b;
		if (*s == '\0')
			break;
		if (*s != ',')
			return false;
	}
	*out = (uint8_t)bits;
	return true;
}

/* "HH:MM", to 24:00. */
static bool
time_parse(const char *s, uint16_t *out)
{
	uint64_t h, m;

	if (strlen(s) != 5 || s[2] != ':' ||
	    num_u64(slice_of(s, 2), 0, 24, &h) != ERR_OK ||
	    num_u64(slice_of(s + 3, 2), 0, 59, &m) != ERR_OK ||
	    h * 60 + m > DAY_MIN)
		return false;
	*out = (uint16_t)(h * 60 + m);
	return true;
}

static bool
rate_parse(const char *s, uint64_t *out)
{
	return num_bytes(slice_str(s), CONF_RATE_MAX, out) == ERR_OK &&
	       conf_rate_ok(*out);
}

bool
conf_rate_ok(uint64_t rate)
{
	return rate == 0 || (rate >= CONF_RATE_MIN && rate <= CONF_RATE_MAX);
}

static enum err
span_member(struct conf_span *s, const char *key, const char *text, char *why,
    size_t cap)
{
	const char *form = NULL;

	if (strcmp(key, "days") == 0)
		form = days_parse(text, &s->days)
			   ? ""
			   : "daily, or days like mon-fri or sat,sun";
	else if (strcmp(key, "from") == 0)
		form = time_parse(text, &s->from) ? "" : "a time like 22:00";
	else if (strcmp(key, "to") == 0)
		form = time_parse(text, &s->to) ? "" : "a time like 06:00";
	else if (strcmp(key, "up") == 0)
		form = rate_parse(text, &s->up)
			   ? ""
			   : "0 (no limit) or 4k to 4g bytes a second";
	else if (strcmp(key, "down") == 0)
		form = rate_parse(text, &s->down)
			   ? ""
			   : "0 (no limit) or 4k to 4g bytes a second";
	if (form == NULL)
		(void)snprintf(why, cap,
		    "entry has no \"%.32s\"; it has days, from, to, up, down",
		    key);
	else if (*form != '\0')
		(void)snprintf(why, cap, "entry: %s must be %s", key, form);
	else
		return ERR_OK;
	return ERR_MALFORMED;
}

static enum err
span_set(struct conf_span *s, const struct json *v, char *why, size_t cap)
{
	char room[64];
	enum err e = ERR_OK;

	*s = (struct conf_span){ .days = ALL_DAYS,
		.from = UINT16_MAX,
		.to = UINT16_MAX,
		.up = CONF_RATE_SAME,
		.down = CONF_RATE_SAME };
	if (!json_is_map(v)) {
		(void)snprintf(why, cap, "each entry must be a map");
		return ERR_MALFORMED;
	}
	for (size_t i = 0; e == ERR_OK && i < json_len(v); i++) {
		const char *key, *text;
		const struct json *m = json_member(v, i, &key);

		text = conf_scalar(m, room, sizeof(room));
		e = span_member(s, key, text == NULL ? "" : text, why, cap);
	}
	if (e != ERR_OK)
		return e;
	if (s->from > DAY_MIN || s->to > DAY_MIN || s->from == s->to) {
		(void)snprintf(
		    why, cap, "entry needs from and to, at different times");
		return ERR_MALFORMED;
	}
	if (s->up == CONF_RATE_SAME && s->down == CONF_RATE_SAME) {
		(void)snprintf(why, cap, "entry needs up or down");
		return ERR_MALFORMED;
	}
	return ERR_OK;
}

enum err
conf_schedule_set(struct conf *c, const struct json *v, char *why, size_t cap)
{
	size_t n = json_len(v);
	enum err e = ERR_OK;

	if (!json_is_array(v) || n > CONF_SPANS_MAX) {
		(void)snprintf(why, cap, "must be a list of at most %u entries",
		    CONF_SPANS_MAX);
		return ERR_MALFORMED;
	}
	for (size_t i = 0; e == ERR_OK && i < n; i++)
		e = span_set(&c->schedule[i], json_at(v, i), why, cap);
	c->n_schedule = (uint32_t)n;
	return e;
}

static void
time_put(struct jw *w, const char *key, uint16_t minutes)
{
	char text[16];

	(void)snprintf(
	    text, sizeof(text), "%02u:%02u", minutes / 60u, minutes % 60u);
	jw_str(w, key, text);
}

void
conf_schedule_put(const struct conf *c, struct jw *w, const char *key)
{
	jw_arr(w, key);
	for (uint32_t i = 0; i < c->n_schedule; i++) {
		const struct conf_span *s = &c->schedule[i];
		char days[7 * 4 + 1];
		size_t n = 0;

		for (uint32_t d = 0; d < 7; d++) {
			if ((s->days >> d & 1u) != 0)
				n +=
				    (size_t)snprintf(days + n, sizeof(days) - n,
					"%s%s", n > 0 ? "," : "", day_names[d]);
		}
		jw_obj(w, NULL);
		jw_str(w, "days", s->days == ALL_DAYS ? "daily" : days);
		time_put(w, "from", s->from);
		time_put(w, "to", s->to);
		if (s->up != CONF_RATE_SAME)
			jw_u64(w, "up", s->up);
		if (s->down != CONF_RATE_SAME)
			jw_u64(w, "down", s->down);
		jw_end(w);
	}
	jw_end(w);
}

/* --- what holds --- */

/* day: 0 Monday; min: of the day. */
static bool
span_holds(const struct conf_span *s, uint32_t day, uint32_t min)
{
	bool today = (s->days >> day & 1u) != 0;
	bool yesterday = (s->days >> ((day + 6) % 7) & 1u) != 0;

	if (s->from < s->to)
		return today && min >= s->from && min < s->to;
	return (today && min >= s->from) || (yesterday && min < s->to);
}

static struct conf_limits
limits_at(const struct conf *c, time_t at)
{
	struct conf_limits l = { .up = c->peers_limit_up,
		.down = c->peers_limit_down };
	struct tm tm;

	if (c->n_schedule == 0 || localtime_r(&at, &tm) == NULL)
		return l;
	for (uint32_t i = 0; i < c->n_schedule; i++) {
		const struct conf_span *s = &c->schedule[i];

		if (!span_holds(s, (uint32_t)(tm.tm_wday + 6) % 7,
			(uint32_t)(tm.tm_hour * 60 + tm.tm_min)))
			continue;
		l.up = s->up == CONF_RATE_SAME ? l.up : s->up;
		l.down = s->down == CONF_RATE_SAME ? l.down : s->down;
		break;
	}
	return l;
}

void
conf_limits_at(const struct conf *c, int64_t unix_s, struct conf_limits *out)
{
	*out = limits_at(c, (time_t)unix_s);
}

int64_t
conf_limits_until(const struct conf *c, int64_t unix_s)
{
	struct conf_limits l, now = limits_at(c, (time_t)unix_s);
	int64_t at = unix_s - unix_s % 60;

	if (c->n_schedule == 0)
		return 0;
	/* A week and the day of a change of the clocks. */
	for (uint32_t i = 0; i < 8 * DAY_MIN; i++) {
		at += 60;
		l = limits_at(c, (time_t)at);
		if (l.up != now.up || l.down != now.down)
			return at;
	}
	return 0;
}
