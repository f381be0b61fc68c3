/* cli/ctp.h: scripts and lookup tables of CTP (the RSNA's Clinical Trial
 * Processor) read, and written as a profile and a lookup list of ours.  Pure:
 * bytes in, text out; the bytes are a stranger's and bounded.
 *
 * What a script says and we cannot do is told line by line: never silently
 * dropped.  Semantics that differ as a whole (CTP leaves what a script does
 * not check) stand at the head of the profile. */
#ifndef PSC_CLI_CTP_H
#define PSC_CLI_CTP_H

#include "node/deid/table.h"

#define CTP_BYTES_MAX ((size_t)4 << 20)
#define CTP_TEXT_MAX 1000u  /* an element's script, an attribute */
#define CTP_ELEMS_MAX 8000u /* of a script */
#define CTP_PARAMS_MAX 256u /* of a script */
#define CTP_NEST_MAX 8u     /* of @if and @select */
#define CTP_YAML_MAX ((size_t)2 << 20)

/* One element of the script, with what became of it. */
struct ctp_line {
	uint32_t line;
	bool lost;           /* not done as the script says */
	const char *element; /* "(0008,0050)" */
	const char *name;    /* keyword or what the script calls it */
	const char *said;    /* its script */
	const char *did;     /* what is done */
};
typedef void (*ctp_line_fn)(void *ctx, const struct ctp_line *l);

/* A DicomAnonymizer script into a YAML profile (docs/de-identification.md).
 * fn: once an element that is checked, in the script's order, and once a
 * global rule.  ERR_MALFORMED, ERR_LIMIT: em names the line. */
enum err ctp_script(struct slice in, ctp_line_fn fn, void *ctx,
    struct buf *yaml, struct errmsg *em) PSC_MUST_USE;

/* A lookup table ("TYPE/key = value" lines) into lines "key,value" of one
 * type, as `deid lookup import` reads them.  fn tells what was not taken; its
 * texts are line numbers and reasons only, for keys identify. */
enum err ctp_lookup(struct slice in, const char *type, ctp_line_fn fn,
    void *ctx, struct buf *csv, struct errmsg *em) PSC_MUST_USE;

/* --- within --- */
/* One child of <script>: <p>, <e>, <k>, <r>. */
struct ctp_elem {
	uint32_t line;
	char kind; /* 'p', 'e', 'k', 'r' */
	bool enabled;
	char t[CTP_TEXT_MAX + 1];
	char n[CTP_TEXT_MAX + 1];
	char text[CTP_TEXT_MAX + 1];
};
struct ctp_xml {
	struct slice in;
	size_t at;
	uint32_t line;
	bool inside; /* of <script> */
};
/* ERR_NOTFOUND: no more.  No DTD, no entities but the five and numbers, no
 * nesting. */
enum err ctp_xml_next(
    struct ctp_xml *x, struct ctp_elem *out, struct errmsg *em) PSC_MUST_USE;

struct ctp_param {
	char name[64];
	char value[TABLE_TEXT_MAX + 1];
	bool is_long; /* the value did not fit */
};
/* What an element's script comes to. */
struct ctp_act {
	enum table_action action; /* 0: cannot be done; why */
	char value[TABLE_TEXT_MAX + 1];
	const char *why;  /* static text */
	const char *note; /* static text: done, but not quite so; or "" */
};
void ctp_expr(const char *script, const struct ctp_param *params,
    uint32_t n_params, struct ctp_act *out);

#endif
