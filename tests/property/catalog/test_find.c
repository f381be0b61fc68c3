/* tests/property/catalog/test_find.c: random queries over random assets give
 * what a naive model gives that scans everything and knows the type of each
 * field, whatever index the planner chose; a limit gives the first of them.
 * Images come out of member tables, which a later version replaces; many
 * fields are alike in all images of a series, and so lie at it once. */
#include "lib/catalog_lib.h"
#include "lib/store_lib.h"

#define SUBJECTS 6u
#define EXAMS 12u
#define SERIES 60u
#define PUTS (SUBJECTS + EXAMS + SERIES)
#define IMAGES 150u /* a series has from none to five */
#define ASSETS (PUTS + IMAGES)
#define QUERIES 400u
#define DEPTH 3u

enum level { SUBJECT, EXAM, SERIE, IMAGE, LEVELS };
static const char *const level_names[LEVELS] = { "subject", "exam", "series",
	"image" };
static const char *const modalities[] = { "MR", "CT", "PT" };

/* Field types: a text, a number (as number or as DS text), a date (DICOM or
 * ISO), a list of numbers; each may be absent. */
struct model {
	enum level level;
	int parent; /* index; -1: none */
	char key[16];
	const char *modality; /* NULL: absent */
	bool has_age, age_text;
	int age;  /* in halves: 3 is 1.5 */
	int date; /* yyyymmdd; 0: absent */
	bool date_iso;
	uint32_t n_echo;
	int echo[3];
	char note[64]; /* long common prefix: beyond the index code */
	int tag;       /* 0: none; qc=1, qc=2 */
};

static struct model all[ASSETS];

static int
random_date(struct prng *r)
{
	return (2022 + (int)prng_below(r, 3)) * 10000 +
	       (1 + (int)prng_below(r, 12)) * 100 + 1 + (int)prng_below(r, 28);
}

static void
random_asset(
    struct prng *r, struct model *m, enum level level, int parent, unsigned no)
{
	memset(m, 0, sizeof(*m));
	m->level = level;
	m->parent = parent;
	(void)snprintf(m->key, sizeof(m->key), "K%u", no);
	if (prng_below(r, 2) == 0)
		m->modality = modalities[prng_below(r, 3)];
	m->has_age = prng_below(r, 2) == 0;
	m->age_text = prng_below(r, 2) == 0;
	m->age = (int)prng_below(r, 40) - 10;
	if (prng_below(r, 2) == 0)
		m->date = random_date(r);
	m->date_iso = prng_below(r, 2) == 0;
	m->n_echo = prng_below(r, 4);
	for (unsigned i = 0; i < m->n_echo; i++)
		m->echo[i] = (int)prng_below(r, 6);
	if (prng_below(r, 2) == 0)
		(void)snprintf(m->note, sizeof(m->note),
		    "a common beginning of forty characters .%u",
		    prng_below(r, 4));
	m->tag = (int)prng_below(r, 3);
}

static void
date_text(int date, bool iso, char *out, size_t cap)
{
	if (iso)
		(void)snprintf(out, cap, "%04d-%02d-%02d", date / 10000,
		    date / 100 % 100, date % 100);
	else
		(void)snprintf(out, cap, "%08d", date);
}

static void
fields_of(const struct model *m, struct buf *b)
{
	char text[32];

	*b = BUF_MAX(4096);
	mp_w_map(b, (m->level == IMAGE) + (m->modality != NULL) + m->has_age +
			(m->date != 0) + (m->n_echo > 0) +
			(m->note[0] != '\0'));
	if (m->level == IMAGE)
		mp_kv_cstr(b, "SOPInstanceUID", m->key);
	if (m->modality != NULL)
		mp_kv_cstr(b, "Modality", m->modality);
	if (m->has_age && m->age_text) {
		(void)snprintf(text, sizeof(text), "%s%d.%d",
		    m->age < 0 ? "-" : "", abs(m->age) / 2,
		    abs(m->age) % 2 * 5);
		mp_kv_cstr(b, "Age", text);
	} else if (m->has_age) {
		mp_kv_f64(b, "Age", m->age / 2.0);
	}
	if (m->date != 0) {
		date_text(m->date, m->date_iso, text, sizeof(text));
		mp_kv_cstr(b, "Date", text);
	}
	if (m->n_echo > 0)
		mp_kv_array(b, "Echo", m->n_echo);
	for (unsigned i = 0; i < m->n_echo; i++)
		mp_w_i64(b, m->echo[i]);
	if (m->note[0] != '\0')
		mp_kv_cstr(b, "Note", m->note);
}

