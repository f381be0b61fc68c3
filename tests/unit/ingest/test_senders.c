/* A sender is calling AE title, address and called AE title together: what
 * is refused is said with cause and next act, and one that keeps calling, or
 * makes up names, does not fill the audit. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

static const char text[] =
    "site: a\ndicom:\n  ae_title: HERE\n  inboxes:\n"
    "  - {calling_ae: '*', share: any}\n"
    "  - {calling_ae: CT, share: near, from: [10.1.0.0/16]}\n"
    "  - {calling_ae: CT, share: far, from: ['fd00::/8']}\n"
    "  - {calling_ae: CT, share: other, called_ae: TRIAL, "
    "from: [10.1.0.0/16]}\n"
    "  - {calling_ae: MR, share: mr}\n"
    "  - {calling_ae: SAFE, share: safe, from: [10.1.0.0/16], tls: true}\n";

static struct conf c;
static bool by_tls;

static const struct conf_inbox *
call(const char *calling, const char *called, const char *address,
    enum img_admit *answer, struct errmsg *em)
{
	struct peer_address from = { 0 };
	struct sender_claim s = { calling, called, &from, by_tls };
	struct conf_net net;

	assert_int_equal(conf_net_parse(address, &net), ERR_OK);
	memcpy(from.ip, net.ip, 16);
	(void)snprintf(from.text, sizeof(from.text), "%s", address);
	return sender_inbox(&c, &s, answer, em);
}

static void
expect_share(const char *calling, const char *called, const char *address,
    const char *share)
{
	enum img_admit answer = IMG_REFUSED_CALLED_AE;
	struct errmsg em = { 0 };
	const struct conf_inbox *in =
	    call(calling, called, address, &answer, &em);

	assert_non_null(in);
	assert_string_equal(in->to.share, share);
	assert_int_equal(answer, IMG_ADMITTED);
}

static void
expect_refused(const char *calling, const char *called, const char *address,
    enum img_admit how, const char *cause)
{
	enum img_admit answer = IMG_ADMITTED;
	struct errmsg em = { 0 };

	assert_null(call(calling, called, address, &answer, &em));
	assert_int_equal(answer, how);
	assert_non_null(strstr(em.cause, cause));
	assert_true(em.next[0] != '\0');
}

static void
test_title_address_and_called_title_decide_together(void **state)
{
	(void)state;
	assert_int_equal(conf_parse(SLICE_LIT(text), "f", &c, NULL), ERR_OK);
	expect_share("CT", "HERE", "10.1.2.3", "near");
	expect_share("CT", "HERE", "fd12::1", "far");
	expect_share("CT", "TRIAL", "10.1.2.3", "other");
	expect_share("MR", "HERE", "192.0.2.1", "mr");
	expect_share("XX", "HERE", "192.0.2.1", "any");
	/* a title with inboxes of its own is not let in by "*" */
	expect_refused("CT", "HERE", "192.0.2.1", IMG_REFUSED_CALLING_AE,
	    "may not call from 192.0.2.1");
	expect_refused("CT", "TRIAL", "fd12::1", IMG_REFUSED_CALLED_AE,
	    "called AE title is not HERE");
	expect_refused("MR", "TRIAL", "192.0.2.1", IMG_REFUSED_CALLED_AE,
	    "called AE title is not HERE");
	expect_refused("SAFE", "HERE", "10.1.2.3", IMG_REFUSED_CALLING_AE,
	    "must call by TLS");
	expect_refused("SAFE", "HERE", "192.0.2.1", IMG_REFUSED_CALLING_AE,
	    "may not call from 192.0.2.1");
	by_tls = true;
	expect_share("SAFE", "HERE", "10.1.2.3", "safe");
	expect_share("MR", "HERE", "192.0.2.1", "mr");
	by_tls = false;
	c.inboxes[0].calling_ae[0] = 'Q';
	expect_refused("XX", "HERE", "192.0.2.1", IMG_REFUSED_CALLING_AE,
	    "is in no inbox");
}

static int
count_row(void *ctx, const struct cat_audit *a)
{
	uint32_t *n = ctx;

	assert_string_equal(a->act, "association.refused");
	assert_non_null(strstr(a->object, " > HERE from 192.0.2.1"));
	assert_string_equal(a->reason, "calling AE title is in no inbox");
	(*n)++;
	return 0;
}

static uint32_t
audited(struct store *s)
{
	struct db_txn *t;
	uint32_t n = 0;

	assert_int_equal(store_read(s, &t), ERR_OK);
	assert_int_equal(cat_audit_each(s, t, count_row, &n), ERR_OK);
	db_abort(t);
	return n;
}

static void
test_a_refusal_is_audited_once_in_a_while(void **state)
{
	struct store_opts o = { .segment_bytes = 1 << 20,
		.map_bytes = (size_t)1 << 28 };
	struct ingest *g = mem_new(sizeof(*g));
	struct peer_address from = { .text = "192.0.2.1" };
	struct errmsg em = { .cause = "calling AE title is in no inbox" };
	struct cry_identity me;
	struct cry_box_sk recovery;
	char dir[TMPDIR_MAX], title[IMG_AE_MAX + 1];
	struct sender_claim s = { title, "HERE", &from, false };
	uint32_t i;

	(void)state;
	assert_non_null(g);
	tmpdir_make(dir);
	cry_identity_new(&me, &recovery);
	g->o.me = &me;
	o.dir = dir;
	o.local = me.local;
	o.convergence = me.convergence;
	(void)pthread_mutex_init(&g->mu, NULL);
	assert_int_equal(store_open(&o, &g->o.store, NULL), ERR_OK);
	(void)snprintf(title, sizeof(title), "SAME");
	for (i = 0; i < 50; i++)
		sender_refused(g, &s, &em);
	assert_int_equal(audited(g->o.store), 1);
	for (i = 0; i < 200; i++) {
		(void)snprintf(title, sizeof(title), "MADEUP%u", i);
		sender_refused(g, &s, &em);
	}
	assert_int_equal(audited(g->o.store), SENDERS_TOLD_MAX);
	store_close(g->o.store);
	(void)pthread_mutex_destroy(&g->mu);
	mem_free(g);
	tmpdir_remove(dir);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_title_address_and_called_title_decide_together),
		cmocka_unit_test(test_a_refusal_is_audited_once_in_a_while),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
