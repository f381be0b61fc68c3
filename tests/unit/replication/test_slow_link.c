/* Two cores and a link of 10 Mbit/s with 50 ms there and back, in virtual
 * time: an interactive chunk of 64 KiB is there within 200 ms while a backfill
 * saturates the link, and the backfill keeps nearly all of it.  The host's
 * queue is the one of node/net: RE_SENT when little content is left in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

#define RATE 1250u   /* bytes a millisecond */
#define DELAY_MS 25u /* each way */
#define FRAME 16384u
#define UNSENT 49152u /* in the socket's and the kernel's queue */
#define SENT_LOW 8192u
#define CHUNKS 24u
#define BIG ((size_t)700 * 1024)
#define SMALL ((size_t)64 * 1024)

/* A message on its way: queued at the sender, then on the wire. */
struct flight {
	struct flight *next;
	uint8_t type;
	enum sess_class cls;
	struct buf body;
	uint64_t at_ms;
};

struct side {
	struct repl *core;
	struct flight *queue[SESS_CLASSES]; /* session */
	struct flight *wire;                /* kernel and cable, in order */
	size_t bulk;                        /* bytes in queue[SESS_BULK] */
	uint64_t free_us;                   /* when the cable is free */
	bool owes_sent;
};

struct world {
	uint64_t now;
	struct side lab, centre;
	struct cry_id cid[CHUNKS + 1];
	uint8_t *bytes;
	uint64_t came[CHUNKS + 1];
};

static struct world *w_;

static size_t
chunk_size(uint32_t i)
{
	return i == CHUNKS ? SMALL : BIG;
}

static void
chunk_bytes(uint32_t i, struct slice *out)
{
	memset(w_->bytes, (int)i + 1, chunk_size(i));
	*out = slice_of(w_->bytes, chunk_size(i));
}

static uint32_t
chunk_find(const struct cry_id *cid)
{
	uint32_t i = 0;

	while (memcmp(&w_->cid[i], cid, sizeof(*cid)) != 0)
		assert_true(++i <= CHUNKS);
	return i;
}

static void
queue_add(struct flight **at, struct flight *f)
{
	while (*at != NULL)
		at = &(*at)->next;
	*at = f;
}

static void step(struct side *s, struct repl_event *ev);

static void
flight_new(struct side *s, const struct repl_effect *fx)
{
	struct flight *f = mem_new(sizeof(*f));

	assert_non_null(f);
	f->type = fx->type;
	f->cls = fx->cls;
	f->body = BUF_MAX(LIM_MESSAGE_BYTES);
	buf_put_slice(&f->body, fx->bytes);
	queue_add(&s->queue[fx->cls], f);
	if (fx->cls == SESS_BULK)
		s->bulk += f->body.n;
	s->owes_sent = true;
}

static void
effect(struct side *s, const struct repl_effect *fx)
{
	struct repl_event ev = { .token = fx->token };
	struct slice bytes;
	uint32_t i;

	if (fx->kind == RX_SEND) {
		flight_new(s, fx);
		return;
	}
	assert_int_not_equal(fx->kind, RX_CLOSE);
	if (fx->kind == RX_FETCH_CHUNK) {
		chunk_bytes(chunk_find(&fx->cid), &bytes);
		ev.kind = RE_FETCHED;
		ev.bytes = bytes;
		step(s, &ev);
	} else if (fx->kind == RX_PERSIST_CHUNK) {
		i = chunk_find(&fx->cid);
		w_->came[i] = w_->now;
		ev.kind = RE_PERSISTED;
		step(s, &ev);
	}
}

