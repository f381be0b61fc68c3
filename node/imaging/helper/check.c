/* node/imaging/helper/check.c: the gate's eyes (domain.md 10, 11).
 *
 * DICOM: does it say that identity was removed, who does it say it is, may a
 * name be in its pixels (classes.c).  NIfTI-1 and -2, packed by gzip or not:
 * the texts its header has room for and the extensions behind it, as one
 * text; the voxels are not looked at.  Anything else is of no kind.
 * Failure: a file that begins as one of these and cannot be read is blocked,
 * never passed. */
#include "node/imaging/helper/check.h"

#include <unistd.h>
#include <zlib.h>

#include "node/imaging/helper/classes.h"
#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define HEAD_MAX (IMG_CHECK_TEXT_MAX + 1024u) /* header and extensions */
#define NIFTI1_BYTES 348u
#define NIFTI2_BYTES 540u
#define TAG_IDENTITY_REMOVED 0x00120062u

static void
check_block(struct img_verdict *v, const char *why)
{
	if (v->blocked[0] == '\0')
		(void)snprintf(v->blocked, sizeof(v->blocked), "%s", why);
}

/* --- DICOM --- */

static void
check_dicom(struct slice in, struct img_verdict *v)
{
	struct dcm_file *f = NULL;
	const char *risk = NULL;
	uint32_t k;

	v->kind = IMG_CHECK_DICOM;
	if (dcm_open(in, &f, NULL) != ERR_OK || f->syntax == SYNTAX_OPAQUE) {
		check_block(v, "a DICOM file that cannot be read");
		dcm_close(f);
		return;
	}
	if (!dcm_is_cs(f, TAG_IDENTITY_REMOVED, 0, "YES"))
		check_block(v, "PatientIdentityRemoved (0012,0062) is not YES");
	dcm_text(f, TAG_PATIENT_ID, v->patient_id, sizeof(v->patient_id));
	dcm_text(f, TAG_PATIENT_NAME, v->patient_name, sizeof(v->patient_name));
	for (k = 0; risk == NULL && k < CLASSES_RISKS; k++)
		risk = classes_risk(f, k);
	if (risk != NULL)
		(void)snprintf(v->review, sizeof(v->review), "%s", risk);
	dcm_close(f);
}

/* --- NIfTI --- */

struct nifti_texts {
	uint16_t off;
	uint16_t n;
	const char *name;
};

static const struct nifti_texts nifti1_texts[] = { { 4, 10, "data_type" },
	{ 14, 18, "db_name" }, { 148, 80, "descrip" }, { 228, 24, "aux_file" },
	{ 328, 16, "intent_name" }, { 0, 0, NULL } };
static const struct nifti_texts nifti2_texts[] = { { 240, 80, "descrip" },
	{ 320, 24, "aux_file" }, { 508, 16, "intent_name" },
	{ 525, 15, "unused_str" }, { 0, 0, NULL } };

static bool
check_blank(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] != 0 && s.p[i] != ' ')
			return false;
	}
	return true;
}

static uint64_t
check_uint(const uint8_t *p, size_t n, bool big)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < n; i++)
		v = v << 8 | p[big ? i : n - 1 - i];
	return v;
}

/* Where the voxels begin, as the header says it; 0: it does not. */
static uint64_t
check_vox_offset(struct slice head, bool two, bool big)
{
	uint32_t bits;
	float f;

	if (two)
		return check_uint(head.p + 168, 8, big);
	bits = (uint32_t)check_uint(head.p + 108, 4, big);
	memcpy(&f, &bits, sizeof(f));
	/* Not a number and anything negative count as not said. */
	return f >= 1.0f && f < 4e9f ? (uint64_t)f : 0;
}

/* head: the file's first bytes; whole: these are all of it. */
static void
check_nifti(
    struct slice head, bool whole, struct buf *text, struct img_verdict *v)
{
	bool two = head.p[4] == 'n';
	bool pair = !two && head.p[345] == 'i';
	bool big = head.p[0] == 0;
	const struct nifti_texts *t = two ? nifti2_texts : nifti1_texts;
	uint64_t end = check_vox_offset(head, two, big);
	size_t at = two ? NIFTI2_BYTES : NIFTI1_BYTES;
	struct slice ext;

	v->kind = IMG_CHECK_NIFTI;
	for (; t->name != NULL; t++) {
		struct slice s = slice_of(head.p + t->off, t->n);

		if (check_blank(s))
			continue;
		buf_printf(text, "%s=", t->name);
		buf_put_slice(text, s);
	}
	if (pair && whole) /* the voxels are another file's */
		end = head.n;
	if (end < at + 4)
		end = at + 4;
	if (end > head.n && !whole) {
		check_block(v, "NIfTI extensions larger than can be checked");
		return;
	}
	if (end > head.n)
		end = head.n;
	ext = slice_of(head.p + at, (size_t)end - at);
	if (!check_blank(ext)) {
		buf_put_str(text, "extensions=");
		buf_put_slice(text, ext);
	}
}

