/* A membership chain longer than a message, and than any queue, reaches a
 * peer in pages, by credit; a connection that breaks goes on where it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

#define COMPARTMENTS 250
#define FAT_GRANTS 420 /* each seals the keys of all compartments */
#define CHAIN_BYTES (6 * (size_t)MIB)
#define WINDOW ((size_t)2 * MIB) /* one, and a message */

static struct cry_identity late;

static size_t
chain_bytes(void)
{
	size_t n = 0;

	for (uint64_t i = 0; i <= member_seq(chain); i++)
		n += member_record(chain, i).n;
	return n;
}

/* Grants to hub and late come first or last. */
static void
chain_fatten(bool late_last)
{
	struct buf rec = BUF_MAX(MIB);
	struct cry_box_sk recovery;

	for (int i = 2; i < COMPARTMENTS; i++) {
		assert_int_equal(
		    member_build_compartment(chain, &reg, &keys, "c", &rec),
		    ERR_OK);
		chain_add(&rec);
	}
	assert_int_equal(
	    member_open_keys(chain, &reg.pub, &reg.box_sk, &keys), ERR_OK);
	for (int i = 0; i < FAT_GRANTS; i++) {
		struct cry_identity one;

		cry_identity_new(&one, &recovery);
		chain_grant(&one, ROLE_READER, COMPARTMENT_ALL);
	}
	if (late_last)
		chain_grant(&late, ROLE_READER, 1);
	buf_fini(&rec);
}

static void
give_chain(struct end *e, uint64_t records)
{
	struct slice *recs = mem_array(records, sizeof(*recs));
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(chain),
		.records = recs,
		.n_records = (uint32_t)records };

	assert_non_null(recs);
	for (uint64_t i = 0; i < records; i++)
		recs[i] = member_record(chain, i);
	feed(e, &ev);
	mem_free(recs);
}

static size_t
mlog_bytes(const struct end *e)
{
	size_t n = 0;

	for (uint32_t i = 0; i < e->n_sent; i++)
		n += e->sent[i].type == MSG_MLOG ? e->sent[i].body.n : 0;
	return n;
}

static void
pass_one(struct end *from, struct end *to)
{
	struct sent *s = &from->sent[from->read++];
	struct repl_event ev = { .kind = RE_MSG,
		.conn = 1,
		.type = s->type,
		.bytes = buf_slice(&s->body) };

	feed(to, &ev);
}

/* Messages of both ways, until so many bytes of the chain went. */
static void
pass_until(struct end *a, struct end *b, size_t mlog)
{
	while (mlog_bytes(a) < mlog) {
		assert_int_equal(a->closed + b->closed, 0);
		if (a->read < a->n_sent)
			pass_one(a, b);
		else if (b->read < b->n_sent)
			pass_one(b, a);
		else
			tick(a, 1100); /* when it sends the chain unasked */
	}
	while (a->read < a->n_sent)
		pass_one(a, b);
}

static void
drop(struct end *a, struct end *b)
{
	conn_down(a, 1);
	conn_down(b, 1);
	a->read = a->n_sent;
	b->read = b->n_sent;
}

static void
test_a_member_far_behind_gets_pages_by_credit(void **state)
{
	uint64_t all = member_seq(chain) + 1;
	struct end a, b;

	(void)state;
	assert_true(chain_bytes() > CHAIN_BYTES);
	end_new(&a, &hub);
	end_new(&b, &rd);
	give_chain(&a, all);
	give_chain(&b, 8); /* it is in, and has seen no more */
	conn_up(&b, 1, &hub, false);
	conn_up(&a, 1, &rd, true);
	while (b.read < b.n_sent) /* it asks */
		pass_one(&b, &a);
	while (a.n_sent > a.read && a.sent[a.read].type != MSG_MLOG)
		pass_one(&a, &b);
	while (b.read < b.n_sent)
		pass_one(&b, &a);
	/* no answer heard: no more than its credit is under way */
	assert_true(mlog_bytes(&a) > 0);
	assert_true(mlog_bytes(&a) <= WINDOW);
	settle(&a, &b);
	assert_int_equal(
	    member_seq(repl_member(b.core, member_share(chain))), all - 1);
	assert_int_equal(a.closed + b.closed, 0);
	assert_true(mlog_bytes(&a) < chain_bytes() + 64 * KIB);
	end_free(&a);
	end_free(&b);
}

static void
test_a_joiner_goes_on_where_the_connection_broke(void **state)
{
	struct repl_event ev = { .kind = RE_JOIN,
		.share = *member_share(chain),
		.registrar = reg.pub.sign };
	struct invite inv = { .share = ev.share, .registrar = ev.registrar };
	struct buf claim = BUF_MAX(KIB);
	uint64_t all = member_seq(chain) + 1;
	struct end a, b;

	(void)state;
	assert_int_equal(claim_build(&inv, &late, "x", &claim), ERR_OK);
	ev.bytes = buf_slice(&claim);
	end_new(&a, &hub);
	end_new(&b, &late);
	give_chain(&a, all);
	feed(&b, &ev);
	conn_up(&b, 1, &hub, false);
	conn_up(&a, 1, &late, true);
	pass_until(&a, &b, chain_bytes() / 2);
	assert_int_equal(b.records_persisted, 0); /* not in by what it saw */
	drop(&a, &b);
	join(&a, &late, &b, &hub);
	settle(&a, &b);
	assert_int_equal(b.records_persisted, all);
	assert_int_equal(a.closed + b.closed, 0);
	/* what had come did not come again */
	assert_true(mlog_bytes(&a) < chain_bytes() + MIB);
	end_free(&a);
	end_free(&b);
	buf_fini(&claim);
}

static int
setup(void **state)
{
	struct cry_box_sk recovery;

	cry_identity_new(&late, &recovery);
	if (group_setup(state) != 0)
		return 1;
	chain_fatten(true);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_member_far_behind_gets_pages_by_credit),
		cmocka_unit_test(
		    test_a_joiner_goes_on_where_the_connection_broke),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, setup, group_teardown);
}
