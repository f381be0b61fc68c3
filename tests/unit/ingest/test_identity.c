/* Pseudonyms and UIDs: one patient keeps one name, for ever; a lookup list
 * wins over the pattern; UIDs map the same way in every object. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include "lib/tmpdir.h"
#include "node/ingest/ingest_internal.h"

struct world {
	char dir[TMPDIR_MAX];
	struct cry_identity me;
	struct cry_box_sk recovery;
	struct conf conf;
	struct ingest g;
	struct sink sink;
};

static void
world_open(struct world *w)
{
	struct store_opts o = { .dir = w->dir,
		.segment_bytes = 1 << 20,
		.map_bytes = (size_t)1 << 28 };
	struct errmsg em = { 0 };

	o.local = w->me.local;
	o.convergence = w->me.convergence;
	assert_int_equal(store_open(&o, &w->g.o.store, &em), ERR_OK);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(cry_init(), ERR_OK);
	tmpdir_make(w->dir);
	cry_identity_new(&w->me, &w->recovery);
	conf_defaults(&w->conf);
	(void)snprintf(w->conf.site, sizeof(w->conf.site), "north");
	(void)snprintf(w->conf.pseudonym_pattern,
	    sizeof(w->conf.pseudonym_pattern), "{site}-{n:04}");
	w->g.o.me = &w->me;
	w->g.o.conf = &w->conf;
	memset(w->sink.share.b, 7, 32);
	world_open(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->g.o.store);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

static void
subject_of(struct world *w, const char *patient, char *out)
{
	struct img_identity id = { 0 };
	struct id_answer a;

	(void)snprintf(id.patient_id, sizeof(id.patient_id), "%s", patient);
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &a), ERR_OK);
	memcpy(out, a.subject, sizeof(a.subject));
	id_answer_fini(&a);
}

static void
test_one_patient_one_name_also_after_a_restart(void **state)
{
	struct world *w = *state;
	char a[CAT_KEY_MAX + 1], b[CAT_KEY_MAX + 1];

	subject_of(w, "MRN 0012", a);
	assert_string_equal(a, "north-0001");
	subject_of(w, "mrn  0012 ", b); /* typed otherwise */
	assert_string_equal(b, a);
	subject_of(w, "MRN 0013", b);
	assert_string_equal(b, "north-0002");
	store_close(w->g.o.store);
	world_open(w);
	subject_of(w, "MRN 0012", b);
	assert_string_equal(b, a);
}

static int32_t
shift_of_patient(struct world *w, const char *patient)
{
	struct img_identity id = { 0 };
	struct id_answer a;
	int32_t days;

	(void)snprintf(id.patient_id, sizeof(id.patient_id), "%s", patient);
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &a), ERR_OK);
	days = a.ctx.shift_days;
	id_answer_fini(&a);
	return days;
}

/* domain.md 7: a secret of the subject, whole days, never 0, for years. */
static void
test_dates_of_a_subject_move_by_the_same_days_for_ever(void **state)
{
	struct world *w = *state;
	int32_t first = shift_of_patient(w, "MRN 1");
	uint32_t same = 0;
	char name[16];

	for (uint32_t i = 0; i < 200; i++) {
		int32_t days;

		(void)snprintf(name, sizeof(name), "P%u", i);
		days = shift_of_patient(w, name);
		assert_in_range(-days, 1, 3652);
		same += days == first;
	}
	assert_true(same < 5);
	store_close(w->g.o.store);
	world_open(w);
	assert_int_equal(shift_of_patient(w, "mrn  1"), first);
	memset(w->sink.share.b, 8, 32); /* another share, another secret */
	assert_int_not_equal(shift_of_patient(w, "MRN 1"), first);
}

static void
test_other_share_other_name_series(void **state)
{
	struct world *w = *state;
	char a[CAT_KEY_MAX + 1];

	subject_of(w, "MRN 1", a);
	memset(w->sink.share.b, 8, 32);
	subject_of(w, "MRN 2", a);
	assert_string_equal(a, "north-0001");
}

