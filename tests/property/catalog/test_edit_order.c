/* tests/property/catalog/test_edit_order.c: puts and edits, applied in any
 * order and some of them twice, give the same catalog hash, fields, tags,
 * facts and answers to queries; a model says which facts live. */
#include "lib/catalog_lib.h"
#include "lib/store_lib.h"
#include "store/catalog/edit.h"

#define ROUNDS 8u
#define SHUFFLES 6u
#define OPS 60u

struct an_op {
	struct cat_origin o;
	bool edit;
	struct cat_edit e;
	struct buf value, payload;
	struct cat_seen seen;
	struct asset_id asset;
	char name[32];
};

static const char *const keys[] = { "R1", "R2", "R3" };
static const char *const groups[] = { "G1", "G2" };

static void
random_put(struct prng *r, struct an_op *p)
{
	static const char *const tags[] = { "qc=passed", "new" };
	struct buf f;
	struct cat_node path[2] = {
		{ .level = "subject", .key = "S1" },
		{ .level = "series", .key = keys[prng_below(r, 3)] },
	};
	struct cat_put put;

	path[1].fields = cl_map1(&f, "Modality", "MR");
	put = cl_put_of(path, 2);
	put.tags = tags + prng_below(r, 2);
	put.n_tags = prng_below(r, 2);
	assert_int_equal(cat_put_encode(&put, &p->payload), ERR_OK);
	buf_fini(&f);
}

static void
random_kind(struct prng *r, struct an_op *p)
{
	static const enum cat_edit_kind kinds[] = { CAT_FIELD_SET,
		CAT_FIELD_SET, CAT_FIELD_SET, CAT_TAG_ADD, CAT_TAG_ADD,
		CAT_TAG_REMOVE, CAT_TAG_REMOVE, CAT_LINK_ADD, CAT_LINK_REMOVE,
		CAT_NOTE, CAT_RETIRE, CAT_UNRETIRE, CAT_LOCK, CAT_UNLOCK };
	static const char *const fields[] = { "Modality", "grade" };
	static const char *const tags[] = { "qc=passed", "new", "qc=failed" };
	const char *name = "";

	p->e.kind = kinds[prng_below(r, 14)];
	p->e.level = "series";
	p->e.key = keys[prng_below(r, 3)];
	if (p->e.kind == CAT_FIELD_SET) {
		name = fields[prng_below(r, 2)];
		p->e.type = CAT_TYPE_NUMBER;
		if (prng_below(r, 4) > 0)
			mp_w_u64(&p->value, prng_below(r, 5));
	} else if (p->e.kind == CAT_TAG_ADD || p->e.kind == CAT_TAG_REMOVE) {
		name = tags[prng_below(r, 3)];
		if (prng_below(r, 2) == 0) {
			p->e.level = CAT_LEVEL_GROUP;
			p->e.key = groups[prng_below(r, 2)];
		}
	} else if (p->e.kind == CAT_LINK_ADD || p->e.kind == CAT_LINK_REMOVE) {
		name = CAT_LINK_MEMBER;
		p->e.level = CAT_LEVEL_GROUP;
		p->e.key = groups[prng_below(r, 2)];
		cat_asset_id(
		    &p->o.share, 1, "series", keys[prng_below(r, 3)], &p->e.to);
	} else if (p->e.kind == CAT_NOTE) {
		mp_w_cstr(&p->value, "seen");
	} else if (p->e.kind == CAT_LOCK || p->e.kind == CAT_UNLOCK) {
		name = prng_below(r, 2) ? "ada@north" : "bob@south";
	}
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	p->e.name = slice_str(p->name);
	p->e.value = buf_slice(&p->value);
}

/* The same place: kinds that end each other, name, target, asset. */
static bool
same_place(const struct cat_edit *a, const struct cat_edit *b)
{
	static const char place[] = " FTTLLNRRKK";

	return place[a->kind] == place[b->kind] && a->kind != CAT_NOTE &&
	       strcmp(a->level, b->level) == 0 && strcmp(a->key, b->key) == 0 &&
	       slice_eq(a->name, b->name) &&
	       memcmp(&a->to, &b->to, sizeof(a->to)) == 0;
}

