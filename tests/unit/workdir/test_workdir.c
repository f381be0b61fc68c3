/* tests/unit/workdir/test_workdir.c: check-out and check-in on a site of its
 * own, without memory at every allocation: an error, no leak, and nothing of
 * the user's is lost. */
#include <fcntl.h>
#include <unistd.h>

#include "lib/site.h"
#include "node/workdir/workdir_internal.h"
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/catalog/edit.h"

static struct site site;
static struct workdir_env env;
static struct asset_id asset;
static char id[ASSET_ID_TEXT + 1];
static char top[TMPDIR_MAX];

static enum err
gate(
    void *ctx, const struct cry_id *share, struct slice text, struct errmsg *em)
{
	(void)ctx;
	(void)share;
	(void)text;
	(void)em;
	return ERR_OK;
}

static int
setup(void **state)
{
	static const char *const names[] = { "c" };
	static const uint8_t bytes[] = "as it came";
	struct errmsg em = { 0 };
	struct site_put p = { .s = &site,
		.share = "trial",
		.compartment = "c",
		.subject = "s-1",
		.derived = true,
		.bytes = bytes,
		.n = sizeof(bytes) };

	(void)state;
	site_new(&site, "lab");
	tmpdir_make(top);
	assert_ok(shares_create(site.sh, "trial", names, 1, true, &em));
	assert_ok(shares_grant(
	    site.sh, "trial", &site.me.pub, ROLE_WRITER, "c", &em));
	assert_ok(site_put(&p));
	asset = p.asset;
	enc_b32(slice_of(asset.b, sizeof(asset.b)), id);
	env = (struct workdir_env){ .store = site.st,
		.shares = site.sh,
		.site = "lab",
		.helper = "/nonexistent",
		.home = top,
		.gate = gate };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&site);
	tmpdir_remove(top);
	return 0;
}

/* --- asking --- */

struct rows {
	uint32_t n[8];
	char path[CONTENT_NAME_MAX + 1];
};

static int
row_out(void *ctx, const struct workdir_out *o)
{
	struct rows *r = ctx;

	(void)snprintf(r->path, sizeof(r->path), "%s", o->path);
	return 0;
}

static int
row_progress(void *ctx, uint64_t files, uint64_t bytes)
{
	(void)ctx;
	(void)files;
	(void)bytes;
	return 0;
}

static int
row_item(void *ctx, const struct workdir_item *it)
{
	struct rows *r = ctx;

	r->n[it->state]++;
	return 0;
}

static int
row_behind(void *ctx, const struct workdir_behind *b)
{
	struct rows *r = ctx;

	(void)b;
	r->n[7]++;
	return 0;
}

static int
row_in(void *ctx, const struct workdir_in *v)
{
	struct rows *r = ctx;

	(void)v;
	r->n[6]++;
	return 0;
}

static enum err
checkout(const char *dir, struct rows *r)
{
	const char *what = id;
	struct workdir_checkout_opts o = {
		.dir = dir, .what = &what, .n_what = 1, .actor = "tester@lab"
	};
	struct workdir_fns fns = { row_out, row_progress, r };
	struct errmsg em = { 0 };

	return workdir_checkout(&env, &o, &fns, &em);
}

static enum err
diff(const char *dir, struct rows *r)
{
	struct workdir_diff_fns fns = { row_item, row_behind, r };
	struct errmsg em = { 0 };

	memset(r->n, 0, sizeof(r->n));
	return workdir_diff(&env, dir, &fns, &em);
}

static enum err
checkin(const char *dir, bool dry_run, struct rows *r)
{
	struct workdir_checkin_opts o = { .dir = dir,
		.note = "n",
		.reason = "looked at",
		.dry_run = dry_run,
		.actor = "tester@lab" };
	struct workdir_checkin_fns fns = { row_in, row_item, row_progress, r };
	struct workdir_checkin_sum sum;
	struct errmsg em = { 0 };

	memset(r->n, 0, sizeof(r->n));
	return workdir_checkin(&env, &o, &fns, &sum, &em);
}

