/* node/conf/profile.h: de-identification profiles: HOME/profiles/NAME.yaml on
 * top of basic, trial-imaging or each other, compiled to the helper's table.
 *
 *   extends: trial-imaging          needed
 *   description: for our core lab   up to 200 characters
 *   options: [113109]               claimed besides the parent's, by code or
 *                                   by name
 *   without: [113111]               the parent's that are not
 *   rules:                          ELEMENT: ACTION
 *     StationName: keep
 *     ClinicalTrialSiteID: {set: "SITE-07"}
 *     (0018,9xxx): remove
 *     0019[SIEMENS MR HEADER]0C: {keep: IS}
 *
 * Any thread; files are read at each call. */
#ifndef PSC_CONF_PROFILE_H
#define PSC_CONF_PROFILE_H

#include "node/conf/conf.h"
#include "node/deid/table.h"

#define PROFILE_DEPTH_MAX 8u /* profiles that extend each other */
#define PROFILE_LIST_MAX 256u
#define PROFILE_TEXT_MAX 200u

struct profile {
	char parent[TABLE_NAME_MAX + 1]; /* "": it is the program's own */
	char description[PROFILE_TEXT_MAX + 1];
	struct deid_table table;
};

/* ERR_NOTFOUND, ERR_MALFORMED, ERR_LIMIT ..: em names file, line, cause and
 * what to do.  Free *out with profile_free. */
enum err profile_load(const char *home, const char *name, struct profile **out,
    struct errmsg *em) PSC_MUST_USE;
void profile_free(struct profile *p); /* NULL ok */
/* The profiles that inboxes and watched folders name. */
enum err profile_check_conf(
    const char *home, const struct conf *conf, struct errmsg *em) PSC_MUST_USE;
/* A name that a profile's file may have, without its suffix. */
bool profile_name_ok(const char *name);
#define PROFILE_SUFFIX ".yaml"
bool profile_is_own(const char *name); /* basic, trial-imaging */
/* The program's own ones, then those of HOME/profiles in name order; they may
 * be wrong.  fn returns not 0: stop. */
typedef int (*profile_name_fn)(void *ctx, const char *name);
enum err profile_each(
    const char *home, profile_name_fn fn, void *ctx) PSC_MUST_USE;
/* "(0008,1010)" or 0019[CREATOR]0C; out of TABLE_TEXT_MAX + 16 characters. */
void profile_tag_text(uint32_t tag, const char *creator, char *out, size_t cap);

#endif
