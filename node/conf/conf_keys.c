/* node/conf/conf_keys.c: the table of keys, and checking one value.
 *
 * Happy path: conf_value_set() checks a value of the tree against its row and
 * writes the member.  Failure: ERR_MALFORMED or ERR_LIMIT, and why holds half
 * a sentence that the caller puts behind "file:line: key". */
#include "node/conf/conf_internal.h"

#include "store/base/mem.h"
#include "store/base/num.h"

const struct conf_key conf_keys[] = {
#define CONF(name, kind, member, def, min, max, help)                          \
	{ name, kind, offsetof(struct conf, member),                           \
		sizeof(((struct conf *)NULL)->member), def, min, max, help },
#include "node/conf/conf.def"
#undef CONF
};
const uint32_t conf_n_keys = sizeof(conf_keys) / sizeof(conf_keys[0]);

#define CONF_WORD_MAX 64u /* longer names are compared up to here */

const struct conf_key *
conf_key_find(const char *name)
{
	uint32_t i;

	for (i = 0; i < conf_n_keys; i++) {
		if (strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	}
	return NULL;
}

static uint32_t
conf_min3(uint32_t a, uint32_t b, uint32_t c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

/* Levenshtein's distance, two rows. */
uint32_t
conf_distance(const char *a, const char *b)
{
	uint32_t row[CONF_WORD_MAX + 1], prev, keep;
	size_t na = strnlen(a, CONF_WORD_MAX), nb = strnlen(b, CONF_WORD_MAX);
	size_t i, j;

	for (j = 0; j <= nb; j++)
		row[j] = (uint32_t)j;
	for (i = 1; i <= na; i++) {
		prev = row[0];
		row[0] = (uint32_t)i;
		for (j = 1; j <= nb; j++) {
			keep = row[j];
			row[j] = conf_min3(row[j] + 1, row[j - 1] + 1,
			    prev + (a[i - 1] != b[j - 1]));
			prev = keep;
		}
	}
	return row[nb];
}

const char *
conf_key_nearest(const char *name)
{
	const char *best = conf_keys[0].name;
	uint32_t i, d, best_d = UINT32_MAX;

	for (i = 0; i < conf_n_keys; i++) {
		d = conf_distance(name, conf_keys[i].name);
		if (d < best_d) {
			best_d = d;
			best = conf_keys[i].name;
		}
	}
	return best;
}

const char *
conf_kind_text(enum conf_kind k)
{
	switch (k) {
	case CONF_NAME: return "name";
	case CONF_TEXT: return "text";
	case CONF_ADDR: return "HOST:PORT or off";
	case CONF_PROXY: return "http:// or socks5:// HOST:PORT, or off";
	case CONF_AE: return "AE title";
	case CONF_CLIENTS: return "required or none";
	case CONF_PATTERN: return "pattern";
	case CONF_POLICY: return "policy";
	case CONF_COUNT: return "number";
	case CONF_BYTES: return "bytes (k, m, g)";
	case CONF_INBOXES: return "list of inboxes";
	case CONF_ARCHIVES: return "list of archives";
	case CONF_FOLDERS: return "list of folders";
	case CONF_PROJECTS: return "list of projects";
	case CONF_SCHEDULE: return "list of times";
	}
	return "?";
}

bool
conf_is_name(const char *s)
{
	if (*s == '\0' || *s == '.' || *s == '-')
		return false;
	for (; *s != '\0'; s++) {
		bool ok = (*s >= 'a' && *s <= 'z') ||
			  (*s >= 'A' && *s <= 'Z') ||
			  (*s >= '0' && *s <= '9') || strchr("-_.", *s) != NULL;

		if (!ok)
			return false;
	}
	return true;
}

/* PS3.5 section 6.2: AE has no backslash, no control, not only spaces. */
bool
conf_is_ae(const char *s)
{
	bool seen = false;

	for (; *s != '\0'; s++) {
		if (*s < ' ' || *s > '~' || *s == '\\')
			return false;
		seen = seen || *s != ' ';
	}
	return seen;
}

bool
conf_is_line(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	}
	return true;
}

/* Literal letters, digits, "-_." with {site} at most once and {n} or {n:0W}
 * exactly once: two subjects can then never share a pseudonym. */
bool
conf_is_pattern(const char *s)
{
	uint32_t sites = 0, counters = 0;

	while (*s != '\0') {
		if (strncmp(s, "{site}", 6) == 0) {
			sites++;
			s += 6;
		} else if (strncmp(s, "{n}", 3) == 0) {
			counters++;
			s += 3;
		} else if (strncmp(s, "{n:0", 4) == 0 && s[4] >= '1' &&
			   s[4] <= '9' && s[5] == '}') {
			counters++;
			s += 6;
		} else {
			char one[2] = { *s, '\0' };

			if (!conf_is_name(one) && *s != '-' && *s != '.')
				return false;
			s++;
		}
	}
	return counters == 1 && sites <= 1;
}

enum err
conf_address(const char *text, char *host, size_t cap, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	const char *at = text;
	size_t n;
	uint64_t p;

	if (strcmp(text, "off") == 0)
		return ERR_NOTFOUND;
	if (colon == NULL || !conf_is_line(text) || strchr(text, ' ') != NULL)
		return ERR_MALFORMED;
	n = (size_t)(colon - text);
	if (n >= 2 && at[0] == '[' && at[n - 1] == ']') {
		at++;
		n -= 2;
	} else if (memchr(at, ':', n) != NULL) {
		return ERR_MALFORMED; /* a V6 address needs its brackets */
	}
	if (n == 0 || n >= cap)
		return ERR_MALFORMED;
	if (num_u64(slice_str(colon + 1), 0, 65535, &p) != ERR_OK)
		return ERR_MALFORMED;
	memcpy(host, at, n);
	host[n] = '\0';
	*port = (uint16_t)p;
	return ERR_OK;
}

enum err
conf_proxy(const char *text, struct conf_proxy *out)
{
	static const char http[] = "http://", socks[] = "socks5://";
	size_t skip = 0;

	memset(out, 0, sizeof(*out));
	if (strcmp(text, "off") == 0)
		return ERR_OK;
	if (strncmp(text, http, sizeof(http) - 1) == 0) {
		out->kind = CONF_PROXY_HTTP;
		skip = sizeof(http) - 1;
	} else if (strncmp(text, socks, sizeof(socks) - 1) == 0) {
		out->kind = CONF_PROXY_SOCKS5;
		skip = sizeof(socks) - 1;
	}
	if (skip == 0 || strpbrk(text + skip, "/@?#") != NULL ||
	    conf_address(text + skip, out->host, sizeof(out->host),
		&out->port) != ERR_OK ||
	    out->port == 0)
		return ERR_MALFORMED;
	return ERR_OK;
}

static enum err
conf_why(char *why, size_t cap, enum err e, const char *text)
{
	(void)snprintf(why, cap, "%s", text);
	return e;
}

static enum err
conf_text_check(const struct conf_key *k, const char *s, char *why, size_t cap)
{
	struct conf_proxy proxy;
	char host[128];
	uint16_t port;

	if (strlen(s) < k->min || strlen(s) > k->max) {
		(void)snprintf(why, cap, "must have %llu to %llu characters",
		    (unsigned long long)k->min, (unsigned long long)k->max);
		return ERR_LIMIT;
	}
	if (k->kind == CONF_NAME && !conf_is_name(s))
		return conf_why(why, cap, ERR_MALFORMED,
		    "may hold letters, digits, '-', '_' and '.' only");
	if (k->kind == CONF_AE && !conf_is_ae(s))
		return conf_why(why, cap, ERR_MALFORMED, "is not an AE title");
	if (k->kind == CONF_PATTERN && !conf_is_pattern(s))
		return conf_why(why, cap, ERR_MALFORMED,
		    "needs exactly one {n} or {n:0W}, at most one {site}, else "
		    "letters, digits, '-', '_', '.'");
	if (k->kind == CONF_POLICY && strcmp(s, "manual") != 0)
		return conf_why(why, cap, ERR_UNSUPPORTED,
		    "must be manual: a person releases");
	if (k->kind == CONF_ADDR && strcmp(s, "off") != 0 &&
	    conf_address(s, host, sizeof(host), &port) != ERR_OK)
		return conf_why(
		    why, cap, ERR_MALFORMED, "must be HOST:PORT or off");
	if (k->kind == CONF_CLIENTS && strcmp(s, "required") != 0 &&
	    strcmp(s, "none") != 0)
		return conf_why(
		    why, cap, ERR_MALFORMED, "must be required or none");
	if (k->kind == CONF_PROXY && conf_proxy(s, &proxy) != ERR_OK)
		return conf_why(why, cap, ERR_MALFORMED,
		    "must be http://HOST:PORT or socks5://HOST:PORT (user and "
		    "password stand in HOME/keys/proxy), or off");
	if (!conf_is_line(s))
		return conf_why(
		    why, cap, ERR_MALFORMED, "must be one line of text");
	return ERR_OK;
}

/* A scalar as text: a number that YAML read as one is a text again. */
const char *
conf_scalar(const struct json *v, char *room, size_t cap)
{
	struct buf b = BUF_MAX(cap);
	struct jw w;
	const char *s = json_str(v);

	if (s != NULL)
		return s;
	if (v == NULL || json_is_map(v) || json_is_array(v))
		return NULL;
	jw_init(&w, &b);
	jw_json(&w, NULL, v);
	(void)snprintf(room, cap, "%s", buf_cstr(&b));
	buf_fini(&b);
	return room;
}

static enum err
conf_number_set(struct conf *c, const struct conf_key *k, const char *s,
    char *why, size_t cap)
{
	uint64_t n = 0;
	enum err e = k->kind == CONF_BYTES
			 ? num_bytes(slice_str(s), UINT64_MAX, &n)
			 : num_u64(slice_str(s), 0, UINT64_MAX, &n);

	if (e != ERR_OK)
		return conf_why(why, cap, ERR_MALFORMED,
		    k->kind == CONF_BYTES
			? "must be a number of bytes (64m, 1g)"
			: "must be a number");
	if (n < k->min || n > k->max) {
		(void)snprintf(why, cap, "must be from %llu to %llu",
		    (unsigned long long)k->min, (unsigned long long)k->max);
		return ERR_LIMIT;
	}
	memcpy((uint8_t *)c + k->offset, &n, sizeof(n));
	return ERR_OK;
}

enum err
conf_value_text(struct conf *c, const struct conf_key *k, const char *s,
    char *why, size_t cap)
{
	enum err e;

	if (k->kind == CONF_COUNT || k->kind == CONF_BYTES)
		return conf_number_set(c, k, s, why, cap);
	e = conf_text_check(k, s, why, cap);
	if (e == ERR_OK)
		(void)snprintf((char *)c + k->offset, k->size, "%s", s);
	return e;
}

enum err
conf_value_set(struct conf *c, const struct conf_key *k, const struct json *v,
    char *why, size_t cap)
{
	char room[64];
	const char *s;

	if (conf_list_of(k->kind) != NULL)
		return conf_list_set(c, conf_list_of(k->kind), v, why, cap);
	if (k->kind == CONF_SCHEDULE)
		return conf_schedule_set(c, v, why, cap);
	s = conf_scalar(v, room, sizeof(room));
	if (s == NULL) {
		(void)snprintf(
		    why, cap, "must be a %s", conf_kind_text(k->kind));
		return ERR_MALFORMED;
	}
	return conf_value_text(c, k, s, why, cap);
}
