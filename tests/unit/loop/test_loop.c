/* tests/unit/loop/test_loop.c: connections on loopback, timers, wakes from
 * another thread, work; every handle is gone at the end (loop_free insists).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "node/loop/loop.h"
#include "store/base/limits.h"

#define assert_ok(e) assert_int_equal((e), ERR_OK)
#define BIG ((size_t)3 * MIB)

struct end {
	struct loop_conn *c;
	size_t got, sent;
	uint8_t sum;
	int ups, closes, wrotes;
	enum err why;
	char text[96];
};

struct world {
	struct loop *l;
	struct loop_listen *listen;
	struct loop_timer *timer;
	struct loop_wake *wake;
	struct end a, b; /* a dials */
	int ticks, wakes, works, dones;
	pthread_t work_thread;
	uint16_t port;
};

static struct world w;

static int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	assert_ok(loop_new(&w.l));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	loop_free(w.l);
	return 0;
}

static void
send_big(struct end *e)
{
	struct buf b = BUF_MAX(BIG);
	size_t i;

	assert_non_null(buf_room(&b, BIG));
	for (i = 0; i < BIG; i++)
		b.p[i] = (uint8_t)(i * 7);
	buf_grew(&b, BIG);
	assert_ok(loop_conn_write(e->c, &b));
	assert_int_equal(b.n, 0);
	e->sent = BIG;
}

static void
end_up(void *ctx)
{
	struct end *e = ctx;

	e->ups++;
	loop_conn_read(e->c, true);
	send_big(e);
}

static void
end_read(void *ctx, struct slice in)
{
	struct end *e = ctx;
	size_t i;

	for (i = 0; i < in.n; i++)
		e->sum = (uint8_t)(e->sum ^ in.p[i] ^ (e->got + i));
	e->got += in.n;
	if (e->got == BIG) /* the server has it all: hang up */
		loop_conn_close(e->c);
}

static void
end_wrote(void *ctx)
{
	((struct end *)ctx)->wrotes++;
}

static void
end_closed(void *ctx, enum err why, const char *text)
{
	struct end *e = ctx;

	e->closes++;
	e->why = why;
	e->c = NULL;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	if (e == &w.b) { /* the test is over */
		loop_listen_close(w.listen);
		w.listen = NULL;
	}
}

static const struct loop_conn_cb cb = { end_up, end_read, end_wrote,
	end_closed };

static void
accept_one(void *ctx)
{
	(void)ctx;
	assert_ok(loop_listen_take(w.listen, &cb, &w.b, &w.b.c));
	loop_conn_read(w.b.c, true);
}

static void
listen_on_any(void)
{
	char text[LOOP_ADDR_TEXT];
	const char *p;

	assert_ok(
	    loop_listen_new(w.l, "127.0.0.1", 0, accept_one, NULL, &w.listen));
	loop_listen_addr(w.listen, text);
	p = strrchr(text, ':');
	assert_non_null(p);
	for (p++; *p != '\0'; p++)
		w.port = (uint16_t)(w.port * 10 + (*p - '0'));
}

static void
dial(const char *host)
{
	struct loop_dial d = { .host = host, .port = w.port };

	assert_ok(loop_conn_dial(w.l, &d, &cb, &w.a, &w.a.c));
}

static void
bytes_arrive_and_both_ends_hear_the_close_once(void **state)
{
	uint8_t sum = 0;
	size_t i;

	(void)state;
	listen_on_any();
	dial("127.0.0.1");
	loop_run(w.l);
	assert_int_equal(w.a.ups, 1);
	assert_int_equal(w.a.wrotes, 1);
	assert_int_equal(w.b.got, BIG);
	for (i = 0; i < BIG; i++)
		sum = (uint8_t)(sum ^ (uint8_t)(i * 7) ^ i);
	assert_int_equal(w.b.sum, sum);
	assert_int_equal(w.b.closes, 1);
	assert_int_equal(w.b.why, ERR_OK);
	assert_int_equal(w.a.closes, 1);
	assert_int_equal(w.a.why, ERR_IO);
}

static void
closed_while_its_name_is_resolved(void **state)
{
	(void)state;
	w.port = 9;
	dial("localhost");
	loop_conn_close(w.a.c);
	loop_conn_close(w.a.c);          /* again does nothing */
	assert_int_equal(w.a.closes, 0); /* never from inside the call */
	loop_run(w.l);
	assert_int_equal(w.a.ups, 0);
	assert_int_equal(w.a.closes, 1);
	assert_int_equal(w.a.why, ERR_OK);
}

static void
refused_dial_is_told(void **state)
{
	(void)state;
	listen_on_any();
	loop_listen_close(w.listen);
	w.listen = NULL;
	dial("127.0.0.1");
	loop_run(w.l);
	assert_int_equal(w.a.ups, 0);
	assert_int_equal(w.a.closes, 1);
	assert_int_equal(w.a.why, ERR_IO);
	assert_string_equal(w.a.text, "connection refused");
}

static void
taken_port_is_busy(void **state)
{
	struct loop_listen *two = NULL;

	(void)state;
	listen_on_any();
	assert_int_equal(
	    loop_listen_new(w.l, "127.0.0.1", w.port, accept_one, NULL, &two),
	    ERR_BUSY);
	loop_listen_close(w.listen);
	loop_run(w.l);
}

static void
tick(void *ctx)
{
	(void)ctx;
	if (++w.ticks == 3)
		loop_timer_close(w.timer);
	else
		loop_timer_start(w.timer, 1);
}

static void
timer_fires_once_each_time_it_is_armed(void **state)
{
	(void)state;
	assert_ok(loop_timer_new(w.l, tick, NULL, &w.timer));
	loop_timer_start(w.timer, 1);
	loop_run(w.l);
	assert_int_equal(w.ticks, 3);
}

static void
woken(void *ctx)
{
	(void)ctx;
	w.wakes++;
	loop_wake_close(w.wake);
}

static void *
other_thread(void *arg)
{
	(void)arg;
	loop_wake_send(w.wake);
	return NULL;
}

static void
other_thread_wakes_the_loop(void **state)
{
	pthread_t t;

	(void)state;
	assert_ok(loop_wake_new(w.l, woken, NULL, &w.wake));
	assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
	loop_run(w.l);
	pthread_join(t, NULL);
	assert_int_equal(w.wakes, 1);
}

static void
work_fn(void *ctx)
{
	(void)ctx;
	w.works++;
	w.work_thread = pthread_self();
}

static void
work_done(void *ctx)
{
	(void)ctx;
	w.dones++;
	assert_false(pthread_equal(w.work_thread, pthread_self()));
}

static void
work_runs_elsewhere_and_ends_here(void **state)
{
	(void)state;
	assert_ok(loop_work(w.l, work_fn, work_done, NULL));
	assert_int_equal(w.dones, 0); /* never from inside the call */
	loop_run(w.l);
	assert_int_equal(w.works, 1);
	assert_int_equal(w.dones, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_arrive_and_both_ends_hear_the_close_once),
		T(closed_while_its_name_is_resolved),
		T(refused_dial_is_told),
		T(taken_port_is_busy),
		T(timer_fires_once_each_time_it_is_armed),
		T(other_thread_wakes_the_loop),
		T(work_runs_elsewhere_and_ends_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
