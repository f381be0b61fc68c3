/* node/imaging/helper/pull.c: the query/retrieve service class, asking side
 * (PS3.4 C), study root.
 *
 * Happy path: MSG_DIAL -> association -> IMG_ANSWER; then for each MSG_QUERY
 * the request and its identifier -> responses.  C-FIND: each pending one is a
 * row for the node.  C-GET: the archive sends C-STOREs in between, each of
 * which is offered to the node like any other and answered with its verdict.
 * C-MOVE: the images come through the node's own door.  The last response
 * ends the query: IMG_ANSWER.
 * Failure modes: an archive that does not know a key may answer with what was
 * not asked for; such rows are dropped and counted.  Whatever breaks the
 * association is the reason in the next IMG_ANSWER, and in all after it. */
#include "node/imaging/helper/pull.h"

#include <unistd.h>

#include "node/imaging/helper/dcm_shim.h"
#include "node/imaging/helper/dimse.h"
#include "node/imaging/helper/object.h"
#include "node/imaging/helper/scu.h"
#include "node/imaging/helper/walk.h"
#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define ROW_MAX ((size_t)64 * KIB)
#define IDENTIFIER_MAX (4 * KIB)
#define ANSWER_MAX (4 * KIB)
#define QUERY_CONTEXT 1u

#define TAG_STUDY_DATE 0x00080020u
#define TAG_ACCESSION 0x00080050u
#define TAG_LEVEL 0x00080052u
#define TAG_MODALITIES 0x00080061u

static const char *const op_class[] = { "", "1.2.840.10008.5.1.4.1.2.2.1",
	"1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2",
	SHIM_COMMIT_CLASS };
static const uint16_t op_field[] = { 0, DIMSE_C_FIND_RQ, DIMSE_C_GET_RQ,
	DIMSE_C_MOVE_RQ, DIMSE_N_EVENT_REPORT_RQ };
static const char *const implicit_only[] = { SCU_IMPLICIT };

/* Where the archive does not say of what class its images are. */
static const char *const usual_classes[] = {
	"1.2.840.10008.5.1.4.1.1.2",      /* CT */
	"1.2.840.10008.5.1.4.1.1.2.1",    /* enhanced CT */
	"1.2.840.10008.5.1.4.1.1.4",      /* MR */
	"1.2.840.10008.5.1.4.1.1.4.1",    /* enhanced MR */
	"1.2.840.10008.5.1.4.1.1.128",    /* PET */
	"1.2.840.10008.5.1.4.1.1.130",    /* enhanced PET */
	"1.2.840.10008.5.1.4.1.1.20",     /* NM */
	"1.2.840.10008.5.1.4.1.1.1",      /* CR */
	"1.2.840.10008.5.1.4.1.1.1.1",    /* DX */
	"1.2.840.10008.5.1.4.1.1.1.2",    /* MG */
	"1.2.840.10008.5.1.4.1.1.13.1.3", /* tomosynthesis */
	"1.2.840.10008.5.1.4.1.1.6.1",    /* US */
	"1.2.840.10008.5.1.4.1.1.3.1",    /* US multi-frame */
	"1.2.840.10008.5.1.4.1.1.7",      /* secondary capture */
	"1.2.840.10008.5.1.4.1.1.12.1",   /* XA */
	"1.2.840.10008.5.1.4.1.1.12.2",   /* RF */
	"1.2.840.10008.5.1.4.1.1.66.4",   /* segmentation */
	"1.2.840.10008.5.1.4.1.1.88.11",  /* basic text SR */
	"1.2.840.10008.5.1.4.1.1.88.22",  /* enhanced SR */
	"1.2.840.10008.5.1.4.1.1.88.33",  /* comprehensive SR */
	"1.2.840.10008.5.1.4.1.1.88.67",  /* dose SR */
	"1.2.840.10008.5.1.4.1.1.481.1",  /* RT image */
	"1.2.840.10008.5.1.4.1.1.481.2",  /* RT dose */
	"1.2.840.10008.5.1.4.1.1.481.3",  /* RT structures */
	"1.2.840.10008.5.1.4.1.1.481.5",  /* RT plan */
};
/* So many contexts a class; the archive chooses within each. */
static const char *const usual_syntaxes[5][2] = {
	{ "1.2.840.10008.1.2.1", "1.2.840.10008.1.2" },
	{ "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57" },
	{ "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91" },
	{ "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5" },
	{ "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51" },
};

