/* node/imaging/helper/dcm_shim.h: all that we use of dcmtk, as plain C.
 *
 * POD in and out; no exception and no dcmtk type crosses.  dcmtk's logging
 * is off.  One association a process (its socket handle is global). */
#ifndef PSC_HELPER_DCM_SHIM_H
#define PSC_HELPER_DCM_SHIM_H

#ifdef __cplusplus
extern "C" {
#endif

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIM_UID_MAX 64u
#define SHIM_AE_MAX 16u
#define SHIM_PDU_MAX 131072

struct shim_assoc;

struct shim_peer {
	char calling_ae[SHIM_AE_MAX + 1];
	char called_ae[SHIM_AE_MAX + 1];
	uint16_t window; /* as window_asked() */
};

struct shim_pdv {
	const uint8_t *p; /* until the next shim_next_pdv() */
	size_t n;
	uint8_t context_id;
	bool command;
	bool last;
};

struct shim_context {
	char abstract_syntax[SHIM_UID_MAX + 1];
	char transfer_syntax[SHIM_UID_MAX + 1];
};

/* Once a process, before the sandbox: quiet the logger, register codecs. */
enum err shim_init(void) PSC_MUST_USE;

/* For conversion, before the sandbox: dictionary and image codecs. */
enum err shim_init_codecs(void) PSC_MUST_USE;
/* JPEG, JPEG-LS or RLE samples of a whole Part 10 file's only frame, native
 * little endian, exactly n bytes.  ERR_UNSUPPORTED: no codec for it. */
enum err shim_decode(
    const uint8_t *file, size_t file_n, uint8_t *out, size_t n) PSC_MUST_USE;

/* Read an A-ASSOCIATE-RQ from fd (taken over on success).  ERR_TIMEOUT,
 * ERR_MALFORMED, ERR_IO, ERR_FOREIGN. */
enum err shim_assoc_receive(int fd, uint32_t idle_s, struct shim_assoc **out,
    struct shim_peer *peer) PSC_MUST_USE;
#define SHIM_COMMIT_CLASS "1.2.840.10008.1.20.1"
/* Accept every storage class, Verification and, if commit, the storage
 * commitment push model in the sender's first transfer
 * syntax that we store; ERR_UNSUPPORTED (and rejected) if nothing is left.
 * window: operations it may have unanswered; 0: it did not ask. */
enum err shim_assoc_accept(struct shim_assoc *a, const char *class_uid,
    const char *version, uint16_t window, bool commit) PSC_MUST_USE;
/* Permanent; called: the called AE title is not ours, else the calling one is
 * not known. */
void shim_assoc_reject(struct shim_assoc *a, bool called);
/* ERR_NOTFOUND: the peer asked for release; ERR_TIMEOUT; ERR_IO: aborted
 * or gone; ERR_MALFORMED. */
enum err shim_next_pdv(struct shim_assoc *a, struct shim_pdv *out) PSC_MUST_USE;
/* The next one has been read already: it came in the PDU of the last one. */
bool shim_pdv_ready(struct shim_assoc *a);
/* ERR_NOTFOUND: no such accepted context. */
enum err shim_context(
    struct shim_assoc *a, uint8_t id, struct shim_context *out) PSC_MUST_USE;
void shim_assoc_release(struct shim_assoc *a); /* answer a release */
void shim_assoc_abort(struct shim_assoc *a);
void shim_assoc_close(struct shim_assoc *a); /* NULL ok */

/* Is this a transfer syntax we store?  (docs: the list in dcm_shim.cc) */
bool shim_syntax_known(const char *uid);
/* The i-th of them; NULL behind the last. */
const char *shim_syntax_at(size_t i);

#ifdef __cplusplus
}
#endif

#endif
