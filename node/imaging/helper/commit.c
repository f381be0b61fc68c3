/* node/imaging/helper/commit.c: what a sender wants our word for.
 *
 * Happy path: transaction and references are read with the one walker, and
 * handed to the node in messages of so many; its verdict on the last is the
 * status of the N-ACTION: 0, it will be reported.
 * Failure modes: what is ill-formed, or more than we promise for at once, is
 * answered with a failure, and the sender keeps its copies. */
#include "node/imaging/helper/commit.h"

#include "node/imaging/helper/object.h"
#include "node/imaging/helper/walk.h"
#include "store/base/mem.h"

#define TAG_TRANSACTION 0x00081195u
#define TAG_REFERENCES 0x00081199u
#define TAG_REF_CLASS 0x00081150u
#define TAG_REF_UID 0x00081155u
#define STATUS_NO_ACTION 0x0123u
#define STATUS_INVALID 0x0115u
#define ACTION_REQUEST 1u

void
commit_put_head(struct buf *b, const char *transfer_syntax)
{
	const struct dimse_meta meta = { .sop_class = "1.2",
		.sop_uid = "1.2",
		.transfer_syntax = transfer_syntax,
		.calling_ae = "" };

	dimse_put_meta(b, &meta);
}

static bool
ref_uid(const struct dcm_file *f, uint32_t item, uint32_t tag, char *out)
{
	struct slice v = dcm_trimmed(f, dcm_find_in(f, item, tag));

	if (v.n == 0 || v.n > IMG_UID_MAX)
		return false;
	memcpy(out, v.p, v.n);
	out[v.n] = '\0';
	return msg_uid_ok(out);
}

static enum err
commit_send(struct link *l, struct img_commit *c)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);

	msg_put_commit(&b, c);
	c->n = 0;
	return link_send(l, &b, NULL, 0);
}

/* Are all of them well formed, and not too many? */
static bool
refs_check(const struct dcm_file *f, uint32_t seq, struct img_ref *room)
{
	uint32_t i, to, n = 0;

	if (seq == DCM_NONE)
		return false;
	dcm_level(f, seq, &i, &to);
	for (; i < to; i = f->e[i].skip) {
		if (++n > IMG_COMMIT_REFS ||
		    !ref_uid(f, i, TAG_REF_CLASS, room->sop_class) ||
		    !ref_uid(f, i, TAG_REF_UID, room->sop_uid))
			return false;
	}
	return n > 0;
}

static enum err
refs_send(struct link *l, const struct dcm_file *f, uint32_t seq,
    struct img_commit *c, struct img_ref *room)
{
	uint32_t i, to;
	enum err e = ERR_OK;

	c->refs = room;
	dcm_level(f, seq, &i, &to);
	for (; e == ERR_OK && i < to; i = f->e[i].skip) {
		struct img_ref *r = &room[c->n++];

		(void)ref_uid(f, i, TAG_REF_CLASS, r->sop_class);
		(void)ref_uid(f, i, TAG_REF_UID, r->sop_uid);
		c->last = f->e[i].skip >= to;
		if (c->last || c->n == IMG_REFS_MAX)
			e = commit_send(l, c);
	}
	return e;
}

enum err
commit_offer(struct link *l, const struct dimse_command *cmd,
    const struct buf *data, uint16_t *status)
{
	struct img_ref *room = mem_array(IMG_REFS_MAX, sizeof(*room));
	struct img_commit c = { .n = 0 };
	struct dcm_file *f = NULL;
	enum err e = ERR_OK;
	uint32_t seq;

	*status = STATUS_INVALID;
	if (cmd->action != ACTION_REQUEST) {
		*status = STATUS_NO_ACTION;
	} else if (room == NULL || buf_err(data) != ERR_OK ||
		   dcm_open(buf_slice(data), &f, NULL) != ERR_OK) {
		*status = IMG_STATUS_FAILED;
	} else {
		seq = dcm_find(f, TAG_REFERENCES);
		dcm_text(
		    f, TAG_TRANSACTION, c.transaction, sizeof(c.transaction));
		if (msg_uid_ok(c.transaction) && refs_check(f, seq, room)) {
			e = refs_send(l, f, seq, &c, room);
			if (e == ERR_OK)
				e = object_verdict(l, status);
		}
	}
	dcm_close(f);
	mem_free(room);
	return e;
}
