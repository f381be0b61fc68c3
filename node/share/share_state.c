/* node/share/share_state.c: a chain and its keys, loaded and followed.
 *
 * Records are applied in order from the log; keys come from the sealed rows
 * that the job which stored a record wrote beside it.  A state whose last
 * record is not the one in the transaction belongs to a batch that was
 * undone: it is dropped and loaded again. */
#include "node/share/share_internal.h"

void
share_state_free(struct share_state *s)
{
	uint32_t i;

	if (s == NULL)
		return;
	for (i = 0; i <= LIM_COMPARTMENTS; i++)
		mem_free(s->where[i]);
	member_free(s->m);
	member_keys_fini(&s->keys);
	buf_fini(&s->draft);
	mem_free(s);
}

void
share_row_key(struct buf *b, const struct share_id *id)
{
	*b = BUF_MAX(SHARE_KEY_MAX);
	buf_put(b, id->b, sizeof(id->b));
}

const struct member_epoch_key *
share_key(const struct share_state *s, uint16_t compartment, uint32_t epoch)
{
	return member_key(&s->keys, compartment, epoch);
}

enum err
share_open(const struct share_state *s, uint16_t compartment,
    const struct op_view *v, struct buf *out)
{
	enum err e = ERR_NOTFOUND;

	for (uint32_t i = 0; i < s->keys.n; i++) {
		const struct member_epoch_key *k = &s->keys.k[i];

		if (k->compartment != compartment || k->epoch != v->h.epoch)
			continue;
		e = op_open(v, &k->content, out);
		if (e != ERR_AUTH)
			return e;
	}
	return e;
}

/* --- rows --- */

static void
key_row_key(struct buf *b, const struct share_id *id, uint16_t compartment,
    uint32_t epoch)
{
	share_row_key(b, id);
	buf_u8(b, (uint8_t)(compartment >> 8));
	buf_u8(b, (uint8_t)(compartment & 0xff));
	buf_be32(b, epoch);
}

/* Does k bring the ladder that the row lacks? */
static bool
key_better(struct slice row, const struct member_epoch_key *k)
{
	static const struct cry_key none;

	return row.n >= 65 && cry_equal(row.p + 33, none.b, sizeof(none.b)) &&
	       !cry_equal(k->ladder.b, none.b, sizeof(none.b));
}

/* {version u8, content 32, ladder 32, sealed to the recovery key}.
 * Compartment 0 holds the share's name key in place of content. */
static enum err
key_row_put(struct store_txn *t, struct shares *sh, const struct share_id *id,
    const struct member_epoch_key *k, bool *fresh)
{
	struct buf key, plain = BUF_MAX(64), val = BUF_MAX(512), old;
	enum err e;

	*fresh = false;
	old = BUF_MAX(512);
	key_row_key(&key, id, k->compartment, k->epoch);
	e = store_row_get(
	    sh->store, store_txn_db(t), SHARE_TAG_KEY, buf_slice(&key), &old);
	/* Kept already; without the ladder it may be better now. */
	if (e == ERR_OK && !key_better(buf_slice(&old), k))
		goto out;
	*fresh = e == ERR_NOTFOUND;
	if (e != ERR_OK && e != ERR_NOTFOUND)
		goto out;
	buf_put(&plain, k->content.b, sizeof(k->content.b));
	buf_put(&plain, k->ladder.b, sizeof(k->ladder.b));
	buf_u8(&val, SHARE_ROW_VERSION);
	buf_put_slice(&val, buf_slice(&plain));
	cry_seal(&sh->me->recovery, buf_slice(&plain), &val);
	e = buf_err(&val) != ERR_OK ? buf_err(&val) : buf_err(&key);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_KEY, buf_slice(&key), buf_slice(&val));
out:
	buf_fini(&key);
	buf_wipe(&plain);
	buf_wipe(&val);
	buf_wipe(&old);
	return e;
}

/* May ops of this epoch, whose key is new to us, be here already?  Not if it
 * took the place of one that we had: records come before what needs them. */
static bool
key_late(const struct share_state *s, const struct member_epoch_key *k)
{
	return k->epoch != member_epoch(s->m, k->compartment) ||
	       k->epoch == 1 ||
	       member_key(&s->keys, k->compartment, k->epoch - 1) == NULL;
}

static enum err
key_row_drop(struct store_txn *t, struct slice key, uint32_t era)
{
	struct buf old = BUF_MAX(SHARE_KEY_MAX), val = BUF_MAX(512);
	enum err e = store_row_get(
	    store_txn_store(t), store_txn_db(t), SHARE_TAG_KEY, key, &val);

	buf_put_slice(&old, key);
	buf_be32(&old, era);
	if (e == ERR_OK)
		e = buf_err(&old);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_KEY, buf_slice(&old), buf_slice(&val));
	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_KEY, key);
	buf_fini(&old);
	buf_wipe(&val);
	return e;
}