static void
put(const char *dir, const char *folder, const char *name, const char *text)
{
	char path[1024];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

static uint32_t
heads(void)
{
	struct cry_id h[8];
	struct db_txn *t = NULL;
	uint32_t n = 0;

	assert_ok(store_read(site.st, &t));
	assert_ok(cat_heads(site.st, t, &asset, h, 8, &n));
	db_abort(t);
	return n;
}

static uint32_t
versions(void)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct db_txn *t = NULL;
	uint32_t n;

	assert_non_null(a);
	assert_ok(store_read(site.st, &t));
	assert_ok(cat_asset_get(site.st, t, &asset, a));
	db_abort(t);
	n = a->n_versions;
	mem_free(a);
	return n;
}

/* An act is through when it succeeds so often in a row: what is not essential
 * (a name in the manifest) may do without memory now and then. */
#define THROUGH 12

static void
test_without_memory_it_is_an_error_and_can_be_repeated(void **state)
{
	struct rows r = { .path = "" };
	enum err e = ERR_OK;
	char dir[TMPDIR_MAX + 8];
	long n, failed = 0, good = 0;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/w", top);
	for (n = 0; good < THROUGH; n++) {
		mem_fail_at(n);
		e = checkout(dir, &r);
		mem_fail_at(-1);
		good = e == ERR_OK ? good + 1 : 0;
		failed += e != ERR_OK;
	}
	assert_ok(e);
	assert_true(failed > 20);
	assert_ok(diff(dir, &r));
	assert_int_equal(r.n[WORKDIR_SAME], 1);
	put(dir, r.path, "file.bin", "edited");
	put(dir, r.path, "seg.nii", "added");
	put(dir, ".", ".ignored", "x");
	for (n = 0, good = 0; good < THROUGH; n++) {
		mem_fail_at(n);
		e = diff(dir, &r);
		mem_fail_at(-1);
		good = e == ERR_OK ? good + 1 : 0;
	}
	assert_ok(e);
	assert_int_equal(r.n[WORKDIR_CHANGED], 1);
	assert_int_equal(r.n[WORKDIR_ADDED], 1);
	for (n = 0, good = 0; good < THROUGH; n++) {
		mem_fail_at(n);
		e = checkin(dir, true, &r);
		mem_fail_at(-1);
		good = e == ERR_OK ? good + 1 : 0;
	}
	assert_ok(e);
	assert_int_equal(r.n[6], 2);
	assert_int_equal(versions(), 1); /* dry runs */
	assert_ok(checkin(dir, false, &r));
	assert_int_equal(versions(), 2);
	assert_int_equal(heads(), 1);
	assert_ok(diff(dir, &r));
	assert_int_equal(r.n[WORKDIR_SAME], 2);
}

static void
test_two_at_once_in_one_directory_is_busy(void **state)
{
	struct rows r = { .path = "" };
	struct errmsg em = { 0 };
	char dir[TMPDIR_MAX + 8];
	int fd;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/w", top);
	assert_ok(wd_dir_open(dir, false, &fd, &em));
	assert_int_equal(checkout(dir, &r), ERR_BUSY);
	assert_int_equal(diff(dir, &r), ERR_BUSY);
	assert_int_equal(checkin(dir, false, &r), ERR_BUSY);
	(void)close(fd);
	assert_ok(diff(dir, &r));
}

static void
test_two_directories_make_two_heads(void **state)
{
	struct rows a = { .path = "" }, b = { .path = "" };
	char one[TMPDIR_MAX + 8], two[TMPDIR_MAX + 8];

	(void)state;
	(void)snprintf(one, sizeof(one), "%s/one", top);
	(void)snprintf(two, sizeof(two), "%s/two", top);
	assert_ok(checkout(one, &a));
	assert_ok(checkout(two, &b));
	put(one, a.path, "file.bin", "from one");
	put(two, b.path, "file.bin", "from two");
	assert_ok(checkin(one, false, &a));
	assert_ok(diff(two, &b));
	assert_int_equal(b.n[7], 1);
	assert_ok(checkin(two, false, &b));
	assert_int_equal(heads(), 2);
	assert_int_equal(versions(), 4);
	/* A third follows the default head only: the other stays a head. */
	assert_ok(checkout(one, &a));
	put(one, a.path, "file.bin", "from one again");
	assert_ok(checkin(one, false, &a));
	assert_int_equal(heads(), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_without_memory_it_is_an_error_and_can_be_repeated),
		cmocka_unit_test(test_two_at_once_in_one_directory_is_busy),
		cmocka_unit_test(test_two_directories_make_two_heads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
