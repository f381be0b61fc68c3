/* node/imaging/helper/dimse.c: command sets and file meta header.
 *
 * Read here and not through dcmtk: ten fixed elements need neither its
 * dictionary (20 ms a process) nor its objects, and the answer leaves in one
 * send.  Unknown command elements are skipped; one that runs past the end
 * refuses the command. */
#include "node/imaging/helper/dimse.h"

#include "node/imaging/helper/ident.h"
#include "store/base/rd.h"

#define TAG_GROUP_LENGTH 0x00000000u
#define TAG_CMD_SOP_CLASS 0x00000002u
#define TAG_CMD_ASKED_CLASS 0x00000003u
#define TAG_CMD_FIELD 0x00000100u
#define TAG_CMD_ID 0x00000110u
#define TAG_CMD_RESPONDED 0x00000120u
#define TAG_CMD_DESTINATION 0x00000600u
#define TAG_CMD_PRIORITY 0x00000700u
#define TAG_CMD_DATA_TYPE 0x00000800u
#define TAG_CMD_STATUS 0x00000900u
#define TAG_CMD_SOP_UID 0x00001000u
#define TAG_CMD_ASKED_UID 0x00001001u
#define TAG_CMD_EVENT 0x00001002u
#define TAG_CMD_ACTION 0x00001008u
#define TAG_CMD_COMPLETED 0x00001021u
#define TAG_CMD_FAILED 0x00001022u
#define TAG_CMD_WARNED 0x00001023u
#define DIMSE_HAS_DATA 0x0001u

static enum err
dimse_uid(struct slice v, char *out)
{
	while (v.n > 0 && (v.p[v.n - 1] == '\0' || v.p[v.n - 1] == ' '))
		v.n--;
	if (v.n > IMG_UID_MAX)
		return ERR_MALFORMED;
	if (v.n > 0)
		memcpy(out, v.p, v.n);
	out[v.n] = '\0';
	return ERR_OK;
}

static enum err
dimse_u16(struct slice v, uint16_t *out)
{
	if (v.n != 2)
		return ERR_MALFORMED;
	*out = (uint16_t)(v.p[0] | v.p[1] << 8);
	return ERR_OK;
}

static enum err
dimse_take(struct dimse_command *c, uint32_t tag, struct slice v)
{
	switch (tag) {
	case TAG_CMD_ASKED_CLASS:
	case TAG_CMD_SOP_CLASS: return dimse_uid(v, c->sop_class);
	case TAG_CMD_ASKED_UID:
	case TAG_CMD_SOP_UID: return dimse_uid(v, c->sop_uid);
	case TAG_CMD_ACTION: return dimse_u16(v, &c->action);
	case TAG_CMD_FIELD: return dimse_u16(v, &c->field);
	case TAG_CMD_ID: return dimse_u16(v, &c->message_id);
	case TAG_CMD_DATA_TYPE: return dimse_u16(v, &c->data_type);
	case TAG_CMD_RESPONDED: return dimse_u16(v, &c->responded);
	case TAG_CMD_STATUS: return dimse_u16(v, &c->status);
	case TAG_CMD_COMPLETED: return dimse_u16(v, &c->completed);
	case TAG_CMD_FAILED: return dimse_u16(v, &c->failed);
	case TAG_CMD_WARNED: return dimse_u16(v, &c->warned);
	default: return ERR_OK;
	}
}

enum err
dimse_parse(struct slice in, struct dimse_command *out)
{
	struct rd r = rd_init(in);
	enum err e = ERR_OK;
	uint32_t tag, len;

	*out = (struct dimse_command){ .data_type = DIMSE_NO_DATA };
	while (r.left > 0 && e == ERR_OK) {
		tag = (uint32_t)rd_u16(&r) << 16;
		tag |= rd_u16(&r);
		len = rd_u32(&r);
		if (tag >> 16 != 0)
			return ERR_MALFORMED;
		e = dimse_take(out, tag, rd_bytes(&r, len));
		if (r.err != ERR_OK)
			return ERR_MALFORMED;
	}
	return e == ERR_OK && out->field != 0 ? ERR_OK : ERR_MALFORMED;
}

static void
dimse_put_tag(struct buf *b, uint32_t tag, size_t len)
{
	buf_u16(b, (uint16_t)(tag >> 16));
	buf_u16(b, (uint16_t)tag);
	buf_u32(b, (uint32_t)len);
}

static void
dimse_put_u16(struct buf *b, uint32_t tag, uint16_t v)
{
	dimse_put_tag(b, tag, 2);
	buf_u16(b, v);
}

void
dimse_put_key(struct buf *b, uint32_t tag, const char *text, char pad)
{
	size_t n = strlen(text);

	dimse_put_tag(b, tag, n + n % 2);
	buf_put_str(b, text);
	if (n % 2 != 0)
		buf_u8(b, (uint8_t)pad);
}

static void
dimse_put_uid(struct buf *b, uint32_t tag, const char *uid)
{
	if (*uid != '\0')
		dimse_put_key(b, tag, uid, '\0');
}

