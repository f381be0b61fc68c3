/* tests/property/catalog/test_order.c: the views are a function of the set
 * of ops: any order of applying them gives the same catalog hash, the same
 * heads and the same effective fields. */
#include "lib/catalog_lib.h"
#include "lib/store_lib.h"

#define ROUNDS 6u
#define SHUFFLES 5u
#define OPS 40u

static const char *const names[] = { "Modality", "Age", "Note", "PatientSex" };
static const char *const values[] = { "MR", "CT", "1.5", "20240101", "x" };

static void
random_fields(struct prng *r, struct buf *b)
{
	uint32_t first = prng_below(r, 4), n = prng_below(r, 4), i;

	*b = BUF_MAX(4096);
	mp_w_map(b, n);
	for (i = 0; i < n; i++)
		mp_kv_cstr(b, names[(first + i) % 4], values[prng_below(r, 5)]);
}

/* Few keys, so that ops meet: the same series under two exams, an exam
 * that is put itself, a derived asset below a series or an exam. */
static void
random_op(struct prng *r, struct cl_put *p, uint64_t n)
{
	static const char *const subjects[] = { "S1", "S2" };
	static const char *const exams[] = { "E1", "E2", "E3" };
	static const char *const series[] = { "R1", "R2", "R3", "R4" };
	static const char *const tags[] = { "qc=passed", "qc=failed", "new" };
	struct buf f[4];
	struct cat_node path[4] = {
		{ .level = "subject", .key = subjects[prng_below(r, 2)] },
		{ .level = "exam", .key = exams[prng_below(r, 3)] },
		{ .level = "series", .key = series[prng_below(r, 4)] },
		{ .level = "nifti", .key = series[prng_below(r, 4)] },
	};
	uint32_t from = prng_below(r, 3), i;
	uint32_t to = from + 1 + prng_below(r, from < 2 ? 2 : 1);
	struct cat_put put;

	for (i = 0; i < 4; i++) {
		random_fields(r, &f[i]);
		path[i].fields = buf_slice(&f[i]);
	}
	put = cl_put_of(path + from, to - from + 1);
	if (prng_below(r, 4) == 0)
		put = cl_put_of(path, 1 + prng_below(r, 4));
	put.bytes = prng_below(r, 1000);
	put.tags = tags + prng_below(r, 3);
	put.n_tags = prng_below(r, 2);
	put.derived = prng_below(r, 3) == 0;
	prng_fill(r, put.source.b, sizeof(put.source.b));
	p->payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	assert_int_equal(cat_put_encode(&put, &p->payload), ERR_OK);
	/* Equal lamports, so that op ids decide. */
	p->o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lamport = 1 + prng_below(r, 10),
		.wall_ms = prng_below(r, 100000),
		.op_id = cl_id("op", n) };
	for (i = 0; i < 4; i++)
		buf_fini(&f[i]);
}

struct summary {
	struct cry_id hash;
	struct cry_id heads;
	uint64_t bytes, assets;
};

static int
add_field(void *ctx, struct slice name, struct slice value)
{
	cry_hasher_add(ctx, name);
	cry_hasher_add(ctx, value);
	return 0;
}

static int
add_version(void *ctx, const struct cat_version *v)
{
	cry_hasher_add(ctx, slice_of(v->op_id.b, 32));
	cry_hasher_add(ctx, slice_of(&v->number, sizeof(v->number)));
	return 0;
}

/* What a reader sees of every asset that was put, in op order. */
static void
summarise(struct cl *c, struct cl_put *ops, struct summary *out)
{
	struct db_txn *t = cl_read(c);
	struct cry_hasher h;
	struct cat_asset a;
	uint32_t i;

	cry_hasher_init(&h);
	for (i = 0; i < OPS; i++) {
		const struct asset_id *id = &ops[i].asset;

		assert_int_equal(cat_asset_get(c->s, t, id, &a), ERR_OK);
		cry_hasher_add(&h, slice_of(a.head.op_id.b, 32));
		cry_hasher_add(&h, slice_of(a.parent.b, 20));
		assert_int_equal(cat_fields_each(t, id, add_field, &h), ERR_OK);
		assert_int_equal(
		    cat_versions_each(c->s, t, id, add_version, &h), ERR_OK);
	}
	cry_hasher_end(&h, &out->heads);
	assert_int_equal(cat_hash(c->s, t, 1, 1, &out->hash), ERR_OK);
	assert_int_equal(cat_totals(t, &out->bytes, &out->assets), ERR_OK);
	db_abort(t);
}

struct batch {
	struct cl_put *ops;
	const uint32_t *order;
};

static enum err
apply_all(struct store_txn *t, void *ctx)
{
	struct batch *b = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < OPS && e == ERR_OK; i++) {
		struct cl_put *p = &b->ops[b->order[i]];

		p->o.lseq = i + 1; /* arrival order: local */
		e = cl_put_job(t, p);
	}
	return e;
}

static void
apply_in(struct cl_put *ops, const uint32_t *order, struct summary *out)
{
	struct batch b = { ops, order };
	struct cl c;

	cl_init(&c);
	assert_int_equal(store_write(c.s, apply_all, &b), ERR_OK);
	summarise(&c, ops, out);
	cl_fini(&c);
}

static void
shuffle(struct prng *r, uint32_t *order)
{
	uint32_t i;

	for (i = OPS - 1; i > 0; i--) {
		uint32_t j = prng_below(r, i + 1), x = order[i];

		order[i] = order[j];
		order[j] = x;
	}
}

static void
one_round(uint64_t seed)
{
	struct prng r = { .s = seed };
	static struct cl_put ops[OPS];
	uint32_t order[OPS], i;
	struct summary first, other;

	for (i = 0; i < OPS; i++) {
		random_op(&r, &ops[i], i);
		order[i] = i;
	}
	apply_in(ops, order, &first);
	for (i = 0; i < SHUFFLES; i++) {
		shuffle(&r, order);
		apply_in(ops, order, &other);
		if (memcmp(&first, &other, sizeof(first)) != 0)
			print_message("seed %llu\n", (unsigned long long)seed);
		assert_memory_equal(&first, &other, sizeof(first));
	}
	for (i = 0; i < OPS; i++)
		buf_fini(&ops[i].payload);
}

static void
test_any_order_gives_the_same_catalog(void **state)
{
	uint64_t seed;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	for (seed = 1; seed <= ROUNDS; seed++)
		one_round(seed);
}

static void
test_one_op_less_gives_another_hash(void **state)
{
	struct prng r = { .s = 99 };
	static struct cl_put ops[OPS];
	uint32_t order[OPS], i;
	struct summary all, less;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	for (i = 0; i < OPS; i++) {
		random_op(&r, &ops[i], i);
		order[i] = i;
	}
	apply_in(ops, order, &all);
	order[OPS - 1] = 0; /* the last op never comes, the first twice */
	ops[OPS - 1].asset = ops[0].asset;
	apply_in(ops, order, &less);
	assert_memory_not_equal(&all.hash, &less.hash, sizeof(all.hash));
	for (i = 0; i < OPS; i++)
		buf_fini(&ops[i].payload);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_gives_the_same_catalog),
		cmocka_unit_test(test_one_op_less_gives_another_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
