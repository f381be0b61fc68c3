/* tests/unit/workflow/test_trigger.c: an arrival starts a run when, and only
 * when, the version it speaks of is here; once, however often it is seen. */
#include "lib/carry.h"
#include "node/workflow/workflow_internal.h"
#include "store/base/mem.h"

static struct site lab, centre;
static struct workflows wf;

static enum err
def_job(struct store_txn *t, void *ctx)
{
	return wf_def_put(t, ctx, SLICE_LIT("yaml"));
}

static int
setup(void **state)
{
	static const char *const names[] = { "c" };
	struct wf_def *d = mem_new(sizeof(*d));
	struct errmsg em = { 0 };
	struct share_info i;

	(void)state;
	site_new(&lab, "lab");
	site_new(&centre, "centre");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	assert_ok(
	    shares_grant(lab.sh, "trial", &lab.me.pub, ROLE_RUNNER, "c", &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &centre.me.pub, ROLE_WRITER, "c", &em));
	assert_non_null(d);
	i = site_share(&lab, "trial");
	memcpy(d->share.b, i.id.b, 32);
	share_info_fini(&i);
	(void)snprintf(d->name, sizeof(d->name), "convert");
	(void)snprintf(d->share_name, sizeof(d->share_name), "trial");
	(void)snprintf(d->where, sizeof(d->where), "level=series");
	(void)snprintf(d->step, sizeof(d->step), "s");
	d->key.b[0] = 1;
	assert_ok(store_write(lab.st, def_job, d));
	mem_free(d);
	wf.o = (struct workflows_opts){
		.store = lab.st, .shares = lab.sh, .site = "lab"
	};
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&centre);
	return 0;
}

/* The centre asks to join, so that records find their way to it. */
static void
centre_joins(void)
{
	struct invite_addr a = { .host = "127.0.0.1", .port = 1 };
	struct share_invite_opts o = { .role = ROLE_READER,
		.compartment = "c",
		.expires_in_s = 60,
		.addrs = &a,
		.n_addrs = 1 };
	struct buf text = BUF_MAX(4096);
	struct errmsg em = { 0 };
	struct invite v;

	assert_ok(shares_invite(lab.sh, "trial", &o, &text, &em));
	assert_ok(shares_join(centre.sh, buf_cstr(&text), &v, &em));
	carry_members(&lab, &centre);
	buf_fini(&text);
}

static void
trigger(void)
{
	bool more = true;

	while (more)
		assert_ok(wf_trigger(&wf, &more));
}

static struct cry_id
head_of(const struct asset_id *id)
{
	struct db_txn *txn = NULL;
	struct cat_asset a;

	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_asset_get(lab.st, txn, id, &a));
	db_abort(txn);
	return a.head.op_id;
}

static int
run_last(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	return (int)wf_run_decode(value, ctx);
}

static struct wf_run
last_run(void)
{
	struct wf_run r = { 0 };
	struct db_txn *txn = NULL;

	assert_ok(store_read(lab.st, &txn));
	assert_ok(store_row_each(
	    lab.st, txn, "run", (struct slice){ 0 }, run_last, &r));
	db_abort(txn);
	return r;
}

/* The first version is complete; before the runner looks, the op of a second
 * one is here, its content not yet. */
static void
newer_version_without_content_waits_for_it(void **state)
{
	uint8_t bytes[20000];
	struct prng g = { 4 };
	struct site_put p = { .s = &centre,
		.share = "trial",
		.compartment = "c",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct cry_id head;
	struct wf_run r;

	(void)state;
	centre_joins();
	prng_fill(&g, bytes, sizeof(bytes));
	assert_ok(site_put(&p));
	assert_int_equal(carry_ops(&centre, &lab), 1);
	assert_true(carry_chunks(&centre, &lab) > 0);
	prng_fill(&g, bytes, sizeof(bytes));
	assert_ok(site_put(&p));
	assert_int_equal(carry_ops(&centre, &lab), 2);
	trigger();
	assert_int_equal(site_rows(&lab, "runq"), 0);
	assert_true(carry_chunks(&centre, &lab) > 0);
	trigger();
	trigger();
	assert_int_equal(site_rows(&lab, "run"), 1);
	assert_int_equal(site_rows(&lab, "runq"), 1);
	r = last_run();
	head = head_of(&p.asset);
	assert_memory_equal(r.input_op.b, head.b, 32);
}

static void
each_complete_version_is_run_once(void **state)
{
	uint8_t bytes[20000];
	struct prng g = { 5 };
	struct site_put p = { .s = &centre,
		.share = "trial",
		.compartment = "c",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	uint64_t n;

	(void)state;
	centre_joins();
	for (n = 1; n <= 3; n++) {
		prng_fill(&g, bytes, sizeof(bytes));
		assert_ok(site_put(&p));
		assert_int_equal(carry_ops(&centre, &lab), n);
		assert_true(carry_chunks(&centre, &lab) > 0);
		trigger();
		trigger();
		assert_int_equal(site_rows(&lab, "run"), n);
	}
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(newer_version_without_content_waits_for_it),
		T(each_complete_version_is_run_once),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