struct pull {
	struct link *l;
	struct object_work *work;
	struct scu scu;
	struct img_dial dial;
	struct img_query query;
	struct img_answer answer;
	struct scu_want want[SCU_CONTEXTS_MAX];
	uint32_t n_want;
	const char *one_syntax[SCU_CONTEXTS_MAX]; /* those of want */
	struct buf command;
	struct buf data; /* of a row */
	uint16_t message_id;
	bool open; /* the association is there */
};

/* --- dialling --- */

static void
want_add(struct pull *p, const char *class_uid, const char *const *syntaxes,
    uint32_t n)
{
	if (p->n_want < SCU_CONTEXTS_MAX)
		p->want[p->n_want++] =
		    (struct scu_want){ .abstract_syntax = class_uid,
			    .syntaxes = syntaxes,
			    .n_syntaxes = n,
			    .scp = true };
}

/* A context for each syntax: images come as they are stored there. */
static void
want_class(struct pull *p, const char *class_uid)
{
	const char *uid;
	size_t i;

	for (i = 0;
	     (uid = shim_syntax_at(i)) != NULL && p->n_want < SCU_CONTEXTS_MAX;
	     i++) {
		p->one_syntax[p->n_want] = uid;
		want_add(p, class_uid, &p->one_syntax[p->n_want], 1);
	}
}

static void
want_usual(struct pull *p)
{
	size_t i, k;

	for (i = 0; i < sizeof(usual_classes) / sizeof(usual_classes[0]); i++) {
		for (k = 0; k < 5; k++)
			want_add(p, usual_classes[i], usual_syntaxes[k], 2);
	}
}

static void
pull_wants(struct pull *p)
{
	uint32_t i;

	want_add(p, op_class[p->dial.op], implicit_only, 1);
	p->want[0].scp = p->dial.op == IMG_REPORT; /* it asked, we report */
	if (p->dial.op != IMG_GET)
		return;
	for (i = 0; i < p->dial.n_classes; i++)
		want_class(p, p->dial.classes[i]);
	if (p->dial.n_classes == 0)
		want_usual(p);
}

static const char *
pull_reason(enum err e)
{
	switch ((int)e) {
	case ERR_OK: return "ok";
	case ERR_TIMEOUT: return "the archive does not answer";
	case ERR_IO:
	case ERR_NOTFOUND: return "the archive ended the association";
	case ERR_NOMEM: return "out of memory";
	case ERR_UNSUPPORTED: return "the archive does not offer this service";
	case ERR_LIMIT: return "an answer is too large";
	default: return "the archive's answer is malformed";
	}
}

static enum err
pull_say(struct pull *p, enum err e)
{
	struct buf b = BUF_MAX(ANSWER_MAX);

	if (p->answer.reason[0] == '\0')
		(void)snprintf(p->answer.reason, sizeof(p->answer.reason), "%s",
		    pull_reason(e));
	msg_put_answer(&b, &p->answer);
	return link_send(p->l, &b, NULL, 0);
}

static enum err
pull_dial(struct pull *p)
{
	struct scu_request q = { .calling_ae = p->dial.calling_ae,
		.called_ae = p->dial.called_ae,
		.want = p->want };
	enum err e;

	pull_wants(p);
	q.n = p->n_want;
	e = scu_open(&p->scu, p->l->accepted, p->l->config.idle_ms, &q,
	    p->answer.reason);
	p->l->accepted = -1; /* the scu's */
	if (e == ERR_OK && p->scu.accepted.syntax[0][0] == '\0') {
		scu_release(&p->scu);
		e = ERR_UNSUPPORTED;
	}
	p->open = e == ERR_OK;
	return pull_say(p, e);
}

/* --- asking --- */

/* Ascending tags (PS3.5 7.1). */
static void
identifier_put(struct buf *b, const struct img_query *q, bool find)
{
	static const char *const level[] = { "", "STUDY", "SERIES", "IMAGE" };
	bool study = q->level == IMG_STUDY;

	if (find && q->level == IMG_IMAGE) {
		dimse_put_key(b, TAG_SOP_CLASS, "", '\0');
		dimse_put_key(b, TAG_SOP_UID, "", '\0');
	}
	if (find && study) {
		dimse_put_key(b, TAG_STUDY_DATE, q->date, ' ');
		dimse_put_key(b, TAG_ACCESSION, q->accession, ' ');
	}
	dimse_put_key(b, TAG_LEVEL, level[q->level], ' ');
	if (find && q->level == IMG_SERIES)
		dimse_put_key(b, TAG_MODALITY, q->modality, ' ');
	if (find && study) {
		dimse_put_key(b, TAG_MODALITIES, q->modality, ' ');
		dimse_put_key(b, TAG_PATIENT_ID, q->patient, ' ');
	}
	dimse_put_key(b, TAG_STUDY_UID, q->study, '\0');
	if (!study)
		dimse_put_key(b, TAG_SERIES_UID, q->series, '\0');
}