/* Images of a series, most fields of which are the first one's. */
static void
random_images(struct prng *r)
{
	unsigned no = PUTS, s, i;

	for (s = 0; s < SERIES; s++) {
		const struct model *first = &all[no];
		bool text = prng_below(r, 2) == 0, date = prng_below(r, 2) == 0;

		for (i = 0; i < s % 6; i++, no++) {
			struct model *m = &all[no];

			random_asset(r, m, IMAGE, (int)(PUTS - SERIES + s), no);
			m->tag = 0;
			if (text) {
				m->modality = first->modality;
				memcpy(m->note, first->note, sizeof(m->note));
			}
			if (date) {
				m->date = first->date;
				m->date_iso = first->date_iso;
				m->n_echo = first->n_echo;
				memcpy(m->echo, first->echo, sizeof(m->echo));
			}
		}
	}
	assert_int_equal(no, ASSETS);
}

struct put {
	struct cl_put put;
	struct blob_batch *batch; /* of a series: its member table */
	struct content_done done;
};

static void
table_make(struct cl *c, struct put *p, unsigned series)
{
	struct content_writer *w;
	struct buf f;

	p->batch = blob_batch_new(c->s);
	assert_non_null(p->batch);
	w = content_writer_new(p->batch);
	assert_non_null(w);
	for (unsigned i = PUTS; i < ASSETS; i++) {
		struct content_add m = { .name = all[i].key,
			.header = slice_str(all[i].key),
			.len = strlen(all[i].key) };

		if (all[i].parent != (int)series)
			continue;
		cry_hash(m.header, &m.hash);
		fields_of(&all[i], &f);
		m.fields = buf_slice(&f);
		assert_int_equal(content_writer_add(w, &m), ERR_OK);
		buf_fini(&f);
	}
	assert_int_equal(content_writer_end(w, &p->done), ERR_OK);
	content_writer_free(w);
}

static enum err
job_put(struct store_txn *t, void *ctx)
{
	struct put *p = ctx;
	enum err e = cl_put_job(t, &p->put);

	if (e != ERR_OK || p->batch == NULL)
		return e;
	e = blob_batch_put(t, p->batch);
	return e == ERR_OK ? cat_content_complete(t, &p->put.o, &p->put.asset)
			   : e;
}

static void
put_asset(struct cl *c, unsigned no, uint64_t lamport)
{
	static const char *const tags[] = { "qc=1", "qc=2" };
	struct cat_node path[3];
	struct buf f;
	struct put p = { .put.payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES) };
	struct cat_put put;
	uint32_t n = (uint32_t)all[no].level + 1, i;
	int at = (int)no;

	fields_of(&all[no], &f);
	for (i = n; i > 0; i--) {
		path[i - 1] =
		    (struct cat_node){ level_names[i - 1], all[at].key, { 0 } };
		at = all[at].parent;
	}
	path[n - 1].fields = buf_slice(&f);
	put = cl_put_of(path, n);
	if (all[no].tag != 0) {
		put.tags = tags + all[no].tag - 1;
		put.n_tags = 1;
	}
	if (all[no].level == SERIE) {
		table_make(c, &p, no);
		put.manifest = buf_slice(&p.done.manifest);
		put.members = p.done.members;
	}
	p.put.o = (struct cat_origin){ .share = cl_id("share", 1),
		.compartment = 1,
		.lseq = lamport,
		.lamport = lamport,
		.op_id = cl_id("op", lamport) };
	assert_int_equal(cat_put_encode(&put, &p.put.payload), ERR_OK);
	assert_int_equal(store_write(c->s, job_put, &p), ERR_OK);
	blob_batch_free(p.batch);
	content_done_fini(&p.done);
	buf_fini(&p.put.payload);
	buf_fini(&f);
}

/* --- the model's own idea of a query --- */

enum kind { MODALITY, AGE, DATE, ECHO_TIME, NOTE, TAG, LEVEL, KINDS };
enum cmp { EQ, NE, LT, LE, GT, GE };
static const char *const cmp_text[] = { "=", "!=", "<", "<=", ">", ">=" };

struct expr {
	int op; /* 'a' 'o' 'n' or 0: a test */
	int left, right;
	enum kind kind;
	enum cmp cmp;
	int number;
	const char *text;
	char note[64];
};
static struct expr exprs[64];
static int n_exprs;

