/* tests/unit/imaging/test_msg.c: every message says after decoding what was
 * put in, at its limits too; one more is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/imaging/msg.h"
#include "store/base/mem.h"

static void
reopen(const struct buf *b, struct mp_doc *d, uint32_t want)
{
	uint32_t kind;

	assert_int_equal(buf_err(b), ERR_OK);
	assert_true(b->n <= IMG_FRAME_BYTES);
	assert_int_equal(msg_open(buf_slice(b), d, &kind), ERR_OK);
	assert_int_equal(kind, want);
}

static void
test_small_messages(void **state)
{
	struct msg_config c = { .mode = IMAGING_IMPORT,
		.called_ae = "PESSCARA",
		.profile = "trial-imaging",
		.memory_bytes_max = UINT64_MAX,
		.object_bytes_max = 77,
		.idle_ms = 30000 },
			  c2;
	struct img_assoc a = { "CALLING", "CALLED", "192.0.2.1", 16 }, a2;
	struct img_done done = { 7, 8, "release" }, done2;
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;
	uint16_t status;
	uint64_t n;
	enum img_admit answer;
	struct slice table;

	(void)state;
	msg_put_config(&b, &c);
	reopen(&b, &d, MSG_CONFIG);
	assert_int_equal(msg_get_config(&d, &c2), ERR_OK);
	assert_int_equal(c2.mode, c.mode);
	assert_string_equal(c2.called_ae, c.called_ae);
	assert_string_equal(c2.profile, c.profile);
	assert_true(c2.memory_bytes_max == c.memory_bytes_max);
	assert_true(c2.object_bytes_max == c.object_bytes_max);
	assert_int_equal(c2.idle_ms, c.idle_ms);
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_assoc(&b, &a);
	reopen(&b, &d, IMG_ASSOC);
	assert_int_equal(msg_get_assoc(&d, &a2), ERR_OK);
	assert_string_equal(a.calling_ae, a2.calling_ae);
	assert_string_equal(a.called_ae, a2.called_ae);
	assert_string_equal(a.address, a2.address);
	assert_int_equal(a.window, a2.window);
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_done(&b, &done);
	reopen(&b, &d, IMG_DONE);
	assert_int_equal(msg_get_done(&d, &done2), ERR_OK);
	assert_memory_equal(&done, &done2, sizeof(done));
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_admit(&b, IMG_REFUSED_CALLED_AE, SLICE_LIT("table"));
	reopen(&b, &d, MSG_ADMIT);
	assert_int_equal(msg_get_admit(&d, &answer, &table), ERR_OK);
	assert_int_equal(answer, IMG_REFUSED_CALLED_AE);
	assert_true(slice_eq(table, SLICE_LIT("table")));
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_stored(&b, 0xA700);
	reopen(&b, &d, MSG_STORED);
	assert_int_equal(msg_get_stored(&d, &status), ERR_OK);
	assert_int_equal(status, 0xA700);
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_file(&b, UINT64_MAX);
	reopen(&b, &d, MSG_FILE);
	assert_int_equal(msg_get_file(&d, &n), ERR_OK);
	assert_true(n == UINT64_MAX);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_a_verdict_comes_back_as_it_was(void **state)
{
	struct img_verdict v = { .kind = IMG_CHECK_NIFTI,
		.blocked = "why not",
		.review = "why to look",
		.patient_id = "lab-0001",
		.patient_name = "L\xc3\xa4mmle",
		.packed_name = "x.nii",
		.packed_text = true,
		.text = SLICE_LIT("descrip=FSL") },
			   back;
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;

	(void)state;
	msg_put_verdict(&b, &v);
	reopen(&b, &d, IMG_VERDICT);
	assert_int_equal(msg_get_verdict(&d, &back), ERR_OK);
	assert_int_equal(back.kind, v.kind);
	assert_string_equal(back.blocked, v.blocked);
	assert_string_equal(back.review, v.review);
	assert_string_equal(back.patient_id, v.patient_id);
	assert_string_equal(back.patient_name, v.patient_name);
	assert_string_equal(back.packed_name, v.packed_name);
	assert_true(back.packed_text);
	assert_true(slice_eq(back.text, v.text));
	mp_doc_fini(&d);
	buf_reset(&b);
	/* What is shown to people is held to plain text. */
	v.blocked[0] = '\n';
	msg_put_verdict(&b, &v);
	reopen(&b, &d, IMG_VERDICT);
	assert_int_equal(msg_get_verdict(&d, &back), ERR_MALFORMED);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_pull_messages_come_back_as_they_were(void **state)
{
	struct img_dial dial = { .op = IMG_GET,
		.calling_ae = "US",
		.called_ae = "PACS",
		.classes = { "1.2.3", "1.2.4" },
		.n_classes = 2 },
			d2;
	struct img_query query = { .level = IMG_SERIES,
		.patient = "P^1",
		.study = "1.2",
		.series = "1.3",
		.date = "20240101-20240131",
		.destination = "US" },
			 q2;
	struct img_row row = { .study = "1.2", .sop = "1.4", .modality = "MR" },
		       r2;
	struct img_answer answer = { "ok", 0xFF00, 1, 2, 3, 4 }, a2;
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;

	(void)state;
	msg_put_dial(&b, &dial);
	reopen(&b, &d, MSG_DIAL);
	assert_int_equal(msg_get_dial(&d, &d2), ERR_OK);
	assert_memory_equal(&d2, &dial, sizeof(dial));
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_query(&b, &query);
	reopen(&b, &d, MSG_QUERY);
	assert_int_equal(msg_get_query(&d, &q2), ERR_OK);
	assert_memory_equal(&q2, &query, sizeof(query));
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_row(&b, &row);
	reopen(&b, &d, IMG_ROW);
	assert_int_equal(msg_get_row(&d, &r2), ERR_OK);
	assert_memory_equal(&r2, &row, sizeof(row));
	mp_doc_fini(&d);
	buf_reset(&b);
	/* What is no UID is believed of no helper. */
	(void)snprintf(row.series, sizeof(row.series), "1.2/../3");
	msg_put_row(&b, &row);
	reopen(&b, &d, IMG_ROW);
	assert_int_equal(msg_get_row(&d, &r2), ERR_MALFORMED);
	mp_doc_fini(&d);
	buf_reset(&b);
	msg_put_answer(&b, &answer);
	reopen(&b, &d, IMG_ANSWER);
	assert_int_equal(msg_get_answer(&d, &a2), ERR_OK);
	assert_memory_equal(&a2, &answer, sizeof(answer));
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_a_request_for_commitment_comes_back_as_it_was(void **state)
{
	struct img_ref refs[2] = { { "1.2", "1.3" }, { "1.2", "1.4" } };
	struct img_commit commit = { "2.25.1", refs, 2, true }, c2;
	static struct img_ref room[IMG_REFS_MAX];
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;

	(void)state;
	msg_put_commit(&b, &commit);
	reopen(&b, &d, IMG_COMMIT);
	assert_int_equal(msg_get_commit(&d, room, &c2), ERR_OK);
	assert_string_equal(c2.transaction, "2.25.1");
	assert_true(c2.last);
	assert_int_equal(c2.n, 2);
	assert_memory_equal(c2.refs, refs, sizeof(refs));
	mp_doc_fini(&d);
	buf_reset(&b);
	refs[1].sop_uid[0] = '/';
	msg_put_commit(&b, &commit);
	reopen(&b, &d, IMG_COMMIT);
	assert_int_equal(msg_get_commit(&d, room, &c2), ERR_MALFORMED);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_control_characters_are_refused(void **state)
{
	struct img_assoc a = { "CALL\nING", "CALLED", "192.0.2.1", 1 }, out;
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;

	(void)state;
	msg_put_assoc(&b, &a);
	reopen(&b, &d, IMG_ASSOC);
	assert_int_equal(msg_get_assoc(&d, &out), ERR_MALFORMED);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
fill_identity(struct img_identity *id, uint32_t n)
{
	uint32_t i;

	memset(id, 0, sizeof(*id));
	memset(id->patient_id, 'i', IMG_TEXT_MAX);
	memset(id->issuer, 's', IMG_TEXT_MAX);
	memset(id->patient_name, 'n', IMG_TEXT_MAX);
	id->n_uids = n;
	id->uids = mem_array(n, sizeof(*id->uids));
	assert_non_null(id->uids);
	for (i = 0; i < n; i++)
		(void)snprintf(
		    id->uids[i], sizeof(id->uids[i]), "1.2.%061u", i);
}

static enum err
identity_trip(const struct img_identity *id, struct img_identity *out)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct mp_doc d = { 0 };
	uint32_t kind;
	enum err e;

	msg_put_identity(&b, id);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = msg_open(buf_slice(&b), &d, &kind);
	if (e == ERR_OK)
		e = msg_get_identity(&d, out);
	mp_doc_fini(&d);
	buf_fini(&b);
	return e;
}

static void
test_largest_identity_fits_one_more_uid_does_not(void **state)
{
	struct img_identity id, out;

	(void)state;
	fill_identity(&id, IMG_UIDS_MAX);
	assert_int_equal(identity_trip(&id, &out), ERR_OK);
	assert_int_equal(out.n_uids, IMG_UIDS_MAX);
	assert_memory_equal(out.uids, id.uids, IMG_UIDS_MAX * sizeof(*id.uids));
	assert_string_equal(out.patient_name, id.patient_name);
	msg_identity_fini(&out);
	msg_identity_fini(&id);
	fill_identity(&id, IMG_UIDS_MAX + 1);
	assert_int_equal(identity_trip(&id, &out), ERR_MALFORMED);
	msg_identity_fini(&id);
}

static void
test_identity_survives_any_failing_allocation(void **state)
{
	struct img_identity id, out;
	enum err e = ERR_NOMEM;
	long k;

	(void)state;
	fill_identity(&id, 3);
	for (k = 0; k < 100 && e != ERR_OK; k++) {
		mem_fail_at(k);
		e = identity_trip(&id, &out);
		mem_fail_at(-1);
		if (e != ERR_OK)
			assert_int_equal(e, ERR_NOMEM);
	}
	assert_int_equal(e, ERR_OK);
	msg_identity_fini(&out);
	msg_identity_fini(&id);
}

static void
test_context(void **state)
{
	const char *uids[] = { "2.25.1", NULL, "2.25.3" };
	struct img_context c = { .profile = "trial-imaging",
		.subject = "003-0142",
		.shift_days = -1234,
		.new_uids = uids,
		.n_uids = 3,
		.no_deid = true };
	struct buf b = BUF_MAX(4096);
	struct msg_context out;
	struct mp_doc d;

	(void)state;
	msg_put_context(&b, &c);
	reopen(&b, &d, MSG_CONTEXT);
	assert_int_equal(msg_get_context(&d, &out), ERR_OK);
	mp_doc_fini(&d);
	assert_false(out.skip);
	assert_string_equal(out.ctx.profile, "trial-imaging");
	assert_string_equal(out.ctx.subject, "003-0142");
	assert_int_equal(out.ctx.shift_days, -1234);
	assert_true(out.ctx.no_deid);
	assert_int_equal(out.ctx.n_uids, 3);
	assert_string_equal(out.ctx.new_uids[0], "2.25.1");
	assert_null(out.ctx.new_uids[1]);
	assert_string_equal(out.ctx.new_uids[2], "2.25.3");
	msg_context_fini(&out);
	buf_reset(&b);
	msg_put_context(&b, NULL);
	reopen(&b, &d, MSG_CONTEXT);
	assert_int_equal(msg_get_context(&d, &out), ERR_OK);
	assert_true(out.skip);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
fill_object(struct img_object *o, struct img_piece *plan, uint32_t n,
    struct img_finding *f)
{
	uint32_t i;

	memset(o, 0, sizeof(*o));
	o->parsed = o->releasable = true;
	o->original.n = n;
	o->deid.n = n;
	for (i = 0; i < n; i++)
		plan[i] = (struct img_piece){ i, 1, IMG_P_FRAME, 16, 512, 511 };
	o->original_plan = o->deid_plan = plan;
	o->n_original_plan = o->n_deid_plan = n;
	memset(o->sop_class, '1', IMG_UID_MAX);
	memset(o->transfer_syntax, '2', IMG_UID_MAX);
	memset(o->sop_uid, '3', IMG_UID_MAX);
	memset(o->series_uid, '4', IMG_UID_MAX);
	memset(o->study_uid, '5', IMG_UID_MAX);
	memset(o->deid_sop_uid, '6', IMG_UID_MAX);
	memset(o->deid_series_uid, '7', IMG_UID_MAX);
	memset(o->deid_study_uid, '8', IMG_UID_MAX);
	memset(o->modality, 'M', IMG_AE_MAX);
	for (i = 0; i < IMG_FINDINGS_MAX; i++) {
		memset(&f[i], 0, sizeof(f[i]));
		memset(f[i].kind, 'k', sizeof(f[i].kind) - 1);
		memset(f[i].detail, 'd', sizeof(f[i].detail) - 1);
	}
	o->findings = f;
	o->n_findings = IMG_FINDINGS_MAX;
	o->fields = SLICE_LIT("\x80");
}

static void
same_piece(const struct img_piece *a, const struct img_piece *b)
{
	assert_true(a->off == b->off && a->len == b->len &&
		    a->kind == b->kind && a->bits == b->bits && a->w == b->w &&
		    a->h == b->h);
}

static void
object_trip(const struct img_object *o, bool want_memfd)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES), detail = BUF_MAX(MIB);
	struct msg_object m;
	struct mp_doc d;
	bool by_memfd;
	uint32_t i;

	msg_put_detail(&detail, o);
	msg_put_object(&b, o, buf_slice(&detail), &by_memfd);
	assert_int_equal(by_memfd, want_memfd);
	reopen(&b, &d, IMG_OBJECT);
	assert_int_equal(msg_get_object(&d, &m), ERR_OK);
	assert_int_equal(m.detail_n, detail.n);
	assert_int_equal(m.detail.n, by_memfd ? 0 : detail.n);
	assert_int_equal(msg_get_detail(buf_slice(&detail), &m), ERR_OK);
	assert_string_equal(m.object.deid_study_uid, o->deid_study_uid);
	assert_string_equal(m.object.modality, o->modality);
	assert_int_equal(m.object.n_deid_plan, o->n_deid_plan);
	for (i = 0; i < o->n_original_plan; i++) {
		same_piece(&m.object.original_plan[i], &o->original_plan[i]);
		same_piece(&m.object.deid_plan[i], &o->deid_plan[i]);
	}
	assert_memory_equal(m.object.findings, o->findings,
	    IMG_FINDINGS_MAX * sizeof(*o->findings));
	assert_true(slice_eq(m.object.fields, o->fields));
	msg_object_fini(&m);
	/* One byte less or more of detail is a lie. */
	assert_int_equal(msg_get_object(&d, &m), ERR_OK);
	detail.n--;
	assert_int_equal(msg_get_detail(buf_slice(&detail), &m), ERR_MALFORMED);
	msg_object_fini(&m);
	mp_doc_fini(&d);
	buf_fini(&b);
	buf_fini(&detail);
}

static void
same_trip(const struct img_object *o, enum err want)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES), detail = BUF_MAX(MIB);
	struct msg_object m = { 0 };
	struct mp_doc d;
	bool by_memfd;

	msg_put_detail(&detail, o);
	msg_put_object(&b, o, buf_slice(&detail), &by_memfd);
	reopen(&b, &d, IMG_OBJECT);
	assert_int_equal(msg_get_object(&d, &m), want);
	if (want == ERR_OK) {
		assert_true(m.same);
		assert_int_equal(
		    msg_get_detail(buf_slice(&detail), &m), ERR_OK);
		assert_int_equal(m.object.n_deid_plan, o->n_original_plan);
		same_piece(&m.object.deid_plan[2], &o->original_plan[2]);
	}
	msg_object_fini(&m);
	mp_doc_fini(&d);
	buf_fini(&b);
	buf_fini(&detail);
}

