/* tests/unit/catalog/test_query.c: what queries mean, and that bad ones say
 * where they are wrong. */
#include "lib/catalog_lib.h"
#include "store/base/enc.h"

struct world {
	struct cl c;
	struct asset_id series[3];
	struct asset_id nifti;
};

/* Field maps in a line: pairs of name and text, ended by NULL. */
static struct slice
map_of(struct buf *b, const char *const *kv)
{
	size_t n = 0, i;

	while (kv[2 * n] != NULL)
		n++;
	*b = BUF_MAX(4096);
	mp_w_map(b, n);
	for (i = 0; i < n; i++)
		mp_kv_cstr(b, kv[2 * i], kv[2 * i + 1]);
	return buf_slice(b);
}

struct spec {
	const char *subject, *exam, *level, *key;
	const char *subject_kv[8], *exam_kv[8];
	struct slice fields;
	const char *tags[4];
	uint32_t n_tags;
	uint64_t lamport;
	uint16_t compartment;
};

static struct asset_id
put(struct world *w, const struct spec *s)
{
	struct buf f1, f2;
	struct cat_node path[3] = {
		{ "subject", s->subject, map_of(&f1, s->subject_kv) },
		{ "exam", s->exam, map_of(&f2, s->exam_kv) },
		{ s->level, s->key, s->fields },
	};
	struct cat_put p = cl_put_of(path, 3);
	struct cl_put c = { .payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES),
		.o = { .share = cl_id("share", 1),
		    .compartment = s->compartment,
		    .lseq = s->lamport,
		    .lamport = s->lamport,
		    .wall_ms = 1706700000000u, /* 2024-01-31T11:20:00Z */
		    .op_id = cl_id("op", s->lamport) } };

	p.tags = s->tags;
	p.n_tags = s->n_tags;
	assert_int_equal(cat_put_encode(&p, &c.payload), ERR_OK);
	assert_int_equal(store_write(w->c.s, cl_put_job, &c), ERR_OK);
	buf_fini(&c.payload);
	buf_fini(&f1);
	buf_fini(&f2);
	return c.asset;
}

static void
world_init(struct world *w)
{
	struct spec s = { .subject = "S1",
		.exam = "2.25.1",
		.level = "series",
		.key = "2.25.11",
		.subject_kv = { "PatientID", "003-0142", "PatientSex", "F" },
		.exam_kv = { "StudyDate", "20240131" },
		.compartment = 1 };
	struct buf f = BUF_MAX(4096);

	cl_init(&w->c);
	mp_w_map(&f, 4);
	mp_kv_cstr(&f, "Modality", "MR");
	mp_kv_cstr(&f, "SeriesDescription", "ep2d Perf 2.0");
	mp_kv_cstr(&f, "SliceThickness", "1.50");
	mp_kv_array(&f, "EchoTime", 2);
	mp_w_f64(&f, 4.9);
	mp_w_f64(&f, 9.8);
	s.fields = buf_slice(&f);
	s.tags[0] = "qc=passed";
	s.tags[1] = "pilot";
	s.n_tags = 2;
	s.lamport = 1;
	w->series[0] = put(w, &s);

	buf_reset(&f);
	mp_w_map(&f, 2);
	mp_kv_cstr(&f, "Modality", "CT");
	mp_kv_u64(&f, "SliceThickness", 5);
	s.fields = buf_slice(&f);
	s.key = "2.25.12";
	s.tags[0] = "qc=failed";
	s.n_tags = 1;
	s.lamport = 2;
	w->series[1] = put(w, &s);

	buf_reset(&f);
	mp_w_map(&f, 2);
	mp_kv_cstr(&f, "Modality", "MR");
	mp_kv_cstr(&f, "PatientSex", "unknown"); /* nearer than the subject */
	s.fields = buf_slice(&f);
	s.subject = "S2";
	s.exam = "2.25.2";
	s.key = "2.25.21";
	s.subject_kv[1] = "003";
	s.exam_kv[1] = "2024-02-29";
	s.n_tags = 0;
	s.lamport = 3;
	s.compartment = 2;
	w->series[2] = put(w, &s);

	buf_reset(&f);
	mp_w_map(&f, 0);
	s.fields = buf_slice(&f);
	s.level = "nifti";
	s.key = "n1";
	s.lamport = 4;
	w->nifti = put(w, &s);
	buf_fini(&f);
}

static int
note_found(void *ctx, const struct cat_asset *a)
{
	char *out = ctx;
	size_t n = strlen(out);

	(void)snprintf(out + n, 300 - n, "%s ", a->key);
	return 0;
}