static bool
holds(enum cmp c, int d)
{
	switch (c) {
	case EQ: return d == 0;
	case NE: return d != 0;
	case LT: return d < 0;
	case LE: return d <= 0;
	case GT: return d > 0;
	case GE: return d >= 0;
	}
	return false;
}

static const struct model *
owner(const struct model *m, enum kind kind)
{
	for (;; m = &all[m->parent]) {
		bool there = (kind == MODALITY && m->modality != NULL) ||
			     (kind == AGE && m->has_age) ||
			     (kind == DATE && m->date != 0) ||
			     (kind == ECHO_TIME && m->n_echo > 0) ||
			     (kind == NOTE && m->note[0] != '\0');

		if (there)
			return m;
		if (m->parent < 0)
			return NULL;
	}
}

static bool
echo_holds(const struct model *o, const struct expr *x)
{
	bool any = false, equal = false;

	for (unsigned i = 0; i < o->n_echo; i++) {
		any = any || holds(x->cmp, o->echo[i] - x->number);
		equal = equal || o->echo[i] == x->number;
	}
	return x->cmp == NE ? !equal : any;
}

static bool
test_holds(const struct model *m, const struct expr *x)
{
	const struct model *o;

	if (x->kind == TAG)
		return x->number == 0 ? m->tag != 0 : m->tag == x->number;
	if (x->kind == LEVEL)
		return holds(x->cmp,
		    strcmp(level_names[m->level], level_names[x->number]));
	o = owner(m, x->kind);
	if (o == NULL)
		return false;
	if (x->kind == MODALITY)
		return holds(x->cmp, strcmp(o->modality, x->text));
	if (x->kind == AGE)
		return holds(x->cmp, o->age - x->number);
	if (x->kind == DATE)
		return holds(x->cmp, o->date - x->number);
	if (x->kind == ECHO_TIME)
		return echo_holds(o, x);
	return holds(x->cmp, strcmp(o->note, x->note));
}

static bool
model_holds(const struct model *m, int e)
{
	const struct expr *x = &exprs[e];

	if (x->op == 'a')
		return model_holds(m, x->left) && model_holds(m, x->right);
	if (x->op == 'o')
		return model_holds(m, x->left) || model_holds(m, x->right);
	if (x->op == 'n')
		return !model_holds(m, x->left);
	return test_holds(m, x);
}

/* --- random queries, as tree and as text --- */

static void
test_text(struct prng *r, struct expr *x, struct buf *b)
{
	char d[32];

	x->kind = (enum kind)prng_below(r, KINDS);
	x->cmp = (enum cmp)prng_below(r, 6);
	switch (x->kind) {
	case MODALITY:
		x->text = modalities[prng_below(r, 3)];
		buf_printf(b, "Modality%s%s", cmp_text[x->cmp], x->text);
		break;
	case AGE:
		x->number = (int)prng_below(r, 40) - 10;
		buf_printf(b, "Age %s %.1f", cmp_text[x->cmp], x->number / 2.0);
		break;
	case DATE:
		x->number = random_date(r);
		date_text(x->number, prng_below(r, 2) == 0, d, sizeof(d));
		buf_printf(b, "Date%s%s", cmp_text[x->cmp], d);
		break;
	case ECHO_TIME:
		x->number = (int)prng_below(r, 6);
		buf_printf(b, "Echo%s%d", cmp_text[x->cmp], x->number);
		break;
	case NOTE:
		(void)snprintf(x->note, sizeof(x->note),
		    "a common beginning of forty characters .%u",
		    prng_below(r, 4));
		buf_printf(b, "Note%s\"%s\"", cmp_text[x->cmp], x->note);
		break;
	case TAG:
		x->number = (int)prng_below(r, 3);
		buf_put_str(b, "tag:qc");
		if (x->number > 0)
			buf_printf(b, "=%d", x->number);
		break;
	case LEVEL:
		x->number = (int)prng_below(r, LEVELS);
		buf_printf(
		    b, "level%s%s", cmp_text[x->cmp], level_names[x->number]);
		break;
	case KINDS: break;
	}
}