static void
test_object_small_and_largest(void **state)
{
	struct img_finding *f = mem_array(IMG_FINDINGS_MAX, sizeof(*f));
	struct img_piece *plan = mem_array(IMG_PIECES_MAX, sizeof(*plan));
	struct img_object o;

	(void)state;
	assert_true(f != NULL && plan != NULL);
	fill_object(&o, plan, 3, f);
	object_trip(&o, false);
	fill_object(&o, plan, IMG_PIECES_MAX, f);
	object_trip(&o, true);
	mem_free(f);
	mem_free(plan);
}

/* Identified data kept as they are: one memfd and one plan say it all. */
static void
test_object_whose_forms_are_the_same_has_one_plan(void **state)
{
	struct img_finding *f = mem_array(IMG_FINDINGS_MAX, sizeof(*f));
	struct img_piece plan[3];
	struct img_object o;
	static const uint8_t bytes[3];

	(void)state;
	assert_non_null(f);
	fill_object(&o, plan, 3, f);
	o.original.p = o.deid.p = bytes;
	o.n_deid_plan = 0;
	same_trip(&o, ERR_OK);
	o.deid.n = 2; /* cannot be the same then */
	same_trip(&o, ERR_MALFORMED);
	o.deid.n = 3;
	o.n_deid_plan = 3; /* nor have a plan of its own */
	same_trip(&o, ERR_MALFORMED);
	mem_free(f);
}

