/* Noise XK: the published vectors, both ways, and every refusal. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/crypto_internal.h"
#include "crypto/noise.h"
#include "store/base/enc.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define VECTOR_FILE PSC_SOURCE_DIR "/tests/vectors/noise_xk.txt"
#define MESSAGES 6u

struct vector {
	uint8_t prologue[64];
	size_t prologue_n;
	struct cry_box_sk i_static, i_eph, r_static, r_eph;
	struct cry_box_pk i_remote;
	uint8_t hash[64];
	struct {
		uint8_t p[128], c[192];
		size_t p_n, c_n;
	} msg[MESSAGES];
	size_t n_payload, n_cipher, n_fields;
	bool final_hash; /* see tests/vectors/README.md */
};
#define VECTORS 2u

/* "key": "hex" on a line of its own, as the published file has it. */
static void
vector_field(struct vector *v, const char *key, const char *hex)
{
	const struct {
		const char *key;
		void *at;
		size_t n;
	} fixed[] = {
		{ "init_static", v->i_static.b, 32 },
		{ "init_ephemeral", v->i_eph.b, 32 },
		{ "init_remote_static", v->i_remote.b, 32 },
		{ "resp_static", v->r_static.b, 32 },
		{ "resp_ephemeral", v->r_eph.b, 32 },
		{ "handshake_hash", v->hash, 64 },
	};
	struct slice text = slice_str(hex);
	size_t i;

	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (strcmp(key, fixed[i].key) != 0)
			continue;
		assert_int_equal(dec_hex(text, fixed[i].at, fixed[i].n), 0);
		v->n_fields++;
	}
	if (strcmp(key, "init_prologue") == 0) {
		v->prologue_n = text.n / 2;
		assert_true(v->prologue_n <= sizeof(v->prologue));
		assert_int_equal(dec_hex(text, v->prologue, v->prologue_n), 0);
		v->n_fields++;
	} else if (strcmp(key, "payload") == 0) {
		assert_true(v->n_payload < MESSAGES);
		i = v->n_payload++;
		v->msg[i].p_n = text.n / 2;
		assert_int_equal(dec_hex(text, v->msg[i].p, text.n / 2), 0);
	} else if (strcmp(key, "ciphertext") == 0) {
		assert_true(v->n_cipher < MESSAGES);
		i = v->n_cipher++;
		v->msg[i].c_n = text.n / 2;
		assert_int_equal(dec_hex(text, v->msg[i].c, text.n / 2), 0);
	}
}

static void
vectors_load(struct vector v[VECTORS])
{
	FILE *f = fopen(VECTOR_FILE, "r");
	char line[1024], *key, *val, *end;
	size_t n = 0;

	assert_non_null(f);
	memset(v, 0, VECTORS * sizeof(*v));
	while (fgets(line, sizeof(line), f) != NULL) {
		if (line[0] != '"' || (end = strchr(line + 1, '"')) == NULL)
			continue;
		*end = '\0';
		key = line + 1;
		if ((val = strchr(end + 1, '"')) == NULL ||
		    (end = strchr(val + 1, '"')) == NULL)
			continue;
		*end = '\0';
		if (strstr(key, "name") != NULL) {
			assert_string_equal(
			    val + 1, "Noise_XK_25519_ChaChaPoly_BLAKE2b");
			assert_true(n < VECTORS);
			v[n++].final_hash = strcmp(key, "name") == 0;
			continue;
		}
		assert_true(n > 0);
		vector_field(&v[n - 1], key, val + 1);
	}
	(void)fclose(f);
	assert_int_equal(n, VECTORS);
	for (n = 0; n < VECTORS; n++) {
		assert_int_equal(v[n].n_fields, 7);
		assert_int_equal(v[n].n_payload, MESSAGES);
		assert_int_equal(v[n].n_cipher, MESSAGES);
	}
}

