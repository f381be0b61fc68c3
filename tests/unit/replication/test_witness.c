/* What members sign that they hold: said when it changed, kept, passed on,
 * and found out where it does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

#define HOUR 3600000u

static const struct cry_identity *
by_key(const struct cry_sign_pk *d)
{
	const struct cry_identity *all[] = { &reg, &wr, &rd, &hub, &out };

	for (size_t i = 0; i < 5; i++) {
		if (same_sign_key(d, all[i]))
			return all[i];
	}
	return NULL;
}

/* The row of one member in compartment 1. */
static struct repl_words_row
word(const struct end *e, const struct cry_identity *who)
{
	struct repl_words_row row[16], none = { .what = REPL_WORDS };
	uint32_t n = repl_words(e->core, row, 16);

	assert_true(n <= 16);
	for (uint32_t i = 0; i < n; i++) {
		assert_non_null(by_key(&row[i].device));
		if (row[i].compartment == 1 &&
		    same_sign_key(&row[i].device, who))
			return row[i];
	}
	return none;
}

static struct witness
statement(const struct cry_identity *who, uint64_t no, uint64_t own)
{
	struct witness w = { .share = *member_share(chain),
		.compartment = 1,
		.device = who->pub.sign,
		.no = no,
		.chain_seq = member_seq(chain),
		.chain_head = *member_head(chain),
		.ops = own,
		.own_ops = own };

	return w;
}

static void
tell_statement(struct end *e, repl_conn c, const struct witness *w,
    const struct cry_identity *signer)
{
	struct buf b = BUF_MAX(WITNESS_BYTES_MAX);
	struct msg m = { .type = MSG_WITNESS, .tag = tag(true) };

	witness_encode(w, &b);
	assert_int_equal(witness_sign(&b, 77, &signer->sign_sk), ERR_OK);
	m.bytes = buf_slice(&b);
	tell(e, c, &m);
	buf_fini(&b);
}

static void
member_new_end(struct end *e, const struct cry_identity *me)
{
	end_new(e, me);
	e->signer = me;
	e->keep = me;
	end_share(e, member_seq(chain) + 1);
}

static void
sent_forget(struct end *e)
{
	while (e->n_sent > 0)
		buf_fini(&e->sent[--e->n_sent].body);
	e->read = 0;
}

/* wr writes and speaks to the hub. */
static void
pair(struct end *a, struct end *b, struct run *run)
{
	member_new_end(a, &wr);
	member_new_end(b, &hub);
	join(a, &wr, b, &hub);
	run_make(run, &wr, 1, 5, 3);
	local(a, run);
	settle(a, b);
	tick(a, 5000);
	tick(b, 5000);
	settle(a, b);
}

static void
test_what_changed_is_signed_once_and_heard(void **state)
{
	struct end a, b;
	struct run run;
	uint32_t said;

	(void)state;
	pair(&a, &b, &run);
	assert_int_equal(word(&b, &wr).no, 1);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_OK);
	assert_int_equal(word(&a, &hub).no, 1);
	assert_int_equal(word(&a, &wr).no, 1);
	said = count(&a, MSG_WITNESS);
	/* nothing changed: nothing is said, though hours pass */
	for (int i = 0; i < 4; i++) {
		tick(&a, HOUR);
		sent_forget(&a); /* pings of no interest */
	}
	assert_int_equal(word(&a, &wr).no, 1);
	assert_true(said >= 1);
	end_free(&a);
	end_free(&b);
	run_free(&run);
}

/* Who waits to know that all came needs the word of who sent it. */
static void
test_what_one_wrote_itself_is_signed_within_minutes(void **state)
{
	struct end a, b;
	struct run run, more;

	(void)state;
	pair(&a, &b, &run);
	assert_int_equal(word(&b, &wr).own_ops, 3);
	run_make(&more, &wr, 1, 6, 2);
	local(&a, &more);
	settle(&a, &b);
	tick(&a, 60000); /* one a minute, and no more than that */
	settle(&a, &b);
	assert_int_equal(word(&b, &wr).no, 1);
	tick(&b, 70000);
	tick(&a, 10000);
	settle(&a, &b);
	assert_int_equal(word(&b, &wr).no, 2);
	assert_int_equal(word(&b, &wr).own_ops, 5);
	/* what others wrote has time */
	assert_int_equal(word(&a, &hub).no, 1);
	end_free(&a);
	end_free(&b);
	run_free(&run);
	run_free(&more);
}

static void
test_a_statement_is_durable_before_it_is_told(void **state)
{
	struct end a, b;
	struct run run;

	(void)state;
	member_new_end(&a, &wr);
	member_new_end(&b, &hub);
	join(&a, &wr, &b, &hub);
	run_make(&run, &wr, 1, 5, 3);
	local(&a, &run);
	settle(&a, &b);
	a.hold_persists = true;
	tick(&a, 5000);
	assert_true(a.witnesses >= 1);
	assert_int_equal(count(&a, MSG_WITNESS), 0);
	assert_int_equal(word(&a, &wr).what, REPL_WORDS);
	end_free(&a);
	end_free(&b);
	run_free(&run);
}