static void
lookup_file(struct world *w, const char *text, char *path, size_t cap)
{
	FILE *f;

	(void)snprintf(path, cap, "%s/list.csv", w->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
test_lookup_list_wins_over_the_pattern(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	lookup_file(
	    w, "# trial ids\nMRN 0012, 003-0142\n\n", path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	assert_int_equal(added, 1);
	subject_of(w, "mrn 0012", a);
	assert_string_equal(a, "003-0142");
}

static void
test_the_head_and_byte_order_mark_of_a_table_are_no_patient(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	lookup_file(
	    w, "PatientID,pseudonym\r\nA,003-1\r\n", path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	assert_int_equal(added, 1);
	lookup_file(w,
	    "\xef\xbb\xbf"
	    "B,003-2\n",
	    path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	assert_int_equal(added, 1);
	subject_of(w, "B", a);
	assert_string_equal(a, "003-2");
}

static void
test_pattern_and_list_never_give_one_name_to_two_patients(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	lookup_file(w, "LISTED,north-0001\n", path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	subject_of(w, "OTHER", a);
	assert_string_equal(a, "north-0002"); /* 0001 is the list's */
	lookup_file(w, "LATE,north-0002\n", path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_EXISTS);
	assert_non_null(strstr(em.cause, "line 1"));
	subject_of(w, "LISTED", a);
	assert_string_equal(a, "north-0001");
}

static void
test_bad_lookup_line_is_named_and_nothing_is_imported(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	lookup_file(w, "A,003-1\nno comma here\n", path, sizeof(path));
	assert_int_not_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	assert_non_null(strstr(em.cause, "line 2"));
	assert_true(em.next[0] != '\0');
	subject_of(w, "A", a);
	assert_string_equal(a, "north-0001");
}

static void
test_a_lookup_list_that_is_a_pipe_or_a_folder_is_refused_at_once(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400];
	uint64_t added = 0;

	(void)snprintf(path, sizeof(path), "%s/pipe", w->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_UNSUPPORTED);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
	    ingest_lookup_import(&w->g, w->dir, NULL, "ada@north", &added, &em),
	    ERR_UNSUPPORTED);
}

/* domain.md 4: PatientID, issuer and sender domain make a patient. */
static void
test_equal_numbers_of_two_domains_or_issuers_are_two_patients(void **state)
{
	struct world *w = *state;
	struct img_identity id = { .issuer = "CLINIC-B" };
	char own[CAT_KEY_MAX + 1], other[CAT_KEY_MAX + 1];
	struct id_answer a;

	subject_of(w, "MRN 1", own);
	(void)snprintf(w->sink.domain, sizeof(w->sink.domain), "north-east");
	subject_of(w, "MRN 1", other);
	assert_string_not_equal(own, other);
	subject_of(w, "mrn 1", own);
	assert_string_equal(own, other);
	(void)snprintf(id.patient_id, sizeof(id.patient_id), "MRN 1");
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &a), ERR_OK);
	assert_string_not_equal(a.subject, other);
	id_answer_fini(&a);
}

/* A list is of one domain: it names no patient of another. */
static void
test_a_lookup_list_holds_for_its_domain_only(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	lookup_file(w, "MRN 0012,003-0142\n", path, sizeof(path));
	assert_int_equal(ingest_lookup_import(&w->g, path, "north-east",
			     "ada@north", &added, &em),
	    ERR_OK);
	subject_of(w, "MRN 0012", a);
	assert_string_equal(a, "north-0001");
	(void)snprintf(w->sink.domain, sizeof(w->sink.domain), "north-east");
	subject_of(w, "MRN 0012", a);
	assert_string_equal(a, "003-0142");
	assert_int_equal(ingest_lookup_import(&w->g, path,
			     "a-domain-whose-name-has-too-many-letters",
			     "ada@north", &added, &em),
	    ERR_LIMIT);
}

static void
project(struct world *w, const char *pseudonyms, const char *pattern)
{
	struct conf_project *p = &w->conf.projects[0];

	w->conf.n_projects = 1;
	(void)snprintf(p->share, sizeof(p->share), "trial");
	(void)snprintf(p->pseudonyms, sizeof(p->pseudonyms), "%s", pseudonyms);
	(void)snprintf(p->pattern, sizeof(p->pattern), "%s", pattern);
	(void)snprintf(w->sink.share_name, sizeof(w->sink.share_name), "trial");
}

/* domain.md 4: random by pattern; never twice, and kept for years. */
static void
test_random_names_tell_no_order_and_are_never_given_twice(void **state)
{
	struct world *w = *state;
	char name[8][CAT_KEY_MAX + 1], again[CAT_KEY_MAX + 1], id[16];
	uint32_t i, k, rising = 0;

	project(w, "random", "R-{n:06}");
	for (i = 0; i < 8; i++) {
		(void)snprintf(id, sizeof(id), "P%u", i);
		subject_of(w, id, name[i]);
		assert_int_equal(strlen(name[i]), 8);
		assert_int_equal(strncmp(name[i], "R-", 2), 0);
		for (k = 0; k < i; k++)
			assert_string_not_equal(name[i], name[k]);
		rising += i > 0 && strcmp(name[i - 1], name[i]) < 0;
	}
	assert_true(rising < 7); /* one in 40,320 */
	store_close(w->g.o.store);
	world_open(w);
	subject_of(w, "p3", again);
	assert_string_equal(again, name[3]);
}

/* A pattern with room for one digit gives ten names and then says so; a name
 * that is taken is drawn again. */
static void
test_random_names_run_out_with_an_error_and_none_twice(void **state)
{
	struct world *w = *state;
	struct img_identity id = { .n_uids = 0 };
	bool seen[10] = { false };
	char name[CAT_KEY_MAX + 1];
	struct id_answer a;

	project(w, "random", "{n:01}");
	for (uint32_t i = 0; i < 10; i++) {
		(void)snprintf(id.patient_id, sizeof(id.patient_id), "P%u", i);
		subject_of(w, id.patient_id, name);
		assert_in_range(name[0], '0', '9');
		assert_false(seen[name[0] - '0']);
		seen[name[0] - '0'] = true;
	}
	(void)snprintf(id.patient_id, sizeof(id.patient_id), "P-LAST");
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &a), ERR_LIMIT);
}

