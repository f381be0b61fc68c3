/* node/imaging/helper/dimse.h: command sets (PS3.7) of the three messages a
 * storage receiver speaks, and the file meta header it writes (PS3.10).
 * Pure. */
#ifndef PSC_HELPER_DIMSE_H
#define PSC_HELPER_DIMSE_H

#include "node/imaging/imaging.h"

#define DIMSE_C_STORE_RQ 0x0001u
#define DIMSE_C_ECHO_RQ 0x0030u
#define DIMSE_C_CANCEL_RQ 0x0FFFu
#define DIMSE_RSP 0x8000u
#define DIMSE_NO_DATA 0x0101u
#define DIMSE_COMMAND_MAX (16 * KIB)
#define DIMSE_UNRECOGNIZED 0x0211u

struct dimse_command {
	uint16_t field;
	uint16_t message_id;
	uint16_t data_type; /* DIMSE_NO_DATA: no dataset follows */
	char sop_class[IMG_UID_MAX + 1];
	char sop_uid[IMG_UID_MAX + 1];
};

/* Implicit little endian, always.  ERR_MALFORMED also for UIDs too long. */
enum err dimse_parse(struct slice in, struct dimse_command *out) PSC_MUST_USE;
/* A whole P-DATA-TF PDU that answers cmd. */
void dimse_put_response(struct buf *b, const struct dimse_command *cmd,
    uint8_t context_id, uint16_t status);

struct dimse_meta {
	const char *sop_class;
	const char *sop_uid;
	const char *transfer_syntax;
	const char *calling_ae;
};

/* Preamble, DICM and group 2, ready for the dataset to follow. */
void dimse_put_meta(struct buf *b, const struct dimse_meta *m);

#endif