/* Started again from what was on its disk before the last statement. */
static void
test_node_that_was_put_back_is_found_by_all_and_by_itself(void **state)
{
	struct end a, b, again;
	struct run run;

	(void)state;
	pair(&a, &b, &run);
	assert_int_equal(word(&b, &wr).no, 1);
	member_new_end(&again, &wr); /* an old snapshot: nothing of it */
	conn_down(&b, 1);
	sent_forget(&b);
	join(&again, &wr, &b, &hub);
	settle(&again, &b);
	assert_int_equal(word(&again, &wr).what, REPL_WORD_PUT_BACK);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_PUT_BACK);
	assert_true(word(&b, &wr).no > 1);
	assert_int_equal(word(&b, &hub).what, REPL_WORD_OK);
	end_free(&a);
	end_free(&b);
	end_free(&again);
	run_free(&run);
}

static void
test_what_proves_it_survives_a_restart(void **state)
{
	struct end b, again;
	struct repl_event ev = { .kind = RE_WITNESS, .compartment = 1 };
	struct witness w = statement(&wr, 1, 9);

	(void)state;
	live(&b, &hub, &wr);
	b.keep = &wr;
	tell_statement(&b, 1, &w, &wr);
	w = statement(&wr, 2, 5); /* it had signed for nine */
	tell_statement(&b, 1, &w, &wr);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_PUT_BACK);
	member_new_end(&again, &hub);
	ev.share = *member_share(chain);
	ev.ops.feed.device = wr.pub.sign;
	ev.bytes = buf_slice(&b.kept);
	feed(&again, &ev);
	assert_int_equal(word(&again, &wr).what, REPL_WORD_PUT_BACK);
	assert_int_equal(word(&again, &wr).no, 2);
	end_free(&b);
	end_free(&again);
}

/* Older and later, in whatever order they come. */
static void
test_the_older_of_two_words_may_come_last(void **state)
{
	struct end b;
	struct witness w = statement(&wr, 7, 5);

	(void)state;
	live(&b, &hub, &wr);
	tell_statement(&b, 1, &w, &wr);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_OK);
	w = statement(&wr, 3, 9);
	tell_statement(&b, 1, &w, &wr);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_PUT_BACK);
	assert_int_equal(word(&b, &wr).no, 7);
	end_free(&b);
}

static void
test_ops_that_are_withheld_are_missed_by_name(void **state)
{
	struct end b;
	struct witness w = statement(&wr, 1, 4);

	(void)state;
	live(&b, &rd, &hub); /* the hub brings the word, not the ops */
	tell_statement(&b, 1, &w, &wr);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_OK); /* on its way */
	b.now += 70000;
	tick(&b, 1);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_OWN);
	assert_int_equal(word(&b, &wr).n, 4);
	end_free(&b);
}

static void
test_words_that_are_withheld_are_missed_by_name(void **state)
{
	struct end b;
	struct witness w = statement(&reg, 1, 0);

	(void)state;
	live(&b, &rd, &hub);
	w.n_heard = 1;
	memcpy(w.heard[0].device, wr.pub.sign.b, 8);
	w.heard[0].no = 6;
	tell_statement(&b, 1, &w, &reg);
	b.now += 70000;
	tick(&b, 1);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_UNHEARD);
	assert_int_equal(word(&b, &wr).no, 0);
	w = statement(&wr, 5, 0); /* an older one than others have */
	tell_statement(&b, 1, &w, &wr);
	b.now += 70000;
	tick(&b, 1);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_UNHEARD);
	w = statement(&wr, 6, 0);
	tell_statement(&b, 1, &w, &wr);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_OK);
	end_free(&b);
}

static void
test_other_ops_records_and_chains_are_missed(void **state)
{
	struct end b;
	struct witness w = statement(&reg, 1, 0);

	(void)state;
	live(&b, &rd, &hub);
	w.ops = 12;
	tell_statement(&b, 1, &w, &reg);
	w = statement(&wr, 1, 0);
	w.chain_seq += 2;
	tell_statement(&b, 1, &w, &wr);
	w = statement(&hub, 1, 0);
	w.chain_head.b[0] ^= 1;
	tell_statement(&b, 1, &w, &hub);
	b.now += 70000;
	tick(&b, 1);
	assert_int_equal(word(&b, &reg).what, REPL_WORD_MORE);
	assert_int_equal(word(&b, &reg).n, 12);
	assert_int_equal(word(&b, &wr).what, REPL_WORD_CHAIN);
	assert_int_equal(word(&b, &wr).n, 2);
	assert_int_equal(word(&b, &hub).what, REPL_WORD_BRANCH);
	end_free(&b);
}