/* PDU type and length, PDV length, context, "command, last" (PS3.8 9.3.5);
 * the group length element is 12 bytes.  Frees c. */
static void
dimse_put_pdu(struct buf *b, struct buf *c, uint8_t context_id)
{
	buf_u8(b, 0x04);
	buf_u8(b, 0);
	buf_be32(b, (uint32_t)c->n + 12 + 6);
	buf_be32(b, (uint32_t)c->n + 12 + 2);
	buf_u8(b, context_id);
	buf_u8(b, 0x03);
	dimse_put_tag(b, TAG_GROUP_LENGTH, 4);
	buf_u32(b, (uint32_t)c->n);
	buf_put_slice(b, buf_slice(c));
	if (buf_err(c) != ERR_OK)
		b->err = buf_err(c);
	buf_fini(c);
}

void
dimse_put_request(
    struct buf *b, const struct dimse_request *q, uint8_t context_id)
{
	struct buf c = BUF_MAX(DIMSE_COMMAND_MAX);

	dimse_put_uid(&c, TAG_CMD_SOP_CLASS, q->sop_class);
	dimse_put_u16(&c, TAG_CMD_FIELD, q->field);
	dimse_put_u16(&c, TAG_CMD_ID, q->message_id);
	if (q->destination != NULL)
		dimse_put_key(&c, TAG_CMD_DESTINATION, q->destination, ' ');
	dimse_put_u16(&c, TAG_CMD_PRIORITY, 0); /* medium */
	dimse_put_u16(&c, TAG_CMD_DATA_TYPE, DIMSE_HAS_DATA);
	dimse_put_pdu(b, &c, context_id);
}

void
dimse_put_event(struct buf *b, const struct dimse_event *e, uint8_t context_id)
{
	struct buf c = BUF_MAX(DIMSE_COMMAND_MAX);

	dimse_put_uid(&c, TAG_CMD_SOP_CLASS, e->sop_class);
	dimse_put_u16(&c, TAG_CMD_FIELD, DIMSE_N_EVENT_REPORT_RQ);
	dimse_put_u16(&c, TAG_CMD_ID, e->message_id);
	dimse_put_u16(&c, TAG_CMD_DATA_TYPE, DIMSE_HAS_DATA);
	dimse_put_uid(&c, TAG_CMD_SOP_UID, e->sop_uid);
	dimse_put_u16(&c, TAG_CMD_EVENT, e->event);
	dimse_put_pdu(b, &c, context_id);
}

void
dimse_put_response(struct buf *b, const struct dimse_command *cmd,
    uint8_t context_id, uint16_t status)
{
	struct buf c = BUF_MAX(DIMSE_COMMAND_MAX);

	dimse_put_uid(&c, TAG_CMD_SOP_CLASS, cmd->sop_class);
	dimse_put_u16(&c, TAG_CMD_FIELD, (uint16_t)(cmd->field | DIMSE_RSP));
	dimse_put_u16(&c, TAG_CMD_RESPONDED, cmd->message_id);
	dimse_put_u16(&c, TAG_CMD_DATA_TYPE, DIMSE_NO_DATA);
	dimse_put_u16(&c, TAG_CMD_STATUS, status);
	dimse_put_uid(&c, TAG_CMD_SOP_UID, cmd->sop_uid);
	dimse_put_pdu(b, &c, context_id);
}

static void
dimse_put_text(struct buf *b, uint16_t elem, const char *vr, const char *text)
{
	size_t n = strlen(text);
	uint8_t pad = vr[0] == 'U' ? '\0' : ' ';

	buf_u16(b, 0x0002);
	buf_u16(b, elem);
	buf_put(b, vr, 2);
	buf_u16(b, (uint16_t)(n + n % 2));
	buf_put(b, text, n);
	if (n % 2 != 0)
		buf_u8(b, pad);
}

void
dimse_put_meta(struct buf *b, const struct dimse_meta *m)
{
	static const uint8_t version[] = { 0x02, 0, 0x01, 0, 'O', 'B', 0, 0, 2,
		0, 0, 0, 0, 1 };
	struct buf g = BUF_MAX(DIMSE_COMMAND_MAX);

	buf_put(&g, version, sizeof(version));
	dimse_put_text(&g, 0x0002, "UI", m->sop_class);
	dimse_put_text(&g, 0x0003, "UI", m->sop_uid);
	dimse_put_text(&g, 0x0010, "UI", m->transfer_syntax);
	dimse_put_text(&g, 0x0012, "UI", IDENT_CLASS_UID);
	dimse_put_text(&g, 0x0013, "SH", IDENT_VERSION);
	if (m->calling_ae[0] != '\0')
		dimse_put_text(&g, 0x0016, "AE", m->calling_ae);
	buf_put_zero(b, 128);
	buf_put_str(b, "DICM");
	buf_u16(b, 0x0002);
	buf_u16(b, 0x0000);
	buf_put_str(b, "UL");
	buf_u16(b, 4);
	buf_u32(b, (uint32_t)g.n);
	buf_put_slice(b, buf_slice(&g));
	if (buf_err(&g) != ERR_OK)
		b->err = buf_err(&g);
	buf_fini(&g);
}