static bool
check_is_nifti(struct slice head)
{
	static const uint8_t two[8] = { 'n', '+', '2', 0, '\r', '\n', 0x1a,
		'\n' };

	if (head.n < NIFTI1_BYTES)
		return false;
	if (memcmp(head.p + 344, "n+1", 4) == 0 ||
	    memcmp(head.p + 344, "ni1", 4) == 0)
		return true;
	return head.n >= NIFTI2_BYTES &&
	       (memcmp(head.p + 4, two, sizeof(two)) == 0 ||
		   memcmp(head.p + 4, "ni2", 4) == 0);
}

/* --- gzip --- */

/* The first bytes of what is packed, and the name that the packer kept. */
static enum err
check_unpack(
    struct slice in, struct buf *out, bool *whole, struct img_verdict *v)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = { .in = in.p };
	gz_header h = { .name = (Bytef *)v->packed_name,
		.name_max = sizeof(v->packed_name) - 1 };
	uint8_t comment[2] = { 0 };
	z_stream z = { .next_in = u.out };
	int code;

	h.comment = comment;
	h.comm_max = 1;
	z.avail_in = in.n > UINT32_MAX ? UINT32_MAX : (uInt)in.n;
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return ERR_NOMEM;
	if (inflateGetHeader(&z, &h) != Z_OK ||
	    buf_room(out, HEAD_MAX) == NULL) {
		(void)inflateEnd(&z);
		return ERR_NOMEM;
	}
	z.next_out = out->p;
	z.avail_out = (uInt)HEAD_MAX;
	do {
		code = inflate(&z, Z_NO_FLUSH);
	} while (code == Z_OK && z.avail_out > 0 && z.avail_in > 0);
	buf_grew(out, HEAD_MAX - z.avail_out);
	*whole = code == Z_STREAM_END;
	v->packed_text = comment[0] != 0;
	(void)inflateEnd(&z);
	return ERR_OK;
}

static bool
check_is_gzip(struct slice in)
{
	return in.n > 18 && in.p[0] == 0x1f && in.p[1] == 0x8b;
}

/* What the packer kept must be a name that can be shown and compared. */
static void
check_packed_name(struct img_verdict *v)
{
	char *s = v->packed_name;

	v->packed_name[sizeof(v->packed_name) - 1] = '\0';
	for (; *s != '\0'; s++) {
		if (*s < ' ' || *s > '~')
			*s = '?';
	}
}

enum err
check_file(struct slice file, struct buf *text, struct img_verdict *out)
{
	struct buf head = BUF_MAX(HEAD_MAX);
	struct slice first =
	    slice_of(file.p, file.n < HEAD_MAX ? file.n : HEAD_MAX);
	bool whole = file.n <= HEAD_MAX;
	enum err e = ERR_OK;

	*out = (struct img_verdict){ .kind = IMG_CHECK_OTHER };
	if (check_is_gzip(file)) {
		e = check_unpack(file, &head, &whole, out);
		first = buf_slice(&head);
		check_packed_name(out);
	}
	if (e == ERR_OK && first.n >= 132 &&
	    memcmp(first.p + 128, "DICM", 4) == 0) {
		check_dicom(file, out);
		if (check_is_gzip(file))
			check_block(out, "a DICOM file packed by gzip");
	} else if (e == ERR_OK && check_is_nifti(first)) {
		check_nifti(first, whole, text, out);
		e = buf_err(text);
	}
	if (e == ERR_LIMIT) {
		check_block(out, "NIfTI texts larger than can be compared");
		buf_reset(text);
		e = ERR_OK;
	}
	out->text = buf_slice(text);
	buf_fini(&head);
	return e;
}

static enum err
check_one(struct link *l, struct buf *text)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct slice in = { 0 };
	struct img_verdict v = { .kind = IMG_CHECK_OTHER };
	uint64_t bytes;
	int fd = frame_take_fd(&l->in, 0);
	enum err e = msg_get_file(&l->doc, &bytes);

	if (fd < 0)
		return ERR_MALFORMED;
	/* A copy of the node's that nobody writes to. */
	if (e == ERR_OK)
		e = sealed_map_own(fd, bytes, &in);
	(void)close(fd);
	buf_reset(text);
	if (e == ERR_OK)
		e = check_file(in, text, &v);
	if (e == ERR_OK) {
		msg_put_verdict(&b, &v);
		e = link_send(l, &b, NULL, 0);
	}
	buf_fini(&b);
	sealed_unmap(&in);
	return e;
}

enum err
check_run(struct link *l)
{
	struct buf text = BUF_MAX(IMG_CHECK_TEXT_MAX);
	enum err e = ERR_OK;

	while (e == ERR_OK) {
		e = link_wait(l, MSG_FILE);
		if (e == ERR_FOREIGN) { /* no more files */
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK)
			e = check_one(l, &text);
	}
	buf_fini(&text);
	return e;
}
