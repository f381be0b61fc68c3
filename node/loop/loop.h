/* node/loop/loop.h: one event loop: TCP, timers, a wake from other threads,
 * work off the loop.  The only door to libuv.
 *
 * Everything here is called on the loop's thread, except loop_wake_send and
 * the functions that set up before loop_run.  Callbacks run on the loop's
 * thread and never from inside the call that asked for them.  A handle is
 * gone when its close was called; its last callback is `closed` where there
 * is one. */
#ifndef PSC_LOOP_LOOP_H
#define PSC_LOOP_LOOP_H

#include "store/base/buf.h"

struct loop;

enum err loop_new(struct loop **out) PSC_MUST_USE;
/* Runs until every handle is closed and every work is done.  Blocks SIGPIPE
 * in the calling thread. */
void loop_run(struct loop *l);
/* After loop_run returned (or before anything was opened). NULL ok. */
void loop_free(struct loop *l);

/* --- wake: any thread tells the loop to look --- */
struct loop_wake;
typedef void (*loop_fn)(void *ctx);
enum err loop_wake_new(
    struct loop *l, loop_fn fn, void *ctx, struct loop_wake **out) PSC_MUST_USE;
/* Any thread, until the wake is closed.  Several sends may give one call. */
void loop_wake_send(struct loop_wake *w);
void loop_wake_close(struct loop_wake *w); /* NULL ok */

/* --- timers --- */
struct loop_timer;
enum err loop_timer_new(struct loop *l, loop_fn fn, void *ctx,
    struct loop_timer **out) PSC_MUST_USE;
void loop_timer_start(struct loop_timer *t, uint64_t ms); /* once; re-arms */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_close(struct loop_timer *t); /* NULL ok */

/* --- work: fn on a pool thread, then done on the loop --- */
enum err loop_work(
    struct loop *l, loop_fn fn, loop_fn done, void *ctx) PSC_MUST_USE;

/* --- TCP --- */
#define LOOP_ADDR_TEXT 80u
struct loop_conn;
struct loop_conn_cb {
	/* A dialled connection is up. */
	void (*up)(void *ctx);
	void (*read)(void *ctx, struct slice in); /* in is valid in the call */
	void (*wrote)(void *ctx);                 /* a write has finished */
	/* Last call.  why: ERR_OK when we closed, ERR_IO the other side or
	 * the network; text is for people. */
	void (*closed)(void *ctx, enum err why, const char *text);
};
struct loop_dial {
	const char *host; /* a name or a numeric address */
	uint16_t port;
	uint32_t attempt; /* picks among several addresses of a name */
};
/* c may be closed at any time; `closed` comes in every case. */
enum err loop_conn_dial(struct loop *l, const struct loop_dial *d,
    const struct loop_conn_cb *cb, void *ctx,
    struct loop_conn **out) PSC_MUST_USE;
/* Reading is off at first. */
void loop_conn_read(struct loop_conn *c, bool on);
/* Takes the bytes of b (b is empty afterwards, also on failure). */
enum err loop_conn_write(struct loop_conn *c, struct buf *b) PSC_MUST_USE;
/* Bytes accepted but not yet taken by the system. */
size_t loop_conn_pending(const struct loop_conn *c);
/* How much the kernel takes beyond what is on the wire, about. */
void loop_conn_unsent(struct loop_conn *c, size_t bytes);
void loop_conn_addr(const struct loop_conn *c, char out[LOOP_ADDR_TEXT]);
void loop_conn_close(struct loop_conn *c); /* idempotent, NULL ok */

struct loop_listen;
/* A connection waits: take it with loop_listen_take. */
enum err loop_listen_new(struct loop *l, const char *host, uint16_t port,
    loop_fn fn, void *ctx, struct loop_listen **out) PSC_MUST_USE;
/* ERR_NOTFOUND: none waits any more. */
enum err loop_listen_take(struct loop_listen *s, const struct loop_conn_cb *cb,
    void *ctx, struct loop_conn **out) PSC_MUST_USE;
void loop_listen_addr(const struct loop_listen *s, char out[LOOP_ADDR_TEXT]);
void loop_listen_close(struct loop_listen *s); /* NULL ok */

#endif
