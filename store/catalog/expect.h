/* store/catalog/expect.h: which series an exam is expected to have, and which
 * of them are not here.
 *
 * Rules and contacts are edits (kinds CAT_EXPECT, CAT_CONTACT) of the context
 * asset of level exam in a compartment: said by those who run the share, the
 * same at every member.  domain.md 16, 29. */
#ifndef PSC_CATALOG_EXPECT_H
#define PSC_CATALOG_EXPECT_H

#include "store/catalog/edit.h"

#define CAT_EXPECT_RULES 64u /* of a compartment */
#define CAT_EXPECT_QUERY 600u
#define CAT_EXPECT_SERIES 1000u
#define CAT_EXPECT_IMAGES 1000000u
#define CAT_CONTACT_MAX 200u

struct cat_expect {
	char name[CAT_FIELD_MAX + 1];
	char where[CAT_EXPECT_QUERY + 1]; /* which series count */
	char exams[CAT_EXPECT_QUERY + 1]; /* of which exams; "": of all */
	uint32_t series;                  /* so many at least, >= 1 */
	uint32_t images; /* a series with fewer does not count; 0: any */
};
/* The value of an edit CAT_EXPECT, appended. */
void cat_expect_encode(const struct cat_expect *x, struct buf *out);

/* What an exam has of a rule. */
struct cat_expected {
	bool applies;
	uint32_t series; /* that match, with enough images */
	uint32_t few;    /* that match, with fewer */
	uint32_t most;   /* images of the largest of these */
};
struct cat_exam {
	char site[64];      /* that wrote its newest series; "": none is here */
	uint64_t newest_ms; /* by that site's clock */
	uint32_t series;    /* that are here, retired ones left out */
	struct cat_expected rule[CAT_EXPECT_RULES];
	uint32_t missing; /* rules that apply and do not hold */
};
/* The rules that stand in a compartment, by name.  ERR_LIMIT: more than
 * CAT_EXPECT_RULES; ERR_CORRUPT. */
struct cat_expects;
enum err cat_expects_load(struct db_txn *t, const struct cry_id *share,
    uint16_t compartment, struct cat_expects **out) PSC_MUST_USE;
void cat_expects_free(struct cat_expects *x); /* NULL ok */
uint32_t cat_expects_count(const struct cat_expects *x);
const struct cat_expect *cat_expects_rule(
    const struct cat_expects *x, uint32_t i);
bool cat_expect_holds(const struct cat_expect *x, const struct cat_expected *e);
enum err cat_expects_exam(const struct cat_expects *x, struct store *s,
    struct db_txn *t, const struct asset_id *exam,
    struct cat_exam *out) PSC_MUST_USE;
/* Whom to ask at a site: text, or "" where nobody has said.  out holds
 * CAT_CONTACT_MAX + 1 bytes. */
enum err cat_contact(struct db_txn *t, const struct cry_id *share,
    uint16_t compartment, const char *site,
    char out[CAT_CONTACT_MAX + 1]) PSC_MUST_USE;

#endif