static enum err
pull_ask(struct pull *p)
{
	struct dimse_request r = { .field = op_field[p->dial.op],
		.message_id = ++p->message_id,
		.sop_class = op_class[p->dial.op],
		.destination =
		    p->dial.op == IMG_MOVE ? p->query.destination : NULL };
	struct buf b = BUF_MAX(ANSWER_MAX), id = BUF_MAX(IDENTIFIER_MAX);
	enum err e;

	dimse_put_request(&b, &r, QUERY_CONTEXT);
	identifier_put(&id, &p->query, p->dial.op == IMG_FIND);
	e = buf_err(&b) != ERR_OK ? buf_err(&b) : buf_err(&id);
	if (e == ERR_OK)
		e = scu_send(&p->scu, buf_slice(&b));
	if (e == ERR_OK)
		e = scu_send_data(&p->scu, QUERY_CONTEXT, buf_slice(&id));
	buf_fini(&b);
	buf_fini(&id);
	return e;
}

/* --- what comes --- */

static enum err
pull_command(struct pull *p, struct dimse_command *cmd, uint8_t *ctx)
{
	struct scu_pdv pdv;
	bool first = true;
	enum err e;

	buf_reset(&p->command);
	do {
		if ((e = scu_next_pdv(&p->scu, &pdv)) != ERR_OK)
			return e;
		if (!pdv.command || (!first && pdv.context_id != *ctx))
			return ERR_MALFORMED;
		*ctx = pdv.context_id;
		first = false;
		buf_put_slice(&p->command, pdv.data);
	} while (!pdv.last);
	if (buf_err(&p->command) != ERR_OK)
		return ERR_MALFORMED;
	return dimse_parse(buf_slice(&p->command), cmd);
}

/* A row's dataset, behind a header of ours, so that the one walker reads it.
 * keep: else it is thrown away. */
static enum err
pull_data(struct pull *p, uint8_t ctx, bool keep)
{
	static const struct dimse_meta meta = { .sop_class = "1.2",
		.sop_uid = "1.2",
		.transfer_syntax = SCU_IMPLICIT,
		.calling_ae = "" };
	struct scu_pdv pdv;
	enum err e;

	buf_reset(&p->data);
	if (keep)
		dimse_put_meta(&p->data, &meta);
	do {
		if ((e = scu_next_pdv(&p->scu, &pdv)) != ERR_OK)
			return e;
		if (pdv.command || pdv.context_id != ctx)
			return ERR_MALFORMED;
		if (keep)
			buf_put_slice(&p->data, pdv.data);
	} while (!pdv.last);
	return buf_err(&p->data) == ERR_OK ? ERR_OK : ERR_LIMIT;
}

/* Is the key what was asked for?  Not told: it may be. */
static bool
row_is(const struct dcm_file *f, uint32_t tag, const char *asked)
{
	struct slice v = dcm_trimmed(f, dcm_find(f, tag));

	return *asked == '\0' || v.n == 0 || slice_eq(v, slice_str(asked));
}

static void
row_uid(const struct dcm_file *f, uint32_t tag, char *out)
{
	dcm_text(f, tag, out, IMG_UID_MAX + 1);
	if (!msg_uid_ok(out))
		out[0] = '\0';
}

