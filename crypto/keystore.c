/* crypto/keystore.c: a node's secrets in one file.
 *
 * File, 534 bytes (docs/protocol.md section 1):
 *
 *	"PSCK" version u8=1 kind u8 (1 passphrase, 2 credential) zero u16
 *	passes u32 LE  kib u32 LE  salt 16  nonce 24        header, 56 bytes
 *	XChaCha20-Poly1305(key, nonce, ad = header, secrets)     446 bytes
 *	BLAKE2b-256 of all the above                              32 bytes
 *
 * The last field tells disk rot (ERR_CORRUPT) from a wrong passphrase
 * (ERR_AUTH).  The key is Argon2id of the passphrase, or the credential file
 * itself through a subkey: an unattended start runs no Argon2 (rulings.md 8).
 * Everything secret on the stack is wiped before return. */
#include "crypto/identity.h"

#include "crypto/crypto_internal.h"
#include "crypto/keyfile.h"
#include "crypto/keystore_internal.h"
#include "store/base/rd.h"

#define KS_MAGIC "PSCK"
#define KS_VERSION 1u
#define KS_HEADER_BYTES (4u + 4u + 8u + 16u + CRY_NONCE_BYTES)
#define KS_SECRET_BYTES KEYSTORE_SECRET_BYTES
#define KS_BODY_BYTES (KS_SECRET_BYTES + CRY_TAG_BYTES)
#define KS_FILE_BYTES (KS_HEADER_BYTES + KS_BODY_BYTES + 32u)
#define KS_CREDENTIAL_BYTES 32u

enum ks_kind { KS_PASSPHRASE = 1, KS_CREDENTIAL = 2 };

struct ks_header {
	uint8_t kind;
	struct keystore_cost cost;
	uint8_t salt[crypto_pwhash_SALTBYTES];
	uint8_t nonce[CRY_NONCE_BYTES];
};

_Static_assert(crypto_pwhash_SALTBYTES == 16, "salt of the header");
_Static_assert(KS_PASSPHRASE == 1 && KS_CREDENTIAL == 2, "stored values");

/* --- identity --- */

void
cry_identity_new(struct cry_identity *out, struct cry_box_sk *recovery_sk)
{
	cry_sign_keypair(&out->pub.site, &out->site_sk);
	cry_sign_keypair(&out->pub.sign, &out->sign_sk);
	cry_box_keypair(&out->pub.box, &out->box_sk);
	cry_cert_issue(&out->site_sk, &out->pub, 1, &out->cert);
	cry_random(out->local.b, sizeof(out->local.b));
	cry_random(out->convergence.b, sizeof(out->convergence.b));
	cry_box_keypair(&out->recovery, recovery_sk);
}

