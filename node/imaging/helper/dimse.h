/* node/imaging/helper/dimse.h: command sets (PS3.7) of the messages that a
 * storage receiver and a query speak, and the file meta header of what comes
 * (PS3.10).
 * Pure. */
#ifndef PSC_HELPER_DIMSE_H
#define PSC_HELPER_DIMSE_H

#include "node/imaging/imaging.h"

#define DIMSE_C_STORE_RQ 0x0001u
#define DIMSE_C_GET_RQ 0x0010u
#define DIMSE_C_FIND_RQ 0x0020u
#define DIMSE_C_MOVE_RQ 0x0021u
#define DIMSE_C_ECHO_RQ 0x0030u
#define DIMSE_N_EVENT_REPORT_RQ 0x0100u
#define DIMSE_N_ACTION_RQ 0x0130u
#define DIMSE_C_CANCEL_RQ 0x0FFFu
#define DIMSE_RSP 0x8000u
#define DIMSE_NO_DATA 0x0101u
#define DIMSE_COMMAND_MAX (16 * KIB)
#define DIMSE_UNRECOGNIZED 0x0211u
#define DIMSE_PENDING 0xFF00u
#define DIMSE_PENDING_KEYS 0xFF01u /* some keys were not looked at */

struct dimse_command {
	uint16_t field;
	uint16_t message_id;
	uint16_t data_type; /* DIMSE_NO_DATA: no dataset follows */
	/* of responses; not said: 0 */
	uint16_t responded, status;
	uint16_t completed, failed, warned; /* sub-operations */
	uint16_t action;                    /* N-ACTION: its type */
	char sop_class[IMG_UID_MAX + 1];    /* affected or requested */
	char sop_uid[IMG_UID_MAX + 1];
};

/* Implicit little endian, always.  ERR_MALFORMED also for UIDs too long. */
enum err dimse_parse(struct slice in, struct dimse_command *out) PSC_MUST_USE;
/* A whole P-DATA-TF PDU that answers cmd. */
void dimse_put_response(struct buf *b, const struct dimse_command *cmd,
    uint8_t context_id, uint16_t status);

/* A whole P-DATA-TF PDU that asks for a query; its identifier follows. */
struct dimse_request {
	uint16_t field;
	uint16_t message_id;
	const char *sop_class;
	const char *destination; /* C-MOVE; else NULL */
};
void dimse_put_request(
    struct buf *b, const struct dimse_request *q, uint8_t context_id);

/* The same for an N-EVENT-REPORT; its dataset follows. */
struct dimse_event {
	uint16_t message_id;
	uint16_t event;
	const char *sop_class;
	const char *sop_uid;
};
void dimse_put_event(
    struct buf *b, const struct dimse_event *e, uint8_t context_id);

/* An element of an identifier, implicit little endian; padded by what its VR
 * wants: pad ' ' or '\0'. */
void dimse_put_key(struct buf *b, uint32_t tag, const char *text, char pad);

struct dimse_meta {
	const char *sop_class;
	const char *sop_uid;
	const char *transfer_syntax;
	const char *calling_ae;
};

/* Preamble, DICM and group 2, ready for the dataset to follow. */
void dimse_put_meta(struct buf *b, const struct dimse_meta *m);

#endif
