/* node/conf/conf.h: pesscara.yaml, parsed, checked and frozen.
 *
 * One list (conf.def) gives parser, --check, `config show`, help and
 * docs/config.md.  Unknown keys are errors that name the nearest known key. */
#ifndef PSC_CONF_CONF_H
#define PSC_CONF_CONF_H

#include "node/conf/json.h"
#include "store/base/limits.h"

/* Addresses that have their first bits in common; IPv4 as ::ffff:A.B.C.D. */
struct conf_net {
	uint8_t ip[16];
	uint8_t bits; /* of 128 */
};
/* "10.1.2.3", "10.1.0.0/16", "2001:db8::/32".  ERR_MALFORMED. */
enum err conf_net_parse(const char *text, struct conf_net *out) PSC_MUST_USE;
bool conf_net_holds(const struct conf_net *n, const uint8_t ip[16]);

/* Where what comes in goes. */
#define CONF_TAGS_MAX 4u
struct conf_target {
	char share[LIM_NAME_BYTES + 1];
	char compartment[LIM_NAME_BYTES + 1];
	char profile[32];
	char data_type[48]; /* "": not said; else the tag data_type=... */
	/* Whose PatientIDs these are: the same number of two domains is two
	 * patients (domain.md 4).  "": the site's own. */
	char domain[33];
	char tags[CONF_TAGS_MAX][64];
	uint32_t n_tags;
};

#define CONF_NETS_MAX 16u
struct conf_inbox {
	char calling_ae[17]; /* "*": any */
	char called_ae[17];  /* "": dicom.ae_title */
	struct conf_net from[CONF_NETS_MAX];
	uint32_t n_from; /* 0: any address */
	bool tls;        /* only over dicom.tls_listen */
	char commit[80]; /* HOST:PORT that reports go to; "": no commitment */
	struct conf_target to;
};

struct conf_archive {
	char name[33];
	char address[80]; /* HOST:PORT */
	char ae[17];
	char calling_ae[17]; /* "": dicom.ae_title */
	struct conf_target to;
};

struct conf_folder {
	char path[256]; /* absolute, no '/' at its end */
	char after[8];  /* "done": files are moved there; "remove" */
	uint32_t quiet_s;
	struct conf_target to;
};

/* How subjects of a project space get their names. */
struct conf_project {
	char share[LIM_NAME_BYTES + 1];
	char pseudonyms[12]; /* "sequential", "random" or "keyed" */
	char pattern[64];    /* "": deid.pseudonym_pattern */
};

/* An entry of peers.schedule.  Minutes of the day; from > to: over midnight. */
#define CONF_SPANS_MAX 16u
#define CONF_RATE_SAME UINT64_MAX /* as peers.limit says */
#define CONF_RATE_MIN (4 * KIB)
#define CONF_RATE_MAX (4 * GIB)
struct conf_span {
	uint8_t days; /* bit 0: Monday */
	uint16_t from, to;
	uint64_t up, down; /* bytes a second; 0: no limit */
};

struct conf {
	char site[LIM_NAME_BYTES + 1];
	char dicom_listen[80]; /* HOST:PORT or "off" */
	char dicom_tls_listen[80];
	char dicom_tls_clients[16]; /* "required" or "none" */
	char dicom_ae_title[17];
	struct conf_inbox inboxes[32];
	uint32_t n_inboxes;
	struct conf_archive archives[16];
	uint32_t n_archives;
	struct conf_folder folders[8];
	uint32_t n_folders;
	struct conf_project projects[32]; /* key deid.projects */
	uint32_t n_projects;
	char peers_listen[80];
	char peers_proxy[160];
	uint64_t peers_limit_up; /* bytes a second; 0: no limit */
	uint64_t peers_limit_down;
	struct conf_span schedule[CONF_SPANS_MAX]; /* key peers.schedule */
	uint32_t n_schedule;
	char rest_listen[80];
	char release_policy[512];   /* "manual" or a query */
	char pseudonym_pattern[64]; /* key deid.pseudonym_pattern */
	uint64_t limits_associations;
	uint64_t limits_associations_address;
	uint64_t limits_helper_memory; /* bytes */
	uint64_t store_segment_bytes;
	uint64_t store_map_bytes;
	uint64_t store_quota_bytes;
	uint64_t store_scrub_bytes;
	uint64_t backup_bytes;
	uint64_t store_copies;
	uint64_t gc_grace_hours;
	uint64_t gc_interval_minutes;
};

void conf_defaults(struct conf *c);
/* Writes a first HOME/pesscara.yaml: every key with its help and default.
 * One that is there is replaced.  ERR_MALFORMED: bad site name. */
enum err conf_create(
    const char *home, const char *site, struct errmsg *em) PSC_MUST_USE;
/* Reads HOME/pesscara.yaml. em: file:line and the nearest key. */
enum err conf_load(
    const char *home, struct conf *out, struct errmsg *em) PSC_MUST_USE;
/* key=value on top of the file (init --set, config set): rewrites the file
 * atomically, keeping what it does not touch.  `dicom.inboxes` takes JSON. */
enum err conf_set(
    const char *home, const char *assignment, struct errmsg *em) PSC_MUST_USE;
/* The whole config as YAML text, defaults included. */
enum err conf_show(const struct conf *c, struct buf *out) PSC_MUST_USE;
/* The same as one JSON object, nested like the file. */
enum err conf_show_json(const struct conf *c, struct buf *out) PSC_MUST_USE;
/* docs/config.md. */
enum err conf_doc(struct buf *out) PSC_MUST_USE;
/* Parse and check text as conf_load does; name is used in messages. */
enum err conf_parse(struct slice text, const char *name, struct conf *out,
    struct errmsg *em) PSC_MUST_USE;
/* "HOST:PORT" or "[V6]:PORT" apart; port 0 allowed.  "off" is not an
 * address: ERR_NOTFOUND. */
enum err conf_address(
    const char *text, char *host, size_t cap, uint16_t *port) PSC_MUST_USE;

/* "http://HOST:PORT", "socks5://HOST:PORT" apart; "off": CONF_PROXY_OFF. */
enum conf_proxy_kind { CONF_PROXY_OFF, CONF_PROXY_HTTP, CONF_PROXY_SOCKS5 };
struct conf_proxy {
	enum conf_proxy_kind kind;
	char host[128];
	uint16_t port;
};
enum err conf_proxy(const char *text, struct conf_proxy *out) PSC_MUST_USE;

/* Of a share; one that the list does not name is sequential. */
void conf_project_of(
    const struct conf *c, const char *share, struct conf_project *out);

/* The limits of peers at a moment (unix seconds), by local time. */
struct conf_limits {
	uint64_t up, down; /* bytes a second; 0: no limit */
};
void conf_limits_at(
    const struct conf *c, int64_t unix_s, struct conf_limits *out);
/* When they change, to the minute; 0: never. */
int64_t conf_limits_until(const struct conf *c, int64_t unix_s);

#endif