/* An author saw some of what came before, in its own order. */
static void
random_seen(struct prng *r, struct an_op *ops, uint32_t i)
{
	struct an_op *p = &ops[i];
	uint32_t k;

	for (k = 0; k < i; k++) {
		struct stamp s = { ops[k].o.lamport, ops[k].o.op_id };

		if (ops[k].edit && same_place(&ops[k].e, &p->e) &&
		    s.lamport < p->o.lamport && prng_below(r, 3) > 0)
			p->seen.v[p->seen.n++ % CAT_SEEN_MAX] = s;
	}
	if (p->seen.n > CAT_SEEN_MAX)
		p->seen.n = CAT_SEEN_MAX;
}

static void
random_op(struct prng *r, struct an_op *ops, uint32_t i)
{
	struct an_op *p = &ops[i];

	memset(p, 0, sizeof(*p));
	p->payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	p->value = BUF_MAX(256);
	p->o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lamport = 1 + i / 3,
		.wall_ms = prng_below(r, 100000),
		.op_id = cl_id("op", i) };
	p->edit = prng_below(r, 5) > 0;
	if (!p->edit) {
		random_put(r, p);
		return;
	}
	p->e.actor = "ada@north";
	p->e.site = "north";
	p->e.reason = "so";
	random_kind(r, p);
	random_seen(r, ops, i);
	assert_int_equal(cat_edit_encode(&p->e, &p->seen, &p->payload), ERR_OK);
}

/* --- what a reader sees --- */

struct seen_all {
	struct cry_hasher h;
	uint32_t live;
	struct db_txn *t;
};

static int
add_field(void *ctx, struct slice name, struct slice value)
{
	struct seen_all *s = ctx;

	cry_hasher_add(&s->h, name);
	cry_hasher_add(&s->h, value);
	return 0;
}

static int
add_tag(void *ctx, struct slice tag)
{
	cry_hasher_add(&((struct seen_all *)ctx)->h, tag);
	return 0;
}

static int
add_fact(void *ctx, const struct cat_fact *f)
{
	struct seen_all *s = ctx;
	uint8_t b[2] = { (uint8_t)f->kind, f->live };

	cry_hasher_add(&s->h, slice_of(b, 2));
	cry_hasher_add(&s->h, slice_of(f->op.b, 32));
	s->live += f->live && !f->by_put;
	return 0;
}

static int
add_found(void *ctx, const struct cat_asset *a)
{
	((uint64_t *)ctx)[0] += 1;
	((uint64_t *)ctx)[1] ^= *(const uint64_t *)(const void *)a->id.b;
	return 0;
}

static void
add_query(struct cl *c, struct seen_all *s, const char *text)
{
	struct cat_query *q = NULL;
	struct errmsg em = { 0 };
	uint64_t found[2] = { 0 };

	assert_int_equal(cat_query_parse(slice_str(text), &q, &em), ERR_OK);
	assert_int_equal(
	    cat_find(c->s, s->t, q, NULL, add_found, found), ERR_OK);
	cat_query_free(q);
	cry_hasher_add(&s->h, slice_of(found, sizeof(found)));
}

struct summary {
	struct cry_id hash, views;
	uint32_t live;
};

static void
add_asset(struct seen_all *s, const char *level, const char *key)
{
	struct cry_id share = cl_id("share", 1);
	struct asset_id id;
	enum err e;

	cat_asset_id(&share, 1, level, key, &id);
	e = cat_fields_each(s->t, &id, add_field, s);
	if (e == ERR_OK)
		e = cat_tags_each(s->t, &id, add_tag, s);
	if (e == ERR_OK)
		e = cat_facts_each(s->t, &id, 0, false, add_fact, s);
	assert_true(e == ERR_OK || e == ERR_NOTFOUND);
}

static void
summarise(struct cl *c, struct summary *out)
{
	struct seen_all s = { .t = cl_read(c) };
	uint32_t i;

	memset(out, 0, sizeof(*out));
	cry_hasher_init(&s.h);
	for (i = 0; i < 3; i++)
		add_asset(&s, "series", keys[i]);
	for (i = 0; i < 2; i++)
		add_asset(&s, CAT_LEVEL_GROUP, groups[i]);
	add_query(c, &s, "tag:qc");
	add_query(c, &s, "tag:qc=passed and level=series");
	add_query(c, &s, "grade>1");
	add_query(c, &s, "Modality=MR");
	add_query(c, &s, "retired=true");
	add_query(c, &s, "retired=false");
	cry_hasher_end(&s.h, &out->views);
	out->live = s.live;
	assert_int_equal(cat_hash(c->s, s.t, 1, 1, &out->hash), ERR_OK);
	db_abort(s.t);
}