void
cry_identity_wipe(struct cry_identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

/* --- the secrets as bytes --- */

void
keystore_secrets_encode(const struct cry_identity *id, struct buf *b)
{
	buf_put(b, id->site_sk.b, sizeof(id->site_sk.b));
	buf_put(b, id->sign_sk.b, sizeof(id->sign_sk.b));
	buf_put(b, id->box_sk.b, sizeof(id->box_sk.b));
	buf_put(b, id->cert.b, sizeof(id->cert.b));
	buf_put(b, id->local.b, sizeof(id->local.b));
	buf_put(b, id->convergence.b, sizeof(id->convergence.b));
	buf_put(b, id->recovery.b, sizeof(id->recovery.b));
}

/* The certificate must name the very keys we hold. */
static bool
secrets_consistent(const struct cry_identity *id)
{
	struct cry_box_pk box;

	if (crypto_scalarmult_base(box.b, id->box_sk.b) != 0)
		return false;
	return cry_equal(id->site_sk.b + 32, id->pub.site.b, 32) &&
	       cry_equal(id->sign_sk.b + 32, id->pub.sign.b, 32) &&
	       cry_equal(box.b, id->pub.box.b, 32);
}

enum err
keystore_secrets_decode(struct slice in, struct cry_identity *out)
{
	struct rd r = rd_init(in);

	rd_copy(&r, out->site_sk.b, sizeof(out->site_sk.b));
	rd_copy(&r, out->sign_sk.b, sizeof(out->sign_sk.b));
	rd_copy(&r, out->box_sk.b, sizeof(out->box_sk.b));
	rd_copy(&r, out->cert.b, sizeof(out->cert.b));
	rd_copy(&r, out->local.b, sizeof(out->local.b));
	rd_copy(&r, out->convergence.b, sizeof(out->convergence.b));
	rd_copy(&r, out->recovery.b, sizeof(out->recovery.b));
	if (rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
	if (cry_cert_check(slice_of(out->cert.b, sizeof(out->cert.b)),
		&out->pub) != ERR_OK)
		return ERR_CORRUPT;
	return secrets_consistent(out) ? ERR_OK : ERR_CORRUPT;
}

/* --- header --- */

static void
header_encode(const struct ks_header *h, struct buf *b)
{
	buf_put_str(b, KS_MAGIC);
	buf_u8(b, KS_VERSION);
	buf_u8(b, h->kind);
	buf_u16(b, 0);
	buf_u32(b, h->cost.passes);
	buf_u32(b, h->cost.kib);
	buf_put(b, h->salt, sizeof(h->salt));
	buf_put(b, h->nonce, sizeof(h->nonce));
}

static bool
cost_ok(const struct ks_header *h)
{
	if (h->kind == KS_CREDENTIAL)
		return h->cost.passes == 0 && h->cost.kib == 0;
	return h->cost.passes >= 1 && h->cost.passes <= KEYSTORE_PASSES_MAX &&
	       h->cost.kib >= KEYSTORE_KIB_MIN &&
	       h->cost.kib <= KEYSTORE_KIB_MAX;
}

static enum err
header_decode(struct slice in, struct ks_header *h)
{
	struct rd r = rd_init(in);

	if (!slice_eq(rd_bytes(&r, 4), SLICE_LIT(KS_MAGIC)))
		return ERR_CORRUPT;
	if (rd_u8(&r) != KS_VERSION)
		return ERR_UNSUPPORTED;
	h->kind = rd_u8(&r);
	if (rd_u16(&r) != 0)
		return ERR_UNSUPPORTED;
	h->cost.passes = rd_u32(&r);
	h->cost.kib = rd_u32(&r);
	rd_copy(&r, h->salt, sizeof(h->salt));
	rd_copy(&r, h->nonce, sizeof(h->nonce));
	if (rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
	if (h->kind != KS_PASSPHRASE && h->kind != KS_CREDENTIAL)
		return ERR_UNSUPPORTED;
	return cost_ok(h) ? ERR_OK : ERR_CORRUPT;
}

/* --- the key that opens it --- */

static enum err
key_from_passphrase(const struct ks_header *h, const char *passphrase,
    struct cry_key *out, struct errmsg *em)
{
	/* The one failure is memory. */
	if (crypto_pwhash(out->b, sizeof(out->b), passphrase,
		strlen(passphrase), h->salt, h->cost.passes,
		(size_t)h->cost.kib * 1024u, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return errmsg_set(em, ERR_NOMEM, "free some memory",
		    "opening the keystore takes %u MiB", h->cost.kib / 1024u);
	return ERR_OK;
}

static enum err
credential_read(const char *path, struct cry_key *out, struct errmsg *em)
{
	struct buf b = BUF_MAX(KS_CREDENTIAL_BYTES + 1);
	enum err e = keyfile_read(path, &b, em);

	if (e == ERR_LIMIT || (e == ERR_OK && b.n != KS_CREDENTIAL_BYTES))
		e = errmsg_set(em, ERR_AUTH,
		    "restore the credential file of this keystore",
		    "%s is not a credential of 32 bytes", path);
	if (e == ERR_OK)
		memcpy(out->b, b.p, KS_CREDENTIAL_BYTES);
	buf_wipe(&b);
	return e;
}

static enum err
credential_make(const char *path, struct cry_key *out, struct errmsg *em)
{
	cry_random(out->b, sizeof(out->b));
	return keyfile_write(path, slice_of(out->b, sizeof(out->b)), em);
}

static enum err
key_from_credential(const struct ks_header *h, const char *path, bool make,
    struct cry_key *out, struct errmsg *em)
{
	const struct slice salt = { h->salt, sizeof(h->salt) };
	struct cry_key secret = { { 0 } };
	enum err e = credential_read(path, &secret, em);

	if (e == ERR_NOTFOUND && make)
		e = credential_make(path, &secret, em);
	if (e == ERR_OK)
		cry_hash_parts(&secret, "psc.keystore.credential", &salt, 1,
		    out->b, sizeof(out->b));
	sodium_memzero(&secret, sizeof(secret));
	return e;
}

/* --- save --- */

static enum err
save_key(const struct keystore_save_params *p, struct ks_header *h,
    struct cry_key *key, struct errmsg *em)
{
	cry_random(h->salt, sizeof(h->salt));
	cry_random(h->nonce, sizeof(h->nonce));
	if (p->passphrase != NULL) {
		h->kind = KS_PASSPHRASE;
		h->cost = p->cost;
		return key_from_passphrase(h, p->passphrase, key, em);
	}
	h->kind = KS_CREDENTIAL;
	return key_from_credential(h, p->credential_path, true, key, em);
}

static void
save_encode(const struct ks_header *h, const struct cry_key *key,
    const struct cry_identity *id, struct buf *file)
{
	struct buf secrets = BUF_MAX(KS_SECRET_BYTES);
	struct cry_id sum;

	header_encode(h, file);
	/* Room at once: growing would leave copies behind in the heap. */
	if (buf_room(&secrets, KS_SECRET_BYTES) != NULL)
		keystore_secrets_encode(id, &secrets);
	if (buf_err(&secrets) != ERR_OK)
		file->err = buf_err(&secrets);
	if (buf_err(file) == ERR_OK) {
		cry_aead_seal(key, h->nonce, slice_of(file->p, KS_HEADER_BYTES),
		    buf_slice(&secrets), file);
		cry_hash(buf_slice(file), &sum);
		buf_put(file, sum.b, sizeof(sum.b));
	}
	buf_wipe(&secrets);
}

enum err
keystore_save(const struct keystore_save_params *p, struct errmsg *em)
{
	struct ks_header h = { 0 };
	struct cry_key key = { { 0 } };
	struct buf file = BUF_EMPTY;
	enum err e;

	if (p->passphrase == NULL && p->credential_path == NULL)
		return errmsg_set(em, ERR_AUTH,
		    "give a passphrase or a credential file",
		    "a keystore needs something to open it");
	/* In one piece from the start: AEAD and header share the buffer. */
	buf_init(&file, KS_FILE_BYTES);
	if (buf_room(&file, KS_FILE_BYTES) == NULL)
		return buf_err(&file);
	if ((e = save_key(p, &h, &key, em)) != ERR_OK)
		goto out;
	save_encode(&h, &key, p->id, &file);
	if ((e = buf_err(&file)) != ERR_OK)
		goto out;
	REQUIRE(file.n == KS_FILE_BYTES);
	e = keyfile_write(p->path, buf_slice(&file), em);
out:
	sodium_memzero(&key, sizeof(key));
	buf_fini(&file);
	return e;
}

enum err
cry_keystore_save(const char *path, const struct cry_identity *id,
    const char *passphrase, const char *credential_path, struct errmsg *em)
{
	const struct keystore_save_params p = {
		.path = path,
		.id = id,
		.passphrase = passphrase,
		.credential_path = credential_path,
		.cost = { KEYSTORE_PASSES, KEYSTORE_KIB },
	};

	return keystore_save(&p, em);
}

/* --- load --- */

/* Length and checksum: anything wrong here is the disk's doing. */
static enum err
load_file(const char *path, struct buf *file, struct errmsg *em)
{
	struct cry_id sum;
	enum err e = keyfile_read(path, file, em);

	if (e != ERR_OK && e != ERR_LIMIT)
		return e;
	if (e == ERR_OK && file->n == KS_FILE_BYTES) {
		cry_hash(slice_of(file->p, KS_FILE_BYTES - 32u), &sum);
		if (memcmp(sum.b, file->p + KS_FILE_BYTES - 32u, 32) == 0)
			return ERR_OK;
	}
	return errmsg_set(em, ERR_CORRUPT, "restore the file from a backup",
	    "%s is not a whole keystore", path);
}

static enum err
load_key(const struct ks_header *h, const char *passphrase,
    const char *credential_path, struct cry_key *key, struct errmsg *em)
{
	if (h->kind == KS_PASSPHRASE && passphrase == NULL)
		return errmsg_set(em, ERR_AUTH, "give the passphrase",
		    "the keystore is closed with a passphrase");
	if (h->kind == KS_CREDENTIAL && credential_path == NULL)
		return errmsg_set(em, ERR_AUTH, "name the credential file",
		    "the keystore is closed with a credential file");
	if (h->kind == KS_PASSPHRASE)
		return key_from_passphrase(h, passphrase, key, em);
	return key_from_credential(h, credential_path, false, key, em);
}

static enum err
load_secrets(const struct ks_header *h, const struct cry_key *key,
    struct slice file, struct cry_identity *out, struct errmsg *em)
{
	struct buf secrets = BUF_MAX(KS_SECRET_BYTES);
	enum err e =
	    cry_aead_open(key, h->nonce, slice_of(file.p, KS_HEADER_BYTES),
		slice_of(file.p + KS_HEADER_BYTES, KS_BODY_BYTES), &secrets);

	if (e == ERR_AUTH)
		e = errmsg_set(em, e, "try again",
		    h->kind == KS_PASSPHRASE
			? "wrong passphrase"
			: "the credential file is not this keystore's");
	else if (e == ERR_OK && (e = keystore_secrets_decode(
				     buf_slice(&secrets), out)) != ERR_OK)
		e = errmsg_set(em, e, "restore the file from a backup",
		    "the keys in the keystore do not belong together");
	buf_wipe(&secrets);
	return e;
}

enum err
cry_keystore_load(const char *path, const char *passphrase,
    const char *credential_path, struct cry_identity *out, struct errmsg *em)
{
	struct buf file = BUF_MAX(KS_FILE_BYTES);
	struct cry_identity id = { 0 };
	struct cry_key key = { { 0 } };
	struct ks_header h = { 0 };
	enum err e;

	if ((e = load_file(path, &file, em)) != ERR_OK)
		goto out;
	e = header_decode(slice_of(file.p, KS_HEADER_BYTES), &h);
	if (e != ERR_OK) {
		e = errmsg_set(em, e, "use the version that wrote it",
		    "%s: unknown keystore version", path);
		goto out;
	}
	if ((e = load_key(&h, passphrase, credential_path, &key, em)) != ERR_OK)
		goto out;
	e = load_secrets(&h, &key, buf_slice(&file), &id, em);
	if (e == ERR_OK)
		*out = id;
out:
	sodium_memzero(&key, sizeof(key));
	cry_identity_wipe(&id);
	buf_fini(&file);
	return e;
}

enum err
cry_keystore_unattended(const char *path, bool *out, struct errmsg *em)
{
	struct buf file = BUF_MAX(KS_FILE_BYTES);
	struct ks_header h = { 0 };
	enum err e = load_file(path, &file, em);

	if (e == ERR_OK) {
		e = header_decode(slice_of(file.p, KS_HEADER_BYTES), &h);
		*out = h.kind == KS_CREDENTIAL;
		if (e != ERR_OK)
			errmsg_set(em, e, "use the version that wrote it",
			    "%s: unknown keystore version", path);
	}
	buf_fini(&file);
	return e;
}