static void
vector_load(struct vector *v)
{
	struct vector all[VECTORS];

	vectors_load(all);
	*v = all[VECTORS - 1];
}

static struct cry_box_pk
public_of(const struct cry_box_sk *sk)
{
	static const struct cry_box_pk base = { { 9 } };
	struct cry_box_pk pk;

	assert_int_equal(cry_dh(sk, &base, pk.b), 0);
	return pk;
}

static void
pair_new(const struct vector *v, struct noise **i, struct noise **r)
{
	struct noise_params p = {
		.initiator = true,
		.static_pk = public_of(&v->i_static),
		.static_sk = v->i_static,
		.remote_static = v->i_remote,
		.prologue = { v->prologue, v->prologue_n },
		.fixed_ephemeral = &v->i_eph,
	};

	assert_int_equal(noise_new(&p, i), 0);
	p.initiator = false;
	p.static_pk = v->i_remote;
	p.static_sk = v->r_static;
	memset(&p.remote_static, 0, sizeof(p.remote_static));
	p.fixed_ephemeral = &v->r_eph;
	assert_int_equal(noise_new(&p, r), 0);
}

static void
one_message(
    const struct vector *v, size_t k, struct noise *from, struct noise *to)
{
	struct buf m = BUF_MAX(LIM_NOISE_MSG_BYTES);
	struct buf p = BUF_MAX(LIM_NOISE_MSG_BYTES);

	assert_true(noise_my_turn(from));
	assert_false(noise_my_turn(to));
	assert_int_equal(
	    noise_write(from, slice_of(v->msg[k].p, v->msg[k].p_n), &m), 0);
	assert_int_equal(m.n, v->msg[k].c_n);
	assert_memory_equal(m.p, v->msg[k].c, m.n);
	/* Read the published bytes, not ours. */
	assert_int_equal(
	    noise_read(to, slice_of(v->msg[k].c, v->msg[k].c_n), &p), 0);
	assert_int_equal(p.n, v->msg[k].p_n);
	assert_memory_equal(p.p, v->msg[k].p, p.n);
	buf_fini(&m);
	buf_fini(&p);
}

static void
one_transport(const struct vector *v, size_t k, struct noise_cipher *tx,
    struct noise_cipher *rx)
{
	struct buf m = BUF_MAX(LIM_NOISE_MSG_BYTES);
	struct buf p = BUF_MAX(LIM_NOISE_MSG_BYTES);

	assert_int_equal(
	    noise_encrypt(tx, slice_of(v->msg[k].p, v->msg[k].p_n), &m), 0);
	assert_int_equal(m.n, v->msg[k].c_n);
	assert_memory_equal(m.p, v->msg[k].c, m.n);
	assert_int_equal(noise_decrypt(rx, buf_slice(&m), &p), 0);
	assert_int_equal(p.n, v->msg[k].p_n);
	assert_memory_equal(p.p, v->msg[k].p, p.n);
	buf_fini(&m);
	buf_fini(&p);
}

static void
handshake(const struct vector *v, struct noise *i, struct noise *r)
{
	one_message(v, 0, i, r);
	one_message(v, 1, r, i);
	one_message(v, 2, i, r);
	assert_true(noise_done(i) && noise_done(r));
	assert_false(noise_my_turn(i) || noise_my_turn(r));
}

static void
check_vector(const struct vector *v)
{
	struct noise_cipher itx, irx, rtx, rrx;
	struct cry_box_pk i_pk = public_of(&v->i_static);
	struct noise *i, *r;
	uint8_t ih[64], rh[64];

	pair_new(v, &i, &r);
	handshake(v, i, r);
	assert_memory_equal(noise_remote_static(r)->b, i_pk.b, 32);
	assert_memory_equal(noise_remote_static(i)->b, v->i_remote.b, 32);
	noise_split(i, &itx, &irx, ih);
	noise_split(r, &rtx, &rrx, rh);
	assert_memory_equal(ih, rh, 64);
	if (v->final_hash)
		assert_memory_equal(ih, v->hash, 64);
	/* Transport messages of the vectors go on alternating. */
	one_transport(v, 3, &rtx, &irx);
	one_transport(v, 4, &itx, &rrx);
	one_transport(v, 5, &rtx, &irx);
	noise_free(i);
	noise_free(r);
}