static void
step(struct side *s, struct repl_event *ev)
{
	struct repl_effects fx;
	struct repl_effect *own;
	uint32_t n;

	ev->now_ms = w_->now;
	assert_int_equal(repl_step(s->core, ev, &fx), ERR_OK);
	if ((n = fx.n) == 0)
		return;
	/* What an effect borrows lives until the next step: sends first. */
	own = mem_array(n, sizeof(*own));
	assert_non_null(own);
	memcpy(own, fx.fx, n * sizeof(*own));
	for (uint32_t i = 0; i < n; i++) {
		if (own[i].kind == RX_SEND)
			effect(s, &own[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (own[i].kind != RX_SEND)
			effect(s, &own[i]);
	}
	mem_free(own);
}

/* What the kernel would take: it holds no more than UNSENT ahead. */
static void
pump(struct side *s)
{
	struct repl_event sent = { .kind = RE_SENT, .conn = 1 };
	uint64_t now_us = w_->now * 1000;
	struct flight *f;

	for (int k = 0; k < SESS_CLASSES; k++) {
		while ((f = s->queue[k]) != NULL &&
		       (s->free_us <= now_us ||
			   (s->free_us - now_us) * RATE / 1000 < UNSENT)) {
			if (s->free_us < now_us)
				s->free_us = now_us;
			s->free_us += (f->body.n + 21) * 1000 / RATE;
			f->at_ms = s->free_us / 1000 + DELAY_MS;
			s->queue[k] = f->next;
			if (k == SESS_BULK)
				s->bulk -= f->body.n;
			f->next = NULL;
			queue_add(&s->wire, f);
		}
	}
	if (s->owes_sent && s->bulk < SENT_LOW) {
		s->owes_sent = false;
		step(s, &sent);
	}
}

static void
deliver(struct side *from, struct side *to)
{
	struct flight *f;

	while ((f = from->wire) != NULL && f->at_ms <= w_->now) {
		struct repl_event ev = { .kind = RE_MSG,
			.conn = 1,
			.type = f->type,
			.bytes = buf_slice(&f->body) };

		from->wire = f->next;
		step(to, &ev);
		buf_fini(&f->body);
		mem_free(f);
	}
}

static void
run(uint64_t ms)
{
	for (uint64_t end = w_->now + ms; w_->now < end; w_->now++) {
		struct repl_event tick = { .kind = RE_TICK };
		struct side *s[2] = { &w_->lab, &w_->centre };

		for (int i = 0; i < 2; i++) {
			if (repl_deadline_ms(s[i]->core) <= w_->now)
				step(s[i], &tick);
			deliver(s[i], s[1 - i]);
		}
		for (int i = 0; i < 4; i++)
			pump(s[i % 2]);
	}
}

static void
side_new(struct side *s, const struct cry_identity *me)
{
	struct repl_opts o = {
		.me = me->pub, .seed = 1, .chunk_window = 256, .paced = true
	};
	struct slice recs[32];
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(chain),
		.records = recs,
		.n_records = (uint32_t)member_seq(chain) + 1 };

	for (uint32_t i = 0; i < ev.n_records; i++)
		recs[i] = member_record(chain, i);
	assert_int_equal(repl_new(&o, &s->core), ERR_OK);
	step(s, &ev);
}

static void
side_up(struct side *s, const struct cry_identity *peer, bool init)
{
	struct repl_event ev = { .kind = RE_CONN_UP,
		.conn = 1,
		.initiator = init,
		.peer = peer->pub,
		.hash = hash64 };

	step(s, &ev);
}

static void
side_free(struct side *s)
{
	struct flight *f, *next;

	for (int k = 0; k <= SESS_CLASSES; k++) {
		f = k < SESS_CLASSES ? s->queue[k] : s->wire;
		for (; f != NULL; f = next) {
			next = f->next;
			buf_fini(&f->body);
			mem_free(f);
		}
	}
	repl_free(s->core);
}

static void
lab_want(uint32_t i, enum repl_class cls)
{
	struct repl_event ev = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = 1,
		.cls = cls,
		.cid = w_->cid[i],
		.c_len = (uint32_t)chunk_size(i) };

	step(&w_->lab, &ev);
}

static void
world_new(struct world *w)
{
	struct slice bytes;

	memset(w, 0, sizeof(*w));
	w_ = w;
	w->now = 1000;
	w->bytes = mem_array(BIG, 1);
	assert_non_null(w->bytes);
	for (uint32_t i = 0; i <= CHUNKS; i++) {
		chunk_bytes(i, &bytes);
		cry_hash(bytes, &w->cid[i]);
	}
	side_new(&w->lab, &rd);
	side_new(&w->centre, &wr);
	side_up(&w->centre, &rd, false);
	side_up(&w->lab, &wr, true);
	run(500);
}

static void
world_free(struct world *w)
{
	side_free(&w->lab);
	side_free(&w->centre);
	mem_free(w->bytes);
}

static void
test_interactive_is_there_within_200_ms_of_a_saturated_link(void **state)
{
	uint64_t asked, first = UINT64_MAX, last = 0, bytes = 0;
	struct world w;

	(void)state;
	world_new(&w);
	for (uint32_t i = 0; i < CHUNKS; i++)
		lab_want(i, REPL_BACKFILL);
	run(5000);
	asked = w.now;
	lab_want(CHUNKS, REPL_INTERACTIVE);
	run(5000);
	assert_true(w.came[CHUNKS] != 0);
	print_message("interactive: %llu ms\n",
	    (unsigned long long)(w.came[CHUNKS] - asked));
	assert_true(w.came[CHUNKS] - asked < 200);
	/* the link was full all the while */
	for (uint32_t i = 0; i < CHUNKS; i++) {
		if (w.came[i] == 0)
			continue;
		bytes += BIG;
		first = w.came[i] < first ? w.came[i] : first;
		last = w.came[i] > last ? w.came[i] : last;
	}
	assert_true(last > first);
	print_message("backfill: %llu bytes/s\n",
	    (unsigned long long)((bytes - BIG) * 1000 / (last - first)));
	assert_true((bytes - BIG) / (last - first) > (uint64_t)RATE * 9 / 10);
	world_free(&w);
}

/* Each class moves while those before it have something to send. */
static void
test_no_class_starves(void **state)
{
	uint32_t n[REPL_CLASSES] = { 0 };
	struct world w;

	(void)state;
	world_new(&w);
	for (uint32_t i = 0; i < CHUNKS; i++)
		lab_want(i,
		    (enum repl_class)(i % 2 == 0 ? REPL_FRESH : REPL_BACKFILL));
	run(9000);
	for (uint32_t i = 0; i < CHUNKS; i++)
		n[i % 2 == 0 ? REPL_FRESH : REPL_BACKFILL] += w.came[i] != 0;
	assert_true(n[REPL_FRESH] > n[REPL_BACKFILL]);
	assert_true(n[REPL_BACKFILL] > 0);
	world_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_interactive_is_there_within_200_ms_of_a_saturated_link),
		cmocka_unit_test(test_no_class_starves),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
