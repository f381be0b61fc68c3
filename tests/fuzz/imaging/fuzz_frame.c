/* tests/fuzz/imaging/fuzz_frame.c: what a lying helper may put in a frame.
 *
 * Byte 0 picks nothing: the kind inside the frame does.  The input is split
 * at a length in its last two bytes: first part the frame, second part the
 * detail memfd of an object.  Whatever decodes is walked and must hold to
 * the promises of imaging.h; an identity must survive a round trip. */
#include "node/imaging/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_plan(const struct img_piece *p, uint32_t n, uint64_t bytes)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		REQUIRE(p[i].off <= bytes && p[i].len <= bytes - p[i].off);
}

static void
fuzz_object(struct mp_doc *d, struct slice detail)
{
	struct msg_object m;
	const struct img_object *o = &m.object;

	if (msg_get_object(d, &m) != ERR_OK)
		return;
	if (m.detail.n > 0)
		detail = m.detail;
	if (msg_get_detail(detail, &m) == ERR_OK) {
		REQUIRE(o->parsed || !o->releasable);
		REQUIRE(!o->parsed || msg_uid_ok(o->sop_uid));
		REQUIRE(!o->releasable || msg_uid_ok(o->deid_sop_uid));
		REQUIRE(o->n_findings <= IMG_FINDINGS_MAX);
		check_plan(o->original_plan, o->n_original_plan, o->original.n);
		check_plan(o->deid_plan, o->n_deid_plan, o->deid.n);
	}
	msg_object_fini(&m);
}

static void
fuzz_identity(struct mp_doc *d)
{
	struct img_identity id, again;
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct mp_doc d2;
	uint32_t kind;

	if (msg_get_identity(d, &id) != ERR_OK)
		return;
	msg_put_identity(&b, &id);
	REQUIRE(buf_err(&b) == ERR_OK);
	REQUIRE(msg_open(buf_slice(&b), &d2, &kind) == ERR_OK);
	REQUIRE(msg_get_identity(&d2, &again) == ERR_OK);
	REQUIRE(again.n_uids == id.n_uids);
	REQUIRE(memcmp(again.patient_name, id.patient_name,
		    sizeof(id.patient_name)) == 0);
	mp_doc_fini(&d2);
	msg_identity_fini(&again);
	msg_identity_fini(&id);
	buf_fini(&b);
}

static void
fuzz_verdict(struct mp_doc *d)
{
	struct img_verdict v;

	if (msg_get_verdict(d, &v) != ERR_OK)
		return;
	REQUIRE(v.kind <= IMG_CHECK_NIFTI);
	REQUIRE(v.text.n <= IMG_CHECK_TEXT_MAX);
}

static void
fuzz_others(struct mp_doc *d, uint32_t kind)
{
	struct img_assoc a;
	struct img_done done;
	struct img_result r;
	struct msg_context c;
	struct msg_config cfg;
	enum err e = ERR_OK;

	if (kind == IMG_ASSOC)
		e = msg_get_assoc(d, &a);
	else if (kind == IMG_DONE)
		e = msg_get_done(d, &done);
	else if (kind == IMG_RESULT)
		e = msg_get_result(d, &r);
	else if (kind == IMG_VERDICT)
		fuzz_verdict(d);
	else if (kind == MSG_CONFIG)
		e = msg_get_config(d, &cfg);
	if (kind == IMG_RESULT && e == ERR_OK)
		REQUIRE(r.n_files <= MSG_FILES_MAX);
	if (kind == MSG_CONTEXT && msg_get_context(d, &c) == ERR_OK)
		msg_context_fini(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice frame = slice_of(data, size), detail = { 0 };
	struct mp_doc d;
	uint32_t kind;
	size_t cut;

	if (size >= 2) {
		cut = (size_t)data[size - 1] << 8 | data[size - 2];
		frame.n = size - 2;
		if (cut < frame.n) {
			detail = slice_of(data + cut, frame.n - cut);
			frame.n = cut;
		}
	}
	if (msg_open(frame, &d, &kind) != ERR_OK) {
		mp_doc_fini(&d);
		return 0;
	}
	if (kind == IMG_OBJECT)
		fuzz_object(&d, detail);
	else if (kind == IMG_IDENTITY)
		fuzz_identity(&d);
	else
		fuzz_others(&d, kind);
	mp_doc_fini(&d);
	return 0;
}