struct batch {
	struct an_op *ops;
	const uint32_t *order;
	uint32_t n;
};

static enum err
apply_all(struct store_txn *t, void *ctx)
{
	struct batch *b = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < b->n && e == ERR_OK; i++) {
		struct an_op *p = &b->ops[b->order[i]];

		p->o.lseq = i + 1; /* arrival order: local */
		e = oplog_share_add(t, &p->o.share, &p->o.share_no);
		if (e == ERR_OK && p->edit)
			e = cat_apply_edit(
			    t, &p->o, buf_slice(&p->payload), &p->asset);
		else if (e == ERR_OK)
			e = cat_apply_put(
			    t, &p->o, buf_slice(&p->payload), &p->asset);
	}
	return e;
}

static void
apply_in(
    struct an_op *ops, const uint32_t *order, uint32_t n, struct summary *out)
{
	struct batch b = { ops, order, n };
	struct cl c;

	cl_init(&c);
	assert_int_equal(store_write(c.s, apply_all, &b), ERR_OK);
	summarise(&c, out);
	cl_fini(&c);
}

/* Lives: an edit that lays a fact which no other edit has seen. */
static uint32_t
model_live(const struct an_op *ops)
{
	uint32_t i, k, m, n = 0;

	for (i = 0; i < OPS; i++) {
		enum cat_edit_kind kind = ops[i].e.kind;
		bool live = ops[i].edit && kind != CAT_TAG_REMOVE &&
			    kind != CAT_LINK_REMOVE && kind != CAT_UNLOCK;

		for (k = 0; k < OPS && live; k++) {
			for (m = 0; m < ops[k].seen.n && live; m++)
				live = memcmp(&ops[k].seen.v[m].op,
					   &ops[i].o.op_id, 32) != 0;
		}
		n += live;
	}
	return n;
}

static void
shuffle(struct prng *r, uint32_t *order, uint32_t n)
{
	uint32_t i;

	for (i = n - 1; i > 0; i--) {
		uint32_t j = prng_below(r, i + 1), x = order[i];

		order[i] = order[j];
		order[j] = x;
	}
}

static void
one_round(uint64_t seed)
{
	struct prng r = { .s = seed };
	static struct an_op ops[OPS];
	uint32_t order[OPS + 8], i, n;
	struct summary first, other;

	for (i = 0; i < OPS; i++) {
		random_op(&r, ops, i);
		order[i] = i;
	}
	apply_in(ops, order, OPS, &first);
	assert_int_equal(first.live, model_live(ops));
	for (i = 0; i < SHUFFLES; i++) {
		for (n = OPS; n < OPS + 8; n++)
			order[n] = prng_below(&r, OPS); /* again */
		shuffle(&r, order, OPS + 8);
		/* Each at least once: keep those that are first seen. */
		apply_in(ops, order, OPS + 8, &other);
		if (memcmp(&first, &other, sizeof(first)) != 0)
			print_message("seed %llu\n", (unsigned long long)seed);
		assert_memory_equal(&first, &other, sizeof(first));
		for (n = 0; n < OPS; n++)
			order[n] = n;
	}
	for (i = 0; i < OPS; i++) {
		buf_fini(&ops[i].payload);
		buf_fini(&ops[i].value);
	}
}

static void
test_any_order_of_edits_gives_the_same_catalog(void **state)
{
	uint64_t seed;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	for (seed = 1; seed <= ROUNDS; seed++)
		one_round(seed);
}

static void
test_one_edit_less_gives_another_hash(void **state)
{
	struct prng r = { .s = 7 };
	static struct an_op ops[OPS];
	uint32_t order[OPS], i, last = 0;
	struct summary all, less;

	(void)state;
	assert_int_equal(cry_init(), ERR_OK);
	for (i = 0; i < OPS; i++) {
		random_op(&r, ops, i);
		order[i] = i;
		last = ops[i].edit ? i : last;
	}
	apply_in(ops, order, OPS, &all);
	order[last] = order[0];
	apply_in(ops, order, OPS, &less);
	assert_memory_not_equal(&all.hash, &less.hash, sizeof(all.hash));
	for (i = 0; i < OPS; i++) {
		buf_fini(&ops[i].payload);
		buf_fini(&ops[i].value);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_any_order_of_edits_gives_the_same_catalog),
		cmocka_unit_test(test_one_edit_less_gives_another_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