/* false: it is no row of this query. */
static bool
row_read(const struct pull *p, const struct dcm_file *f, struct img_row *row)
{
	const struct img_query *q = &p->query;
	size_t i;

	*row = (struct img_row){ 0 };
	if (!row_is(f, TAG_PATIENT_ID, q->patient) ||
	    !row_is(f, TAG_ACCESSION, q->accession) ||
	    !row_is(f, TAG_STUDY_UID, q->study) ||
	    !row_is(f, TAG_SERIES_UID, q->series) ||
	    !row_is(f, TAG_MODALITY, q->modality))
		return false;
	row_uid(f, TAG_STUDY_UID, row->study);
	row_uid(f, TAG_SERIES_UID, row->series);
	row_uid(f, TAG_SOP_UID, row->sop);
	row_uid(f, TAG_SOP_CLASS, row->sop_class);
	dcm_text(f, TAG_MODALITY, row->modality, sizeof(row->modality));
	for (i = 0; row->modality[i] != '\0'; i++) {
		if (row->modality[i] < ' ' || row->modality[i] > '~')
			row->modality[i] = '?';
	}
	/* What was fixed by the query need not be said again. */
	if (row->study[0] == '\0')
		memcpy(row->study, q->study, sizeof(row->study));
	if (row->series[0] == '\0')
		memcpy(row->series, q->series, sizeof(row->series));
	return row->study[0] != '\0' &&
	       (q->level == IMG_STUDY || row->series[0] != '\0') &&
	       (q->level != IMG_IMAGE || row->sop[0] != '\0');
}

/* ERR_CANCELLED: the node is gone. */
static enum err
pull_row(struct pull *p)
{
	struct buf b = BUF_MAX(ANSWER_MAX);
	struct dcm_file *f = NULL;
	struct img_row row;
	enum err e = dcm_open(buf_slice(&p->data), &f, NULL);

	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK || !row_read(p, f, &row)) {
		p->answer.others++;
		dcm_close(f);
		return ERR_OK;
	}
	dcm_close(f);
	msg_put_row(&b, &row);
	return link_send(p->l, &b, NULL, 0) == ERR_OK ? ERR_OK : ERR_CANCELLED;
}

/* --- C-GET: images in between --- */

static enum err
store_receive(struct pull *p, const struct dimse_command *cmd, uint8_t ctx,
    int fd, uint64_t *bytes, bool *kept)
{
	struct dimse_meta m = { .sop_class = cmd->sop_class,
		.sop_uid = cmd->sop_uid,
		.transfer_syntax = p->scu.accepted.syntax[ctx / 2],
		.calling_ae = p->dial.called_ae };
	struct buf b = BUF_MAX(DIMSE_COMMAND_MAX);
	struct scu_pdv pdv;
	enum err e = ERR_OK;

	dimse_put_meta(&b, &m);
	*bytes = b.n;
	*kept = fd >= 0 && buf_err(&b) == ERR_OK &&
		sealed_write(fd, buf_slice(&b)) == ERR_OK;
	buf_fini(&b);
	do {
		if ((e = scu_next_pdv(&p->scu, &pdv)) != ERR_OK)
			return e;
		if (pdv.command || pdv.context_id != ctx)
			return ERR_MALFORMED;
		*bytes += pdv.data.n;
		*kept = *kept && *bytes <= p->l->config.object_bytes_max &&
			sealed_write(fd, pdv.data) == ERR_OK;
	} while (!pdv.last);
	return ERR_OK;
}

static enum err
store_offer(struct pull *p, const struct dimse_command *cmd, int fd,
    uint64_t bytes, uint16_t *status)
{
	struct object_in in = { .fd = fd,
		.bytes = bytes,
		.sop_class = cmd->sop_class,
		.sop_uid = cmd->sop_uid };
	bool offered = false;
	enum err e = object_offer(p->l, p->work, &in, status, &offered);

	if (e == ERR_OK && offered)
		e = object_verdict(p->l, status);
	return e == ERR_OK ? ERR_OK : ERR_CANCELLED;
}

static enum err
pull_store(struct pull *p, const struct dimse_command *cmd, uint8_t ctx)
{
	struct buf b = BUF_MAX(ANSWER_MAX);
	uint16_t status = IMG_STATUS_OUT_OF_RESOURCES;
	uint64_t bytes = 0;
	bool kept = false;
	int fd;
	enum err e;

	if (cmd->data_type == DIMSE_NO_DATA || ctx / 2 >= p->n_want ||
	    !p->want[ctx / 2].scp || p->scu.accepted.syntax[ctx / 2][0] == '\0')
		return ERR_MALFORMED;
	fd = sealed_new();
	e = store_receive(p, cmd, ctx, fd, &bytes, &kept);
	if (e == ERR_OK &&
	    strcmp(cmd->sop_class, p->want[ctx / 2].abstract_syntax) != 0)
		status = IMG_STATUS_REFUSED;
	else if (e == ERR_OK && kept && msg_uid_ok(cmd->sop_uid))
		e = store_offer(p, cmd, fd, bytes, &status);
	if (fd >= 0)
		(void)close(fd);
	if (e != ERR_OK)
		return e;
	dimse_put_response(&b, cmd, ctx, status);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = scu_send(&p->scu, buf_slice(&b));
	buf_fini(&b);
	return e;
}