static void
test_published_vectors_match_both_ways(void **state)
{
	struct vector v[VECTORS];
	size_t n, hashes = 0;

	(void)state;
	vectors_load(v);
	for (n = 0; n < VECTORS; n++) {
		check_vector(&v[n]);
		hashes += v[n].final_hash;
	}
	assert_int_equal(hashes, 1);
}

/* Deliver message k with one bit flipped: refused, and dead ever after. */
static void
flip_one(const struct vector *v, size_t k, size_t bit)
{
	struct buf m = BUF_MAX(LIM_NOISE_MSG_BYTES);
	struct noise *side[2];
	uint8_t bad[192];
	size_t j;

	pair_new(v, &side[0], &side[1]);
	for (j = 0; j < k; j++)
		one_message(v, j, side[j % 2], side[(j + 1) % 2]);
	memcpy(bad, v->msg[k].c, v->msg[k].c_n);
	bad[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	assert_int_equal(
	    noise_read(side[(k + 1) % 2], slice_of(bad, v->msg[k].c_n), &m),
	    ERR_AUTH);
	assert_int_equal(m.n, 0);
	assert_false(noise_my_turn(side[(k + 1) % 2]));
	assert_int_equal(noise_read(side[(k + 1) % 2],
			     slice_of(v->msg[k].c, v->msg[k].c_n), &m),
	    ERR_AUTH);
	assert_int_equal(
	    noise_write(side[(k + 1) % 2], (struct slice){ 0 }, &m), ERR_AUTH);
	buf_fini(&m);
	noise_free(side[0]);
	noise_free(side[1]);
}

static void
test_any_flipped_bit_kills_the_handshake(void **state)
{
	struct vector v;
	size_t k, bit;

	(void)state;
	vector_load(&v);
	for (k = 0; k < 3; k++) {
		for (bit = 0; bit < v.msg[k].c_n * 8; bit += 7)
			flip_one(&v, k, bit);
	}
}

static void
test_short_and_long_messages_are_refused(void **state)
{
	static uint8_t big[LIM_NOISE_MSG_BYTES + 1];
	struct buf m = BUF_MAX(2 * LIM_NOISE_MSG_BYTES);
	struct vector v;
	struct noise *i, *r;
	size_t n;

	(void)state;
	vector_load(&v);
	for (n = 0; n < 48; n++) {
		pair_new(&v, &i, &r);
		assert_int_equal(
		    noise_read(r, slice_of(v.msg[0].c, n), &m), ERR_SHORT);
		noise_free(i);
		noise_free(r);
	}
	pair_new(&v, &i, &r);
	assert_int_equal(
	    noise_read(r, slice_of(big, sizeof(big)), &m), ERR_LIMIT);
	/* A payload of one byte too much; then the largest. */
	n = LIM_NOISE_MSG_BYTES - 48;
	assert_int_equal(noise_write(i, slice_of(big, n + 1), &m), ERR_LIMIT);
	assert_int_equal(noise_write(i, slice_of(big, n), &m), ERR_OK);
	assert_int_equal(m.n, LIM_NOISE_MSG_BYTES);
	buf_fini(&m);
	noise_free(i);
	noise_free(r);
}

static void
test_wrong_responder_key_or_prologue_is_refused(void **state)
{
	struct buf m = BUF_MAX(1024), p = BUF_MAX(1024);
	struct vector v;
	struct noise *i, *r, *other, *unused;

	(void)state;
	vector_load(&v);
	pair_new(&v, &i, &r);
	v.i_remote.b[0] ^= 1;
	pair_new(&v, &other, &unused);
	assert_int_equal(noise_write(other, (struct slice){ 0 }, &m), 0);
	assert_int_equal(noise_read(r, buf_slice(&m), &p), ERR_AUTH);
	noise_free(other);
	noise_free(unused);
	noise_free(i);
	noise_free(r);

	vector_load(&v);
	pair_new(&v, &i, &r);
	v.prologue[0] ^= 1;
	pair_new(&v, &other, &unused);
	buf_reset(&m);
	assert_int_equal(noise_write(i, (struct slice){ 0 }, &m), 0);
	assert_int_equal(noise_read(unused, buf_slice(&m), &p), ERR_AUTH);
	noise_free(other);
	noise_free(unused);
	noise_free(i);
	noise_free(r);
	buf_fini(&m);
	buf_fini(&p);
}

static void
test_low_order_keys_and_turns_are_refused(void **state)
{
	struct buf m = BUF_MAX(1024);
	uint8_t zeros[64] = { 0 };
	struct vector v;
	struct noise *i, *r;

	(void)state;
	vector_load(&v);
	pair_new(&v, &i, &r);
	assert_int_equal(noise_read(r, slice_of(zeros, 64), &m), ERR_AUTH);
	/* It is the initiator's turn to write, not to read. */
	assert_int_equal(noise_read(i, slice_of(zeros, 64), &m), ERR_AUTH);
	assert_int_equal(noise_write(i, (struct slice){ 0 }, &m), ERR_AUTH);
	noise_free(i);
	noise_free(r);

	memset(&v.i_remote, 0, sizeof(v.i_remote));
	pair_new(&v, &i, &r);
	assert_int_equal(noise_write(i, (struct slice){ 0 }, &m), ERR_AUTH);
	assert_int_equal(m.n, 0);
	noise_free(i);
	noise_free(r);
	buf_fini(&m);
}

static void
split_fresh(struct noise_cipher *tx, struct noise_cipher *rx)
{
	struct noise_cipher t1, t2;
	struct vector v;
	struct noise *i, *r;
	uint8_t h[64];

	vector_load(&v);
	pair_new(&v, &i, &r);
	handshake(&v, i, r);
	noise_split(i, tx, &t1, h);
	noise_split(r, &t2, rx, h);
	noise_free(i);
	noise_free(r);
}

static void
test_transport_refuses_replay_tampering_and_reuse(void **state)
{
	static uint8_t big[LIM_NOISE_MSG_BYTES];
	struct buf m = BUF_MAX(2 * LIM_NOISE_MSG_BYTES);
	struct buf p = BUF_MAX(2 * LIM_NOISE_MSG_BYTES);
	struct noise_cipher tx, rx;

	(void)state;
	split_fresh(&tx, &rx);
	assert_int_equal(noise_encrypt(&tx, SLICE_LIT("hello"), &m), 0);
	m.p[0] ^= 1;
	assert_int_equal(noise_decrypt(&rx, buf_slice(&m), &p), ERR_AUTH);
	assert_int_equal(rx.n, 0);
	m.p[0] ^= 1;
	assert_int_equal(noise_decrypt(&rx, buf_slice(&m), &p), 0);
	assert_int_equal(noise_decrypt(&rx, buf_slice(&m), &p), ERR_AUTH);
	assert_int_equal(noise_decrypt(&rx, slice_of(m.p, 15), &p), ERR_AUTH);
	assert_int_equal(p.n, 5);

	buf_reset(&m);
	assert_int_equal(
	    noise_encrypt(&tx, slice_of(big, sizeof(big) - 15), &m), ERR_LIMIT);
	assert_int_equal(
	    noise_encrypt(&tx, slice_of(big, sizeof(big) - 16), &m), 0);
	assert_int_equal(m.n, LIM_NOISE_MSG_BYTES);
	tx.n = UINT64_MAX;
	assert_int_equal(noise_encrypt(&tx, SLICE_LIT("x"), &m), ERR_LIMIT);
	buf_fini(&m);
	buf_fini(&p);
}

static void
test_rekey_changes_the_key_alike_on_both_sides(void **state)
{
	struct buf m = BUF_MAX(1024), p = BUF_MAX(1024);
	struct noise_cipher tx, rx;
	struct cry_key old;

	(void)state;
	split_fresh(&tx, &rx);
	old = tx.k;
	noise_rekey(&tx);
	assert_memory_not_equal(tx.k.b, old.b, 32);
	assert_int_equal(noise_encrypt(&tx, SLICE_LIT("after"), &m), 0);
	assert_int_equal(noise_decrypt(&rx, buf_slice(&m), &p), ERR_AUTH);
	noise_rekey(&rx);
	assert_int_equal(noise_decrypt(&rx, buf_slice(&m), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("after")));
	buf_fini(&m);
	buf_fini(&p);
}

static void
test_random_ephemerals_differ(void **state)
{
	struct buf a = BUF_MAX(1024), b = BUF_MAX(1024);
	struct noise_params p = { .initiator = true };
	struct cry_box_sk sk;
	struct noise *hs;

	(void)state;
	cry_box_keypair(&p.static_pk, &p.static_sk);
	cry_box_keypair(&p.remote_static, &sk);
	assert_int_equal(noise_new(&p, &hs), 0);
	assert_int_equal(noise_write(hs, (struct slice){ 0 }, &a), 0);
	noise_free(hs);
	assert_int_equal(noise_new(&p, &hs), 0);
	assert_int_equal(noise_write(hs, (struct slice){ 0 }, &b), 0);
	noise_free(hs);
	assert_memory_not_equal(a.p, b.p, 32);
	buf_fini(&a);
	buf_fini(&b);
}

/* The n-th allocation of a whole handshake fails, for every n. */
static enum err
handshake_once(const struct vector *v)
{
	struct noise *side[2] = { NULL, NULL };
	struct buf m = BUF_MAX(1024), p = BUF_MAX(1024);
	struct noise_params par = { .initiator = true,
		.static_sk = v->i_static,
		.static_pk = public_of(&v->i_static),
		.remote_static = v->i_remote };
	enum err e;
	size_t k;

	if ((e = noise_new(&par, &side[0])) != ERR_OK)
		goto out;
	par.initiator = false;
	par.static_sk = v->r_static;
	par.static_pk = v->i_remote;
	if ((e = noise_new(&par, &side[1])) != ERR_OK)
		goto out;
	for (k = 0; k < 3; k++) {
		buf_fini(&m);
		m = BUF_MAX(1024);
		e = noise_write(side[k % 2], SLICE_LIT("payload"), &m);
		if (e == ERR_OK)
			e = noise_read(side[(k + 1) % 2], buf_slice(&m), &p);
		if (e != ERR_OK)
			goto out;
	}
out:
	noise_free(side[0]);
	noise_free(side[1]);
	buf_fini(&m);
	buf_fini(&p);
	return e;
}

static void
test_every_failing_allocation_is_reported(void **state)
{
	struct vector v;
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	vector_load(&v);
	for (n = 0; n < 100 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = handshake_once(&v);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 3);
}

static int
setup(void **state)
{
	(void)state;
	return cry_init() == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vectors_match_both_ways),
		cmocka_unit_test(test_any_flipped_bit_kills_the_handshake),
		cmocka_unit_test(test_short_and_long_messages_are_refused),
		cmocka_unit_test(
		    test_wrong_responder_key_or_prologue_is_refused),
		cmocka_unit_test(test_low_order_keys_and_turns_are_refused),
		cmocka_unit_test(
		    test_transport_refuses_replay_tampering_and_reuse),
		cmocka_unit_test(
		    test_rekey_changes_the_key_alike_on_both_sides),
		cmocka_unit_test(test_random_ephemerals_differ),
		cmocka_unit_test(test_every_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
