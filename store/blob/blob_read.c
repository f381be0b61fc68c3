/* store/blob/blob_read.c: from entries back to bytes.
 *
 * Checked on the way, in this order: the record (CRC, place), the cid over
 * the ciphertext, the AEAD, the padding, the codec's frame, and the hash over
 * the bytes that the entry yields.  A wrong byte on disk is ERR_CORRUPT; an
 * entry that does not fit an intact chunk is ERR_AUTH. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

static enum err
padding_check(struct slice z, uint32_t z_len)
{
	uint8_t acc = 0;
	size_t i;

	for (i = z_len; i < z.n; i++)
		acc |= z.p[i];
	return acc == 0 ? ERR_OK : ERR_AUTH;
}

static enum err
hash_check(const struct blob_entry *e, struct slice got)
{
	struct cry_id hp;

	cry_hash(got, &hp);
	return memcmp(hp.b, e->hp.b, sizeof(hp.b)) == 0 ? ERR_OK : ERR_AUTH;
}

static enum err
decode(struct store *s, struct codec_choice how, struct slice z, uint32_t p_len,
    struct buf *out)
{
	struct codec *c = codec_take(s->codecs);
	enum err err = ERR_NOMEM;

	if (c != NULL)
		err = codec_decode(c, how, z, p_len, out);
	codec_give(s->codecs, c);
	return err;
}

enum err
blob_open_z(const struct blob_entry *e, struct slice c, struct buf *z)
{
	enum err err;

	if (blob_entry_check(e) != ERR_OK || c.n != e->c_len)
		return ERR_AUTH;
	err = cry_chunk_open(&e->ck, c, z);
	if (err == ERR_OK)
		err = padding_check(buf_slice(z), e->z_len);
	z->n = err == ERR_OK ? e->z_len : 0;
	return err;
}

enum err
blob_open_piece(struct store *s, const struct blob_entry *e, struct slice c,
    struct buf *out)
{
	struct codec_choice how = { (enum blob_codec)e->codec, e->row };
	struct buf z = BUF_MAX(BLOB_C_MAX);
	enum err err = blob_open_z(e, c, &z);

	if (err == ERR_OK)
		err = decode(s, how, buf_slice(&z), e->p_len, out);
	buf_wipe(&z);
	return err == ERR_MALFORMED || err == ERR_UNSUPPORTED ? ERR_AUTH : err;
}

enum err
blob_open_part(const struct blob_entry *e, struct slice piece, struct buf *out)
{
	struct slice part = slice_of(piece.p + e->off, e->raw_len);
	enum err err = hash_check(e, part);

	if (err != ERR_OK)
		return err;
	buf_put_slice(out, part);
	return buf_err(out);
}

static enum err
open_whole(struct store *s, const struct blob_entry *e, struct slice c,
    struct buf *out)
{
	size_t start = out->n;
	enum err err = blob_open_piece(s, e, c, out);

	if (err == ERR_OK)
		err = hash_check(e, slice_of(out->p + start, e->raw_len));
	if (err != ERR_OK)
		out->n = start;
	return err;
}

enum err
blob_open(struct store *s, const struct blob_entry *e, struct slice c,
    struct buf *out)
{
	struct buf piece = BUF_MAX(LIM_PIECE_BYTES);
	enum err err;

	if (!blob_entry_is_part(e))
		return open_whole(s, e, c, out);
	err = blob_open_piece(s, e, c, &piece);
	if (err == ERR_OK)
		err = blob_open_part(e, buf_slice(&piece), out);
	buf_wipe(&piece);
	return err;
}

enum err
blob_read(struct store *s, struct db_txn *txn, const struct blob_entry *e,
    struct buf *out)
{
	struct buf c = BUF_MAX(BLOB_C_MAX);
	enum err err = blob_chunk_get(s, txn, &e->cid, &c);

	if (err == ERR_OK)
		err = blob_open(s, e, buf_slice(&c), out);
	buf_fini(&c);
	return err;
}