struct keys_of {
	const struct member *at; /* where the branches part */
	struct buf keys;         /* u8 length, key */
};

static int
key_beyond(void *ctx, struct slice key, struct slice value)
{
	struct keys_of *k = ctx;
	struct rd r = rd_init(key);
	uint16_t no;
	uint8_t hi, lo;
	uint32_t epoch;

	(void)value;
	(void)rd_bytes(&r, sizeof(struct share_id));
	hi = rd_u8(&r);
	lo = rd_u8(&r);
	epoch = rd_be32(&r);
	no = (uint16_t)((unsigned)hi << 8 | lo);
	if (r.left > 0 || no == 0 || epoch <= member_epoch(k->at, no))
		return 0;
	buf_u8(&k->keys, (uint8_t)key.n);
	buf_put_slice(&k->keys, key);
	return buf_err(&k->keys);
}

enum err
share_keys_drop(struct store_txn *t, const struct share_id *id,
    const struct member *at, uint32_t era)
{
	struct keys_of k = { .at = at, .keys = BUF_MAX(16 * MIB) };
	struct buf prefix;
	struct rd r;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, id);
	if ((e = buf_err(&prefix)) == ERR_OK)
		rc = (int)store_row_each(store_txn_store(t), store_txn_db(t),
		    SHARE_TAG_KEY, buf_slice(&prefix), key_beyond, &k);
	if (rc < 0)
		e = (enum err)rc;
	r = rd_init(buf_slice(&k.keys));
	while (e == ERR_OK && r.left > 0)
		e = key_row_drop(t, rd_bytes(&r, rd_u8(&r)), era);
	buf_fini(&prefix);
	buf_fini(&k.keys);
	return e;
}

struct keys_load {
	struct share_state *s;
	enum err e;
};

static int
keys_load_row(void *ctx, struct slice key, struct slice value)
{
	struct keys_load *l = ctx;
	struct member_keys *ks = &l->s->keys;
	struct member_epoch_key k = { 0 };
	struct rd rk = rd_init(key), rv = rd_init(value);
	uint8_t hi, lo;

	(void)rd_bytes(&rk, sizeof(struct share_id));
	hi = rd_u8(&rk);
	lo = rd_u8(&rk);
	k.compartment = (uint16_t)((unsigned)hi << 8 | lo);
	k.epoch = rd_be32(&rk);
	if (rk.left > 0)
		(void)rd_be32(&rk); /* of a branch that was dropped */
	if (rd_u8(&rv) != SHARE_ROW_VERSION)
		rd_fail(&rv, ERR_UNSUPPORTED);
	rd_copy(&rv, k.content.b, sizeof(k.content.b));
	rd_copy(&rv, k.ladder.b, sizeof(k.ladder.b));
	(void)rd_rest(&rv);
	if (rd_end(&rk) != ERR_OK || rd_end(&rv) != ERR_OK) {
		l->e = ERR_CORRUPT;
	} else if (k.compartment == 0) {
		ks->name = k.content;
		l->s->has_name = true;
	} else {
		l->e = member_keys_add(ks, &k);
	}
	cry_wipe(&k, sizeof(k));
	return l->e != ERR_OK;
}

static enum err
keys_load(struct shares *sh, struct db_txn *txn, const struct share_id *id,
    struct share_state *s)
{
	struct keys_load l = { .s = s };
	struct buf prefix;
	enum err e;
	int rc;

	s->keys.n = 0;
	s->has_name = false;
	share_row_key(&prefix, id);
	e = buf_err(&prefix);
	if (e == ERR_OK) {
		rc = (int)store_row_each(sh->store, txn, SHARE_TAG_KEY,
		    buf_slice(&prefix), keys_load_row, &l);
		e = l.e != ERR_OK ? l.e : rc < 0 ? (enum err)rc : ERR_OK;
	}
	buf_fini(&prefix);
	return e;
}

enum err
share_keys_keep(struct store_txn *t, struct shares *sh,
    const struct share_id *id, struct share_state *s)
{
	struct member_keys ks = { 0 };
	struct member_epoch_key name = { 0 };
	bool fresh;
	enum err e;
	uint32_t i;

	e = member_open_keys(s->m, &sh->me->pub, &sh->me->box_sk, &ks);
	if (e == ERR_NOTFOUND) { /* a hub, or not granted yet */
		member_keys_fini(&ks);
		return ERR_OK;
	}
	name.content = ks.name;
	if (e == ERR_OK)
		e = key_row_put(t, sh, id, &name, &fresh);
	for (i = 0; e == ERR_OK && i < ks.n; i++) {
		e = key_row_put(t, sh, id, &ks.k[i], &fresh);
		if (e == ERR_OK && fresh && key_late(s, &ks.k[i]))
			e = share_late_mark(
			    t, id, ks.k[i].compartment, ks.k[i].epoch);
	}
	if (e == ERR_OK)
		e = keys_load(sh, store_txn_db(t), id, s);
	cry_wipe(&name, sizeof(name));
	member_keys_fini(&ks);
	return e;
}

