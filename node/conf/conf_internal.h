/* node/conf/conf_internal.h: what the files of this room share. */
#ifndef PSC_CONF_INTERNAL_H
#define PSC_CONF_INTERNAL_H

#include "node/conf/conf.h"

/* Bounds of one tree; YAML and JSON alike. */
#define TREE_DEPTH_MAX 64u
#define TREE_NODES_MAX 100000u
#define TREE_MEMBERS_MAX 4096u /* of one map */
#define CONF_FILE_BYTES ((size_t)1 << 20)

/* Where a value stands in its source: line of the key (or item), and the
 * value's own extent in bytes. */
struct yaml_mark {
	const struct json *value;
	uint32_t line;
	size_t start;
	size_t end;
	bool flow; /* written in flow or scalar style */
};
struct yaml_marks {
	struct yaml_mark *m;
	uint32_t n;
	uint32_t cap;
};
/* As yaml_parse; marks (may be NULL) is filled, free with yaml_marks_fini. */
enum err yaml_load(struct slice text, struct yaml_marks *marks,
    struct json **out, struct errmsg *em) PSC_MUST_USE;
void yaml_marks_fini(struct yaml_marks *m);
const struct yaml_mark *yaml_mark_of(
    const struct yaml_marks *m, const struct json *value);

enum conf_kind {
	CONF_NAME,    /* letters, digits, '-', '_', '.' */
	CONF_TEXT,    /* one line */
	CONF_ADDR,    /* HOST:PORT or off */
	CONF_PROXY,   /* http:// or socks5:// HOST:PORT, or off */
	CONF_AE,      /* DICOM AE title */
	CONF_CLIENTS, /* required or none */
	CONF_PATTERN, /* pseudonym pattern */
	CONF_POLICY,  /* release policy */
	CONF_COUNT,   /* integer */
	CONF_BYTES,   /* integer with k, m, g */
	CONF_INBOXES,
	CONF_ARCHIVES,
	CONF_FOLDERS,
	CONF_PROJECTS,
	CONF_SCHEDULE, /* peers.schedule */
};

/* One row of conf.def. */
struct conf_key {
	const char *name;
	enum conf_kind kind;
	size_t offset; /* in struct conf */
	size_t size;
	const char *def; /* default as written in the file */
	uint64_t min;    /* of the number, or of the text's length */
	uint64_t max;
	const char *help;
};
extern const struct conf_key conf_keys[];
extern const uint32_t conf_n_keys;
const struct conf_key *conf_key_find(const char *name);
/* The known key that is nearest by edit distance. */
const char *conf_key_nearest(const char *name);

/* Edit distance of two words. */
uint32_t conf_distance(const char *a, const char *b);

/* Check one value and put it into c.  why: what is wrong with it. */
enum err conf_value_set(struct conf *c, const struct conf_key *k,
    const struct json *v, char *why, size_t why_cap) PSC_MUST_USE;
/* The same for a text; not for inboxes.  Allocates nothing. */
enum err conf_value_text(struct conf *c, const struct conf_key *k,
    const char *s, char *why, size_t cap) PSC_MUST_USE;
/* The value as it stands in a file: quoted where YAML needs it. */
void conf_value_put(
    const struct conf *c, const struct conf_key *k, struct buf *out);
/* A scalar as text, in room where YAML read a number; else NULL. */
const char *conf_scalar(const struct json *v, char *room, size_t cap);
/* conf_list.c: keys that hold a list of maps with fixed members.  NULL: the
 * kind is no such list. */
struct conf_list;
const struct conf_list *conf_list_of(enum conf_kind k);
enum err conf_list_set(struct conf *c, const struct conf_list *l,
    const struct json *v, char *why, size_t cap) PSC_MUST_USE;
void conf_list_put(const struct conf *c, const struct conf_list *l,
    struct jw *w, const char *key);
bool conf_is_name(const char *s);
bool conf_is_ae(const char *s);
bool conf_is_line(const char *s);
bool conf_is_pattern(const char *s); /* of pseudonyms */

enum err conf_schedule_set(
    struct conf *c, const struct json *v, char *why, size_t cap) PSC_MUST_USE;
void conf_schedule_put(const struct conf *c, struct jw *w, const char *key);
/* 0, or within CONF_RATE_MIN and CONF_RATE_MAX. */
bool conf_rate_ok(uint64_t rate);
/* A text as a YAML scalar. */
void conf_text_put(struct buf *out, const char *text);
const char *conf_kind_text(enum conf_kind k);

enum err conf_file_read(
    const char *home, struct buf *out, struct errmsg *em) PSC_MUST_USE;
/* Atomic: temporary file, fsync, rename, fsync of the folder. */
enum err conf_file_write(
    const char *home, struct slice text, struct errmsg *em) PSC_MUST_USE;
/* With the marks, for conf_set. */
enum err conf_check_tree(const struct json *root, const struct yaml_marks *m,
    const char *name, struct conf *out, struct errmsg *em) PSC_MUST_USE;

#endif
