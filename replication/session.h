/* replication/session.h: one connection's bytes: Noise XK, then encrypted
 * frames of at most 16 KiB carrying messages of four classes.  Pure: bytes
 * in, bytes out.
 *
 * Frame = u16 LE length | AEAD(type u8, class u8, flags u8 (1 = last part),
 * body).  Messages above one frame are sent in parts; parts of different
 * classes interleave, control first, so bulk never delays control. */
#ifndef PSC_REPLICATION_SESSION_H
#define PSC_REPLICATION_SESSION_H

#include "crypto/identity.h"
#include "crypto/noise.h"
#include "store/base/limits.h"

enum sess_class { SESS_CONTROL, SESS_OPS, SESS_BULK, SESS_RELAY, SESS_CLASSES };

/* Versions of what is said inside a session (docs/protocol.md 8). */
#define SESS_VERSION_MIN 1u
#define SESS_VERSION_MAX 1u

struct sess;

struct sess_params {
	bool initiator;
	const struct cry_identity *me;   /* outlives the session */
	struct cry_box_pk remote_static; /* initiator */
	uint8_t oldest, newest; /* versions spoken; 0, 0: all this build does */
};

struct sess_msg {
	uint8_t type;
	enum sess_class cls;
	struct slice body; /* valid until the next sess_recv or sess_next */
};

enum err sess_new(const struct sess_params *p, struct sess **out) PSC_MUST_USE;
void sess_free(struct sess *s); /* NULL ok */
/* Bytes from the wire.  Any error is final: close the connection.
 * ERR_UNSUPPORTED: the other is who it says, and speaks no version we do. */
enum err sess_recv(struct sess *s, struct slice in) PSC_MUST_USE;
/* The next whole message; ERR_AGAIN when there is none yet. */
enum err sess_next(struct sess *s, struct sess_msg *out) PSC_MUST_USE;
/* Handshake finished and the peer's certificate checked against its static
 * key. */
bool sess_up(const struct sess *s);
const struct cry_device_pub *sess_peer(const struct sess *s); /* when up */
const uint8_t *sess_hash(const struct sess *s); /* 64 bytes, when up */
/* The newest that both speak, when up. */
uint8_t sess_version(const struct sess *s);
/* Queue a message.  ERR_BUSY when the class holds more than its bound. */
enum err sess_send(struct sess *s, enum sess_class c, uint8_t type,
    struct slice body) PSC_MUST_USE;
/* Bytes queued but not yet pulled. */
size_t sess_backlog(const struct sess *s);
/* Of one class. */
size_t sess_queued(const struct sess *s, enum sess_class c);
/* Append up to about max wire bytes to out; 0 new bytes: nothing to send. */
enum err sess_pull(struct sess *s, size_t max, struct buf *out) PSC_MUST_USE;

#endif