static void
expect(struct world *w, const char *query, const char *keys)
{
	struct db_txn *t = cl_read(&w->c);
	struct cat_query *q = NULL;
	struct errmsg em = { 0 };
	char got[300] = "";

	assert_int_equal(cat_query_parse(slice_str(query), &q, &em), ERR_OK);
	assert_int_equal(cat_find(w->c.s, t, q, NULL, note_found, got), ERR_OK);
	if (strcmp(got, keys) != 0)
		print_message("query: %s\n", query);
	assert_string_equal(got, keys);
	cat_query_free(q);
	db_abort(t);
}

static void
test_equality_inherits_downward(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	expect(&w, "Modality=MR", "2.25.11 2.25.21 ");
	expect(&w, "Modality='MR'", "2.25.11 2.25.21 ");
	expect(&w, "Modality=mr", "");
	expect(&w, "PatientID=003-0142", "S1 2.25.1 2.25.11 2.25.12 ");
	expect(&w, "level=series and PatientID=003-0142", "2.25.11 2.25.12 ");
	expect(&w, "level=nifti and PatientID=003", "n1 ");
	expect(&w, "PatientSex=F and level=series", "2.25.11 2.25.12 ");
	expect(&w, "PatientSex=unknown", "2.25.21 ");
	expect(&w, "subject.PatientSex=F and level=series",
	    "2.25.11 2.25.12 2.25.21 ");
	expect(&w, "", "S1 2.25.1 2.25.11 2.25.12 S2 2.25.2 2.25.21 n1 ");
	cl_fini(&w.c);
}

static void
test_numbers_dates_and_texts(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	expect(&w, "SliceThickness=1.5", "2.25.11 ");
	expect(&w, "SliceThickness='1.5'", "");
	expect(&w, "SliceThickness='5'", "2.25.12 ");
	expect(
	    &w, "SliceThickness>1.4 and SliceThickness<=5", "2.25.11 2.25.12 ");
	expect(&w, "EchoTime>5", "2.25.11 ");
	expect(&w, "EchoTime<5", "2.25.11 "); /* any value matches */
	expect(&w, "EchoTime=5", "");
	expect(&w, "EchoTime!=5", "2.25.11 ");
	expect(&w, "EchoTime!=4.9", "");
	expect(&w, "PatientID=3", ""); /* "003" is no number */
	expect(&w, "PatientID=003 and level=exam", "2.25.2 ");
	expect(&w, "level=exam and StudyDate>=2024-01-01", "2.25.1 2.25.2 ");
	expect(&w, "level=exam and StudyDate>2024-01-31", "2.25.2 ");
	expect(&w, "level=exam and StudyDate=20240229", "2.25.2 ");
	expect(&w, "level=exam and StudyDate<'2024-02-01'", "2.25.1 ");
	expect(&w, "level=exam and StudyDate<hello", "2.25.1 2.25.2 ");
	expect(&w, "SeriesDescription~perf", "2.25.11 ");
	expect(&w, "SeriesDescription~\"D PERF\"", "2.25.11 ");
	expect(&w, "SeriesDescription~x", "");
	expect(&w, "EchoTime~9.8", "2.25.11 ");
	cl_fini(&w.c);
}

static void
test_logic_and_tags(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	expect(&w, "Modality=MR or Modality=CT", "2.25.11 2.25.12 2.25.21 ");
	expect(&w, "level=series and not Modality=MR", "2.25.12 ");
	expect(&w, "level=series AND (Modality=CT OR tag:pilot)",
	    "2.25.11 2.25.12 ");
	expect(&w, "tag:qc", "2.25.11 2.25.12 ");
	expect(&w, "tag:qc=passed", "2.25.11 ");
	expect(&w, "level=series and not tag:qc=passed", "2.25.12 2.25.21 ");
	expect(&w, "level=series and Modality!=CT", "2.25.11 2.25.21 ");
	expect(&w, "Modality!=CT", "2.25.11 2.25.21 "); /* absent: no */
	expect(&w, "not not Modality=CT", "2.25.12 ");
	cl_fini(&w.c);
}

static void
test_pseudo_fields(void **state)
{
	struct world w;
	char q[100], id[ASSET_ID_TEXT + 1], share[ENC_B32_LEN(32) + 1];
	struct cry_id s = cl_id("share", 1);

	(void)state;
	world_init(&w);
	expect(&w, "level=study", "");
	expect(&w, "level=exam and compartment=2", "2.25.2 ");
	expect(&w, "level=exam and created>=2024-01-31", "2.25.1 2.25.2 ");
	expect(&w, "level=exam and created>2024-01-31", "");
	expect(
	    &w, "level=exam and created<2024-01-31T11:20:01", "2.25.1 2.25.2 ");
	enc_b32(slice_of(w.nifti.b, 20), id);
	(void)snprintf(q, sizeof(q), "id=%s", id);
	expect(&w, q, "n1 ");
	(void)snprintf(q, sizeof(q), "id=%.8s", id);
	expect(&w, q, "n1 ");
	enc_b32(slice_of(s.b, 32), share);
	(void)snprintf(q, sizeof(q), "level=nifti and share=%.10s", share);
	expect(&w, q, "n1 ");
	expect(&w, "share=aaaaaaaa", "");
	cl_fini(&w.c);
}