/* domain.md 4: an HMAC by a key of (site, project), only if asked for. */
static void
test_keyed_names_differ_by_project_and_are_long(void **state)
{
	struct world *w = *state;
	char a[CAT_KEY_MAX + 1], b[CAT_KEY_MAX + 1];

	project(w, "keyed", "{site}-{n}");
	subject_of(w, "MRN 1", a);
	assert_int_equal(strlen(a), strlen("north-") + 16);
	subject_of(w, " mrn  1", b);
	assert_string_equal(b, a);
	subject_of(w, "MRN 2", b);
	assert_string_not_equal(b, a);
	memset(w->sink.share.b, 8, 32);
	subject_of(w, "MRN 1", b);
	assert_string_not_equal(b, a);
}

struct told {
	struct ingest_person p[4];
	uint32_t n;
};

static int
told_person(void *ctx, const struct ingest_person *p)
{
	struct told *t = ctx;

	assert_true(t->n < 4);
	t->p[t->n++] = *p;
	return 0;
}

static enum err
people(struct world *w, const char *subject, struct told *out)
{
	struct db_txn *t = NULL;
	enum err e;

	out->n = 0;
	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	e = id_people(&w->g, t, &w->sink.share, subject, told_person, out);
	db_abort(t);
	return e;
}

/* domain.md 4, 28: the map leads back, at this site alone. */
static void
test_the_map_leads_from_the_name_to_all_its_people(void **state)
{
	struct world *w = *state;
	struct errmsg em = { 0 };
	struct told *t = calloc(1, sizeof(*t));
	char path[400], a[CAT_KEY_MAX + 1];
	uint64_t added = 0;

	assert_non_null(t);
	lookup_file(w, "MRN 1,003-1\nOLD-7,003-1\n", path, sizeof(path));
	assert_int_equal(
	    ingest_lookup_import(&w->g, path, NULL, "ada@north", &added, &em),
	    ERR_OK);
	assert_int_equal(people(w, "003-1", t), ERR_NOTFOUND); /* none came */
	subject_of(w, "MRN 1", a);
	subject_of(w, "OLD-7", a);
	subject_of(w, "OTHER", a);
	assert_int_equal(people(w, "003-1", t), ERR_OK);
	assert_int_equal(t->n, 2);
	assert_string_equal(t->p[0].patient_id, "MRN 1");
	assert_string_equal(t->p[1].patient_id, "OLD-7");
	assert_string_equal(t->p[1].subject, "003-1");
	memset(w->sink.share.b, 8, 32);
	assert_int_equal(people(w, "003-1", t), ERR_NOTFOUND);
	free(t);
}

struct audited {
	char act[8][32], reason[8][64];
	uint32_t n;
};

static int
audited_row(void *ctx, const struct cat_audit *a)
{
	struct audited *x = ctx;

	if (strncmp(a->act, "map.", 4) != 0)
		return 0;
	assert_true(x->n < 8);
	assert_string_equal(a->actor, "ada@north");
	assert_null(strstr(a->object, "MRN"));
	(void)snprintf(x->act[x->n], sizeof(x->act[0]), "%s", a->act);
	(void)snprintf(
	    x->reason[x->n++], sizeof(x->reason[0]), "%s", a->reason);
	return 0;
}

