/* What is held together: one image counts once, one series is of one
 * patient, whoever sends at the same moment. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include "lib/tmpdir.h"
#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

struct world {
	char dir[TMPDIR_MAX];
	struct cry_identity me;
	struct conf conf;
	struct ingest g;
	struct sink sink;
};

static int
setup(void **state)
{
	struct store_opts o = { .segment_bytes = 1 << 20,
		.map_bytes = (size_t)1 << 28 };
	struct world *w = mem_new(sizeof(*w));
	struct cry_box_sk recovery;
	struct errmsg em = { 0 };

	assert_non_null(w);
	tmpdir_make(w->dir);
	cry_identity_new(&w->me, &recovery);
	conf_defaults(&w->conf);
	w->g.o.me = &w->me;
	w->g.o.conf = &w->conf;
	memset(w->sink.share.b, 7, 32);
	(void)snprintf(
	    w->sink.calling_ae, sizeof(w->sink.calling_ae), "SCANNER");
	o.dir = w->dir;
	o.local = w->me.local;
	o.convergence = w->me.convergence;
	assert_int_equal(store_open(&o, &w->g.o.store, &em), ERR_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->g.o.store);
	tmpdir_remove(w->dir);
	mem_free(w);
	return 0;
}

static struct admitted
admit(struct world *w, const char *series, const char *sop, const char *subject)
{
	struct img_object o = { .parsed = true, .releasable = true };
	struct admitted out = { 0 };

	o.original = slice_str(sop);
	o.deid = SLICE_LIT("de-identified");
	(void)snprintf(o.series_uid, sizeof(o.series_uid), "%s", series);
	(void)snprintf(o.sop_uid, sizeof(o.sop_uid), "%s", sop);
	(void)snprintf(o.deid_sop_uid, sizeof(o.deid_sop_uid), "2.25.1");
	assert_int_equal(
	    admit_object(&w->g, &w->sink, &o, subject, &out), ERR_OK);
	return out;
}

static struct q_item
item(struct world *w, uint64_t no)
{
	struct db_txn *t = NULL;
	struct q_item q;

	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	assert_int_equal(q_get(w->g.o.store, t, no, &q), ERR_OK);
	db_abort(t);
	return q;
}

static void
test_a_series_with_two_patients_is_not_releasable(void **state)
{
	struct world *w = *state;
	struct admitted a = admit(w, "1.2.3", "1.2.3.1", "S-1");
	struct admitted b = admit(w, "1.2.3", "1.2.3.2", "S-1");
	struct q_item q;

	assert_int_equal(a.state, ADMIT_STORED);
	assert_int_equal(b.state, ADMIT_STORED);
	assert_int_equal(a.item, b.item);
	assert_false(item(w, a.item).blocked);
	b = admit(w, "1.2.3", "1.2.3.3", "S-2");
	assert_int_equal(b.state, ADMIT_QUARANTINED);
	assert_int_equal(b.item, a.item);
	q = item(w, a.item);
	assert_true(q.blocked);
	assert_int_equal(q.instances, 3);
	assert_string_equal(q.findings[0].kind, "two-patients");
	/* control: another series of the second patient */
	b = admit(w, "1.2.4", "1.2.4.1", "S-2");
	assert_int_equal(b.state, ADMIT_STORED);
}

static void
test_identified_and_deidentified_are_never_taken_for_each_other(void **state)
{
	struct world *w = *state;
	struct admitted a, b;

	w->sink.no_deid = true;
	a = admit(w, "1.2.3", "1.2.3.1", "S-1");
	assert_int_equal(a.state, ADMIT_STORED);
	assert_int_equal(
	    admit(w, "1.2.3", "1.2.3.1", "S-1").state, ADMIT_DUPLICATE);
	/* the slip is put right: the same file, de-identified */
	w->sink.no_deid = false;
	b = admit(w, "1.2.3", "1.2.3.1", "S-1");
	assert_int_equal(b.state, ADMIT_STORED);
	assert_int_not_equal(a.item, b.item);
	assert_memory_not_equal(item(w, a.item).family.b,
	    item(w, b.item).family.b, sizeof(struct key16));
}

struct sender {
	struct world *w;
	pthread_barrier_t *start;
	struct admitted out;
};

static void *
sender_main(void *arg)
{
	struct sender *s = arg;

	(void)pthread_barrier_wait(s->start);
	s->out = admit(s->w, "1.2.3", "1.2.3.1", "S-1");
	return NULL;
}

static void
test_one_image_from_eight_senders_counts_once(void **state)
{
	struct world *w = *state;
	pthread_barrier_t start;
	struct sender s[8];
	pthread_t th[8];
	uint32_t i, stored = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, 8), 0);
	for (i = 0; i < 8; i++) {
		s[i] = (struct sender){ .w = w, .start = &start };
		assert_int_equal(
		    pthread_create(&th[i], NULL, sender_main, &s[i]), 0);
	}
	for (i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(th[i], NULL), 0);
		stored += s[i].out.state == ADMIT_STORED;
	}
	assert_int_equal(stored, 1);
	assert_int_equal(item(w, 1).instances, 1);
	(void)pthread_barrier_destroy(&start);
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_series_with_two_patients_is_not_releasable),
		T(test_identified_and_deidentified_are_never_taken_for_each_other),
		T(test_one_image_from_eight_senders_counts_once),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