static int
random_expr(struct prng *r, struct buf *b, unsigned depth)
{
	int at = n_exprs++;
	struct expr *x = &exprs[at];
	uint32_t pick = prng_below(r, 8);

	memset(x, 0, sizeof(*x));
	if (depth == 0 || pick < 2) {
		test_text(r, x, b);
		return at;
	}
	if (pick == 2) {
		x->op = 'n';
		buf_put_str(b, "not (");
		x->left = random_expr(r, b, depth - 1);
		buf_put_str(b, ")");
		return at;
	}
	x->op = pick < 6 ? 'a' : 'o';
	buf_put_str(b, "(");
	x->left = random_expr(r, b, depth - 1);
	buf_put_str(b, x->op == 'a' ? " and " : " or ");
	x->right = random_expr(r, b, depth - 1);
	buf_put_str(b, ")");
	return at;
}

/* --- both sides --- */

struct found {
	char keys[ASSETS][16];
	uint32_t n;
};

static int
note_found(void *ctx, const struct cat_asset *a)
{
	struct found *f = ctx;

	assert_true(f->n < ASSETS);
	(void)snprintf(f->keys[f->n++], 16, "%.15s", a->key);
	return 0;
}

/* Assets were put in this order, so local numbers follow it too. */
static void
model_find(int root, const char *level, struct found *f)
{
	f->n = 0;
	for (unsigned i = 0; i < ASSETS; i++) {
		if (level != NULL &&
		    strcmp(level, level_names[all[i].level]) != 0)
			continue;
		if (model_holds(&all[i], root))
			(void)snprintf(
			    f->keys[f->n++], 16, "%.15s", all[i].key);
	}
}

static void
same(const struct found *want, const struct found *got, uint64_t limit,
    const char *query)
{
	uint32_t n = limit != 0 && limit < want->n ? (uint32_t)limit : want->n;
	bool ok = got->n == n;

	for (uint32_t i = 0; ok && i < n; i++)
		ok = strcmp(want->keys[i], got->keys[i]) == 0;
	if (!ok)
		print_message("%s: %u found, %u expected\n", query, got->n, n);
	for (uint32_t i = 0; !ok && i < n && i < got->n; i++)
		print_message("%s %s\n", want->keys[i], got->keys[i]);
	assert_true(ok);
}

static uint32_t
one_query(struct cl *c, struct prng *r)
{
	struct buf b = BUF_MAX(8192);
	struct cat_query *q = NULL;
	struct cat_find_opts o = { .limit = prng_below(r, 5) };
	struct found *want = calloc(2, sizeof(*want)), *got = want + 1;
	struct db_txn *t = cl_read(c);
	uint32_t n;
	int root;

	assert_non_null(want);
	if (prng_below(r, 3) == 0)
		o.level = level_names[prng_below(r, LEVELS)];
	n_exprs = 0;
	root = random_expr(r, &b, DEPTH);
	assert_int_equal(cat_query_parse(buf_slice(&b), &q, NULL), ERR_OK);
	assert_int_equal(cat_find(c->s, t, q, &o, note_found, got), ERR_OK);
	model_find(root, o.level, want);
	same(want, got, o.limit, buf_cstr(&b));
	n = want->n;
	cat_query_free(q);
	db_abort(t);
	buf_fini(&b);
	free(want);
	return n;
}

static void
test_find_equals_a_naive_scan(void **state)
{
	struct prng r = { .s = 7 };
	struct cl c;
	uint32_t none = 0, many = 0;

	(void)state;
	cl_init(&c);
	for (unsigned i = 0; i < PUTS; i++) {
		enum level level = i < SUBJECTS           ? SUBJECT
				   : i < SUBJECTS + EXAMS ? EXAM
							  : SERIE;
		int parent = level == SUBJECT ? -1
			     : level == EXAM
				 ? (int)prng_below(&r, SUBJECTS)
				 : (int)(SUBJECTS + prng_below(&r, EXAMS));

		random_asset(&r, &all[i], level, parent, i);
	}
	random_images(&r);
	for (unsigned i = 0; i < PUTS; i++)
		put_asset(&c, i, i + 1);
	random_images(&r); /* and other ones in later versions */
	for (unsigned i = PUTS - SERIES; i < PUTS; i++)
		put_asset(&c, i, i + 1 + PUTS);
	for (unsigned i = 0; i < QUERIES; i++) {
		uint32_t n = one_query(&c, &r);

		none += n == 0;
		many += n > 5;
	}
	/* The generator is worth something: results of every size. */
	assert_true(none < QUERIES / 2 && many > QUERIES / 4);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_equals_a_naive_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