/* domain.md 4, 25: no look without a reason, none without a trace. */
static void
test_each_look_into_the_map_is_audited_with_its_reason(void **state)
{
	struct world *w = *state;
	struct told *t = calloc(1, sizeof(*t));
	struct shares_opts so = { w->g.o.store, &w->me, "north" };
	struct ingest_look look = { .actor = "ada@north" };
	const char *compartment = "images";
	struct share_info i = { 0 };
	struct audited x = { .n = 0 };
	struct errmsg em = { 0 };
	char a[CAT_KEY_MAX + 1];
	struct db_txn *txn = NULL;

	assert_non_null(t);
	assert_int_equal(shares_open(&so, &w->g.o.shares, &em), ERR_OK);
	assert_int_equal(
	    shares_create(w->g.o.shares, "trial", &compartment, 1, false, &em),
	    ERR_OK);
	assert_int_equal(shares_find(w->g.o.shares, "trial", &i, &em), ERR_OK);
	w->sink.share = i.id;
	share_info_fini(&i);
	subject_of(w, "MRN 1", a);
	look.pseudonym = a;
	look.reason = " ";
	assert_int_equal(ingest_reidentify(&w->g, &look, told_person, t, &em),
	    ERR_MALFORMED);
	assert_int_equal(t->n, 0);
	look.reason = "adverse event";
	assert_int_equal(
	    ingest_reidentify(&w->g, &look, told_person, t, &em), ERR_OK);
	assert_int_equal(t->n, 1);
	assert_string_equal(t->p[0].patient_id, "MRN 1");
	assert_string_equal(t->p[0].share, "trial");
	look.pseudonym = "north-0099";
	look.share = "trial";
	look.reason = "a guess";
	assert_int_equal(
	    ingest_reidentify(&w->g, &look, told_person, t, &em), ERR_NOTFOUND);
	assert_int_equal(store_read(w->g.o.store, &txn), ERR_OK);
	assert_int_equal(
	    cat_audit_each(w->g.o.store, txn, audited_row, &x), ERR_OK);
	db_abort(txn);
	assert_int_equal(x.n, 2);
	assert_string_equal(x.act[0], "map.lookup");
	assert_string_equal(x.reason[0], "adverse event");
	assert_string_equal(x.act[1], "map.lookup.nobody");
	shares_close(w->g.o.shares);
	w->g.o.shares = NULL;
	free(t);
}

static void
test_uids_map_alike_in_every_object_and_fit_the_standard(void **state)
{
	struct world *w = *state;
	struct img_identity id = { .n_uids = 2 };
	char uids[2][IMG_UID_MAX + 1] = { "1.2.3.4", "1.2.3.5" };
	struct id_answer a, b;
	const char *p;

	id.uids = uids;
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &a), ERR_OK);
	(void)snprintf(uids[1], sizeof(uids[1]), "1.2.3.4");
	assert_int_equal(id_answer_make(&w->g, &w->sink, &id, &b), ERR_OK);
	assert_string_equal(a.ctx.new_uids[0], b.ctx.new_uids[0]);
	assert_string_equal(a.ctx.new_uids[0], b.ctx.new_uids[1]);
	assert_string_not_equal(a.ctx.new_uids[0], a.ctx.new_uids[1]);
	assert_int_equal(strncmp(a.ctx.new_uids[0], "2.25.", 5), 0);
	assert_true(strlen(a.ctx.new_uids[0]) <= IMG_UID_MAX);
	for (p = a.ctx.new_uids[0] + 5; *p != '\0'; p++)
		assert_true(*p >= '0' && *p <= '9');
	assert_true(a.ctx.new_uids[0][5] != '0');
	id_answer_fini(&a);
	id_answer_fini(&b);
}

static void
test_quarantine_item_row_round_trip(void **state)
{
	struct world *w = *state;
	uint64_t no = 0;
	char text[40];

	(void)w;
	q_text(12, text);
	assert_string_equal(text, "q000012");
	assert_int_equal(q_parse(text, &no), ERR_OK);
	assert_int_equal(no, 12);
	assert_int_not_equal(q_parse("12", &no), ERR_OK);
	assert_int_not_equal(q_parse("q", &no), ERR_OK);
	assert_int_not_equal(q_parse("q0", &no), ERR_OK);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_one_patient_one_name_also_after_a_restart),
		T(test_dates_of_a_subject_move_by_the_same_days_for_ever),
		T(test_other_share_other_name_series),
		T(test_lookup_list_wins_over_the_pattern),
		T(test_the_head_and_byte_order_mark_of_a_table_are_no_patient),
		T(test_pattern_and_list_never_give_one_name_to_two_patients),
		T(test_bad_lookup_line_is_named_and_nothing_is_imported),
		T(test_a_lookup_list_that_is_a_pipe_or_a_folder_is_refused_at_once),
		T(test_equal_numbers_of_two_domains_or_issuers_are_two_patients),
		T(test_a_lookup_list_holds_for_its_domain_only),
		T(test_random_names_tell_no_order_and_are_never_given_twice),
		T(test_random_names_run_out_with_an_error_and_none_twice),
		T(test_keyed_names_differ_by_project_and_are_long),
		T(test_the_map_leads_from_the_name_to_all_its_people),
		T(test_each_look_into_the_map_is_audited_with_its_reason),
		T(test_uids_map_alike_in_every_object_and_fit_the_standard),
		T(test_quarantine_item_row_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