/* --- one query --- */

/* One message; *last: it ended the query. */
static enum err
pull_message(struct pull *p, bool *last)
{
	struct dimse_command cmd;
	uint8_t ctx = 0;
	bool row;
	enum err e = pull_command(p, &cmd, &ctx);

	if (e != ERR_OK)
		return e;
	if (p->dial.op == IMG_GET && cmd.field == DIMSE_C_STORE_RQ)
		return pull_store(p, &cmd, ctx);
	if (cmd.field != (op_field[p->dial.op] | DIMSE_RSP) ||
	    cmd.responded != p->message_id)
		return ERR_MALFORMED;
	*last = cmd.status != DIMSE_PENDING && cmd.status != DIMSE_PENDING_KEYS;
	row = p->dial.op == IMG_FIND && !*last;
	if (cmd.data_type != DIMSE_NO_DATA) {
		e = pull_data(p, ctx, row);
		if (e == ERR_OK && row)
			e = pull_row(p);
	}
	p->answer.status = cmd.status;
	p->answer.completed = cmd.completed;
	p->answer.failed = cmd.failed;
	p->answer.warned = cmd.warned;
	return e;
}

static enum err
pull_query(struct pull *p)
{
	bool last = false;
	enum err e = msg_get_query(&p->l->doc, &p->query);

	if (e != ERR_OK)
		return e;
	p->answer = (struct img_answer){ 0 };
	e = p->open ? pull_ask(p) : ERR_IO;
	while (e == ERR_OK && !last)
		e = pull_message(p, &last);
	if (e == ERR_CANCELLED)
		return e;
	if (e != ERR_OK && p->open) {
		scu_abort(&p->scu);
		p->open = false;
	}
	return pull_say(p, e);
}

/* --- a report of storage commitment (PS3.4 J.3.3) --- */

static enum err
report_send(struct pull *p, struct slice data)
{
	struct dimse_event ev = { .message_id = ++p->message_id,
		.event = p->dial.event,
		.sop_class = SHIM_COMMIT_CLASS,
		.sop_uid = SHIM_COMMIT_CLASS ".1" };
	struct buf b = BUF_MAX(ANSWER_MAX);
	bool last = false;
	enum err e;

	dimse_put_event(&b, &ev, QUERY_CONTEXT);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = scu_send(&p->scu, buf_slice(&b));
	if (e == ERR_OK)
		e = scu_send_data(&p->scu, QUERY_CONTEXT, data);
	buf_fini(&b);
	return e == ERR_OK ? pull_message(p, &last) : e;
}

static enum err
pull_report(struct pull *p)
{
	struct slice data = { 0 };
	uint64_t n = 0;
	int fd = frame_take_fd(&p->l->in, 0);
	enum err e = msg_get_file(&p->l->doc, &n);

	if (e == ERR_OK)
		e = fd >= 0 ? sealed_map(fd, n, &data) : ERR_MALFORMED;
	if (fd >= 0)
		(void)close(fd);
	if (e != ERR_OK)
		return e;
	p->answer = (struct img_answer){ 0 };
	e = p->open ? report_send(p, data) : ERR_IO;
	sealed_unmap(&data);
	return pull_say(p, e);
}

enum err
pull_run(struct link *l)
{
	struct pull *p = mem_new(sizeof(*p));
	bool report;
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	p->l = l;
	p->scu.fd = -1;
	buf_init(&p->command, DIMSE_COMMAND_MAX);
	buf_init(&p->data, ROW_MAX);
	e = object_work_new(&p->work);
	if (e == ERR_OK)
		e = link_wait(l, MSG_DIAL);
	if (e == ERR_OK)
		e = msg_get_dial(&l->doc, &p->dial);
	if (e == ERR_OK)
		e = pull_dial(p);
	report = p->dial.op == IMG_REPORT;
	while (e == ERR_OK) {
		e = link_wait(l, report ? MSG_FILE : MSG_QUERY);
		if (e == ERR_FOREIGN) { /* nothing more to ask */
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK)
			e = report ? pull_report(p) : pull_query(p);
	}
	if (p->open && e == ERR_OK)
		scu_release(&p->scu);
	scu_close(&p->scu);
	object_work_free(p->work);
	buf_fini(&p->command);
	buf_fini(&p->data);
	mem_free(p);
	return e;
}