static enum err
sub_where(struct share_state *s, uint32_t no, struct slice text)
{
	char *v = NULL;

	if (s->where[no] != NULL && slice_eq(slice_str(s->where[no]), text))
		return ERR_OK;
	if (text.n > 0 && (v = mem_array(text.n + 1, 1)) == NULL)
		return ERR_NOMEM;
	if (v != NULL)
		memcpy(v, text.p, text.n);
	mem_free(s->where[no]);
	s->where[no] = v;
	return ERR_OK;
}

static int
sub_load_row(void *ctx, struct slice key, struct slice value)
{
	struct share_state *s = ctx;
	struct rd rk = rd_init(key), rv = rd_init(value);
	uint8_t hi, lo;
	uint32_t no;
	uint8_t content;

	(void)rd_bytes(&rk, sizeof(struct share_id));
	hi = rd_u8(&rk);
	lo = rd_u8(&rk);
	no = (uint32_t)hi << 8 | lo;
	content = rd_u8(&rv);
	if (rd_end(&rk) != ERR_OK || rv.err != ERR_OK || no > LIM_COMPARTMENTS)
		return 0;
	s->no_content[no] = content == SHARE_NONE;
	s->pinned[no] = content == SHARE_PIN;
	s->lazy[no] = content == SHARE_LAZY;
	return (int)sub_where(s, no, rd_rest(&rv));
}

static enum err
subs_load(struct shares *sh, struct db_txn *txn, const struct share_id *id,
    struct share_state *s)
{
	struct buf prefix;
	enum err e;
	int rc;

	share_row_key(&prefix, id);
	rc = (int)store_row_each(
	    sh->store, txn, SHARE_TAG_SUB, buf_slice(&prefix), sub_load_row, s);
	e = rc < 0 ? (enum err)rc : buf_err(&prefix);
	buf_fini(&prefix);
	return e;
}

/* --- the chain --- */

static enum err
record_apply(
    struct share_state *s, const struct share_id *id, struct slice record)
{
	enum err e;

	if (s->m != NULL)
		return member_apply(s->m, record);
	e = member_new(record, &s->m);
	/* The number may come from a batch that was undone. */
	if (e == ERR_OK &&
	    memcmp(member_share(s->m)->b, id->b, sizeof(id->b)) != 0) {
		member_free(s->m);
		s->m = NULL;
		e = ERR_NOTFOUND;
	}
	return e;
}

/* Is the state's last record the one at its place in the log? */
static enum err
state_matches(struct shares *sh, struct db_txn *txn, uint32_t no,
    const struct share_state *s, bool *out)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	uint64_t seq = member_seq(s->m);
	enum err e = oplog_member_get(sh->store, txn, no, seq, &rec);

	*out =
	    e == ERR_OK && slice_eq(buf_slice(&rec), member_record(s->m, seq));
	buf_fini(&rec);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
chain_follow(struct shares *sh, struct db_txn *txn,
    const struct share_slot *slot, struct share_state *s)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	uint64_t seq = s->m == NULL ? 0 : member_seq(s->m) + 1;
	enum err e;

	for (;; seq++) {
		buf_reset(&rec);
		e = oplog_member_get(sh->store, txn, slot->no, seq, &rec);
		if (e == ERR_OK)
			e = record_apply(s, &slot->id, buf_slice(&rec));
		if (e != ERR_OK)
			break;
	}
	buf_fini(&rec);
	/* The end of the chain; records at rest were checked when they came,
	 * so one that does not apply now is damage. */
	if (e == ERR_NOTFOUND)
		return s->m == NULL ? ERR_NOTFOUND : ERR_OK;
	return e == ERR_NOMEM || e == ERR_IO ? e : ERR_CORRUPT;
}

enum err
share_state_sync(struct shares *sh, struct db_txn *txn,
    const struct share_slot *slot, struct share_state **state)
{
	struct share_state *s = *state;
	uint64_t had = 0;
	bool same = false;
	enum err e;

	if (s != NULL) {
		e = state_matches(sh, txn, slot->no, s, &same);
		if (e != ERR_OK)
			return e;
	}
	if (!same) {
		share_state_free(s);
		*state = NULL;
		if ((s = mem_new(sizeof(*s))) == NULL)
			return ERR_NOMEM;
	} else {
		had = member_seq(s->m);
	}
	e = chain_follow(sh, txn, slot, s);
	if (e == ERR_OK && (!same || member_seq(s->m) != had))
		e = keys_load(sh, txn, &slot->id, s);
	if (e != ERR_OK) {
		share_state_free(s);
		s = NULL;
	}
	*state = s;
	if (e == ERR_OK) {
		s->halted = false; /* a checkpoint may have ended it */
		e = share_said_load(sh, txn, &slot->id, s);
	}
	if (e != ERR_OK)
		return e;
	return subs_load(sh, txn, &slot->id, s);
}