static void
test_options_and_match(void **state)
{
	struct world w;
	struct cry_id other = cl_id("share", 2);
	struct cat_find_opts o = { .level = "series", .limit = 2 };
	struct cat_query *q = NULL;
	struct db_txn *t;
	char got[300] = "";
	bool yes = false;

	(void)state;
	world_init(&w);
	assert_int_equal(
	    cat_query_parse(SLICE_LIT("Modality=MR"), &q, NULL), ERR_OK);
	t = cl_read(&w.c);
	assert_int_equal(cat_match(w.c.s, t, q, &w.series[0], &yes), ERR_OK);
	assert_true(yes);
	assert_int_equal(cat_match(w.c.s, t, q, &w.series[1], &yes), ERR_OK);
	assert_false(yes);
	o.limit = 1;
	assert_int_equal(cat_find(w.c.s, t, q, &o, note_found, got), ERR_OK);
	assert_string_equal(got, "2.25.11 ");
	o.limit = 0;
	o.share = &other;
	got[0] = '\0';
	assert_int_equal(cat_find(w.c.s, t, q, &o, note_found, got), ERR_OK);
	assert_string_equal(got, "");
	db_abort(t);
	cat_query_free(q);
	cl_fini(&w.c);
}

static void
test_errors_name_the_column(void **state)
{
	static const struct {
		const char *query, *says;
		enum err e;
	} bad[] = {
		{ "Modality", "column 9:", ERR_MALFORMED },
		{ "Modality=", "column 10:", ERR_MALFORMED },
		{ "=MR", "column 1:", ERR_MALFORMED },
		{ "a=1 b=2", "column 5:", ERR_MALFORMED },
		{ "(a=1", "column 5:", ERR_MALFORMED },
		{ "a=1)", "column 4:", ERR_MALFORMED },
		{ "a='x", "column 3:", ERR_MALFORMED },
		{ "a!1", "column 2:", ERR_MALFORMED },
		{ "a=1 and", "column 8:", ERR_MALFORMED },
		{ "tag:", "column 1:", ERR_MALFORMED },
		{ "tag:a!=b", "column 6:", ERR_MALFORMED },
		{ "id=abc", "column 4:", ERR_MALFORMED },
		{ "id~abcdefgh", "column 4:", ERR_MALFORMED },
		{ "9a=1", "column 1:", ERR_MALFORMED },
		{ "Bad.a=1", "column 1:", ERR_MALFORMED },
	};
	struct cat_query *q = NULL;
	struct errmsg em;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&em, 0, sizeof(em));
		assert_int_equal(
		    cat_query_parse(slice_str(bad[i].query), &q, &em),
		    bad[i].e);
		if (strstr(em.cause, bad[i].says) == NULL)
			print_message("%s: %s\n", bad[i].query, em.cause);
		assert_non_null(strstr(em.cause, bad[i].says));
	}
}

static void
nested(char *out, unsigned depth)
{
	unsigned i;

	out[0] = '\0';
	for (i = 0; i < depth; i++)
		out[i] = '(';
	memcpy(out + depth, "a=1", 3);
	for (i = 0; i < depth; i++)
		out[depth + 3 + i] = ')';
	out[2 * depth + 3] = '\0';
}

static void
test_limits_at_and_above_the_bound(void **state)
{
	struct cat_query *q = NULL;
	static char text[5000];

	(void)state;
	nested(text, 31);
	assert_int_equal(cat_query_parse(slice_str(text), &q, NULL), ERR_OK);
	cat_query_free(q);
	nested(text, 32);
	assert_int_equal(cat_query_parse(slice_str(text), &q, NULL), ERR_LIMIT);
	memset(text, ' ', sizeof(text));
	assert_int_equal(
	    cat_query_parse(slice_of(text, 4096), &q, NULL), ERR_OK);
	cat_query_free(q);
	assert_int_equal(
	    cat_query_parse(slice_of(text, 4097), &q, NULL), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equality_inherits_downward),
		cmocka_unit_test(test_numbers_dates_and_texts),
		cmocka_unit_test(test_logic_and_tags),
		cmocka_unit_test(test_pseudo_fields),
		cmocka_unit_test(test_options_and_match),
		cmocka_unit_test(test_errors_name_the_column),
		cmocka_unit_test(test_limits_at_and_above_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