static void
test_false_words_close_and_strangers_words_are_not_kept(void **state)
{
	struct end b;
	struct witness w = statement(&out, 1, 4);

	(void)state;
	live(&b, &rd, &hub);
	tell_statement(&b, 1, &w, &out); /* no member */
	assert_int_equal(b.witnesses, 0);
	assert_int_equal(b.closed, 0);
	w = statement(&rd, 1, 4);
	w.compartment = 2; /* of which a reader of 1 hears nothing */
	tell_statement(&b, 1, &w, &rd);
	assert_int_equal(b.witnesses, 0);
	w = statement(&wr, 1, 4);
	tell_statement(&b, 1, &w, &hub); /* by another hand */
	assert_int_equal(b.closed, 1);
	assert_int_equal(b.close_err, ERR_AUTH);
	assert_int_equal(b.witnesses, 0);
	end_free(&b);
}

/* A flood of words by one member is not passed on. */
static void
test_one_word_a_minute_is_kept(void **state)
{
	struct end b;

	(void)state;
	live(&b, &hub, &wr);
	for (uint64_t no = 1; no <= 50; no++) {
		struct witness w = statement(&wr, no, no);

		tell_statement(&b, 1, &w, &wr);
	}
	assert_int_equal(b.witnesses, 1);
	assert_int_equal(word(&b, &wr).no, 1);
	b.now += 61000;
	{
		struct witness w = statement(&wr, 51, 51);

		tell_statement(&b, 1, &w, &wr);
	}
	assert_int_equal(word(&b, &wr).no, 51);
	end_free(&b);
}

/* Two who met cost a sum each; who lacks some gets them, no more. */
static void
test_peers_exchange_only_what_the_other_lacks(void **state)
{
	struct end a, b;
	struct witness w = statement(&wr, 1, 0);

	(void)state;
	live(&a, &hub, &wr);
	tell_statement(&a, 1, &w, &wr);
	w = statement(&rd, 3, 0);
	tell_statement(&a, 1, &w, &rd);
	conn_down(&a, 1);
	sent_forget(&a);
	end_new(&b, &reg);
	end_share(&b, member_seq(chain) + 1);
	join(&a, &hub, &b, &reg);
	assert_int_equal(word(&b, &wr).no, 1);
	assert_int_equal(word(&b, &rd).no, 3);
	assert_int_equal(count(&a, MSG_WITNESS), 2);
	conn_down(&a, 1);
	conn_down(&b, 1);
	sent_forget(&a);
	sent_forget(&b);
	join(&a, &hub, &b, &reg);
	assert_int_equal(count(&a, MSG_WITNESS) + count(&b, MSG_WITNESS), 0);
	assert_int_equal(count(&a, MSG_WITNESSES), 1);
	assert_int_equal(count(&b, MSG_WITNESSES), 1);
	end_free(&a);
	end_free(&b);
}

static void
test_statement_bytes(void **state)
{
	struct witness w = statement(&wr, 3, 4), v;
	struct buf b = BUF_MAX(WITNESS_BYTES_MAX);

	(void)state;
	w.n_heard = WITNESS_HEARD_MAX;
	witness_encode(&w, &b);
	assert_int_equal(witness_sign(&b, 1234567, &wr.sign_sk), ERR_OK);
	assert_int_equal(b.n, WITNESS_BYTES_MAX);
	assert_int_equal(witness_decode(buf_slice(&b), &v), ERR_OK);
	assert_int_equal(v.wall_ms, 1234567);
	assert_int_equal(witness_verify(buf_slice(&b), &v), ERR_OK);
	b.p[100] ^= 1;
	assert_int_equal(witness_decode(buf_slice(&b), &v), ERR_OK);
	assert_int_equal(witness_verify(buf_slice(&b), &v), ERR_AUTH);
	for (size_t n = 0; n < b.n; n++)
		assert_int_not_equal(
		    witness_decode(slice_of(b.p, n), &v), ERR_OK);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statement_bytes),
		cmocka_unit_test(test_what_changed_is_signed_once_and_heard),
		cmocka_unit_test(
		    test_what_one_wrote_itself_is_signed_within_minutes),
		cmocka_unit_test(test_a_statement_is_durable_before_it_is_told),
		cmocka_unit_test(
		    test_node_that_was_put_back_is_found_by_all_and_by_itself),
		cmocka_unit_test(test_what_proves_it_survives_a_restart),
		cmocka_unit_test(test_the_older_of_two_words_may_come_last),
		cmocka_unit_test(test_ops_that_are_withheld_are_missed_by_name),
		cmocka_unit_test(
		    test_words_that_are_withheld_are_missed_by_name),
		cmocka_unit_test(test_other_ops_records_and_chains_are_missed),
		cmocka_unit_test(
		    test_false_words_close_and_strangers_words_are_not_kept),
		cmocka_unit_test(test_one_word_a_minute_is_kept),
		cmocka_unit_test(test_peers_exchange_only_what_the_other_lacks),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
