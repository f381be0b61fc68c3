/* node/imaging/helper/scu.h: the asking side of an association, on a socket
 * that the node connected: dcmtk would open its own, which the sandbox
 * forbids.  PS3.8 for the PDUs.
 *
 * scu_put_request() and scu_get_accept() are pure; the rest blocks up to the
 * idle time and belongs to one thread.  What the peer sends is bounded before
 * it is believed. */
#ifndef PSC_HELPER_SCU_H
#define PSC_HELPER_SCU_H

#include "node/imaging/imaging.h"

#define SCU_CONTEXTS_MAX 128u /* their ids are odd and below 256 */
#define SCU_PDU_MAX 131072u   /* that we take */
#define SCU_IMPLICIT "1.2.840.10008.1.2"

/* What is asked for; its id is 2 * index + 1. */
struct scu_want {
	const char *abstract_syntax;
	const char *const *syntaxes;
	uint32_t n_syntaxes;
	bool scp; /* the peer is to send us objects of this class (C-GET) */
};

struct scu_request {
	const char *calling_ae;
	const char *called_ae;
	const struct scu_want *want;
	uint32_t n; /* at most SCU_CONTEXTS_MAX */
};

/* What the peer accepted, by index of what was asked for. */
struct scu_accepted {
	uint32_t max_pdu; /* that it takes; 0: any */
	char syntax[SCU_CONTEXTS_MAX][IMG_UID_MAX + 1]; /* "": refused */
};

/* A whole A-ASSOCIATE-RQ. */
void scu_put_request(struct buf *b, const struct scu_request *q);
/* The body of an A-ASSOCIATE-AC.  ERR_MALFORMED. */
enum err scu_get_accept(
    struct slice body, struct scu_accepted *out) PSC_MUST_USE;

struct scu_pdv {
	struct slice data; /* until the next call */
	uint8_t context_id;
	bool command;
	bool last;
};

struct scu {
	int fd; /* taken over by scu_open, closed by scu_close */
	uint32_t idle_ms;
	struct buf pdu;    /* body of the last one read */
	struct slice rest; /* of it, not handed out yet */
	struct scu_accepted accepted;
};

/* Asks for the association.  ERR_DENIED: rejected, why says how; ERR_TIMEOUT,
 * ERR_IO, ERR_MALFORMED. */
enum err scu_open(struct scu *s, int fd, uint32_t idle_ms,
    const struct scu_request *q, char why[64]) PSC_MUST_USE;
/* ERR_NOTFOUND: the peer releases; ERR_IO: aborted or gone; ERR_TIMEOUT;
 * ERR_MALFORMED. */
enum err scu_next_pdv(struct scu *s, struct scu_pdv *out) PSC_MUST_USE;
/* Bytes of whole PDUs. */
enum err scu_send(struct scu *s, struct slice in) PSC_MUST_USE;
/* A dataset, in PDUs that the peer takes. */
enum err scu_send_data(
    struct scu *s, uint8_t context_id, struct slice in) PSC_MUST_USE;
void scu_release(struct scu *s); /* asks, and waits for the answer */
void scu_abort(struct scu *s);
void scu_close(struct scu *s);

#endif