static void
test_result(void **state)
{
	struct img_result r = { .ok = true, .n_files = 2 }, out;
	struct buf b = BUF_MAX(4096);
	struct mp_doc d;

	(void)state;
	(void)snprintf(
	    r.files[0].name, sizeof(r.files[0].name), "image.nii.gz");
	(void)snprintf(r.files[1].name, sizeof(r.files[1].name), "a.json");
	r.files[0].bytes.n = 5;
	r.fields = SLICE_LIT("\x80");
	msg_put_result(&b, &r);
	reopen(&b, &d, IMG_RESULT);
	assert_int_equal(msg_get_result(&d, &out), ERR_OK);
	assert_int_equal(out.n_files, 2);
	assert_int_equal(out.files[0].bytes.n, 5);
	assert_string_equal(out.files[1].name, "a.json");
	mp_doc_fini(&d);
	buf_reset(&b);
	(void)snprintf(r.files[1].name, sizeof(r.files[1].name), "../a");
	msg_put_result(&b, &r);
	reopen(&b, &d, IMG_RESULT);
	assert_int_equal(msg_get_result(&d, &out), ERR_MALFORMED);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_uids(void **state)
{
	char uid[IMG_UID_MAX + 2];

	(void)state;
	memset(uid, '1', sizeof(uid));
	uid[IMG_UID_MAX + 1] = '\0';
	assert_false(msg_uid_ok(uid));
	uid[IMG_UID_MAX] = '\0';
	assert_true(msg_uid_ok(uid));
	assert_false(msg_uid_ok(""));
	assert_false(msg_uid_ok("1.2 "));
	assert_false(msg_uid_ok("1.2/3"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_messages),
		cmocka_unit_test(test_a_verdict_comes_back_as_it_was),
		cmocka_unit_test(test_pull_messages_come_back_as_they_were),
		cmocka_unit_test(
		    test_a_request_for_commitment_comes_back_as_it_was),
		cmocka_unit_test(test_control_characters_are_refused),
		cmocka_unit_test(
		    test_largest_identity_fits_one_more_uid_does_not),
		cmocka_unit_test(test_identity_survives_any_failing_allocation),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_object_small_and_largest),
		cmocka_unit_test(
		    test_object_whose_forms_are_the_same_has_one_plan),
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_uids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
