/* tests/lib/dcm_build.c: see dcm_build.h. */
#include "tests/lib/dcm_build.h"

static void
put_tag(struct buf *b, uint32_t tag)
{
	buf_u16(b, (uint16_t)(tag >> 16));
	buf_u16(b, (uint16_t)tag);
}

static bool
is_long(const char *vr)
{
	return strstr("OB OD OF OL OV OW SQ SV UC UN UR UT UV XX", vr) != NULL;
}

void
dcm_build_head(struct dcm_build *d, uint32_t tag, const char *vr, uint32_t len)
{
	put_tag(&d->b, tag);
	if (d->implicit && tag >> 16 != 2) {
		buf_u32(&d->b, len);
		return;
	}
	buf_put(&d->b, vr, 2);
	if (is_long(vr)) {
		buf_u16(&d->b, 0);
		buf_u32(&d->b, len);
	} else {
		buf_u16(&d->b, (uint16_t)len);
	}
}

void
dcm_build_bytes(
    struct dcm_build *d, uint32_t tag, const char *vr, const void *p, size_t n)
{
	bool nul = vr[0] == 'O' || strcmp(vr, "UI") == 0;

	dcm_build_head(d, tag, vr, (uint32_t)(n + n % 2));
	buf_put(&d->b, p, n);
	if (n % 2 != 0)
		buf_u8(&d->b, nul ? 0 : ' ');
}

void
dcm_build_str(struct dcm_build *d, uint32_t tag, const char *vr, const char *s)
{
	dcm_build_bytes(d, tag, vr, s, strlen(s));
}

void
dcm_build_u16(struct dcm_build *d, uint32_t tag, uint16_t v)
{
	dcm_build_head(d, tag, "US", 2);
	buf_u16(&d->b, v);
}

void
dcm_build_item(struct dcm_build *d, uint32_t len)
{
	put_tag(&d->b, 0xFFFEE000u);
	buf_u32(&d->b, len);
}

void
dcm_build_item_end(struct dcm_build *d)
{
	put_tag(&d->b, 0xFFFEE00Du);
	buf_u32(&d->b, 0);
}

void
dcm_build_seq_end(struct dcm_build *d)
{
	put_tag(&d->b, 0xFFFEE0DDu);
	buf_u32(&d->b, 0);
}

void
dcm_build_init(struct dcm_build *d, const char *syntax)
{
	d->implicit = strcmp(syntax, DCM_IMPLICIT) == 0;
	buf_init(&d->b, (size_t)64 * 1024 * 1024);
	buf_put_zero(&d->b, 128);
	buf_put_str(&d->b, "DICM");
	dcm_build_bytes(d, 0x00020001, "OB", "\0\1", 2);
	dcm_build_str(d, 0x00020010, "UI", syntax);
}

void
dcm_build_fini(struct dcm_build *d)
{
	buf_fini(&d->b);
}

void
dcm_build_pixels(struct dcm_build *d, uint16_t rows, uint16_t columns)
{
	size_t n = (size_t)rows * columns * 2;

	dcm_build_u16(d, 0x00280002, 1);
	dcm_build_str(d, 0x00280004, "CS", "MONOCHROME2");
	dcm_build_u16(d, 0x00280010, rows);
	dcm_build_u16(d, 0x00280011, columns);
	dcm_build_u16(d, 0x00280100, 16);
	dcm_build_u16(d, 0x00280101, 12);
	dcm_build_u16(d, 0x00280102, 11);
	dcm_build_u16(d, 0x00280103, 0);
	dcm_build_head(d, 0x7FE00010, "OW", (uint32_t)n);
	buf_put_zero(&d->b, n);
}

void
dcm_build_ct(struct dcm_build *d, uint16_t rows, uint16_t columns)
{
	dcm_build_str(d, 0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL");
	dcm_build_str(d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(d, 0x00080020, "DA", "20190807");
	dcm_build_str(d, 0x00080050, "SH", "ACC-778");
	dcm_build_str(d, 0x00080060, "CS", "CT");
	dcm_build_str(d, 0x00080070, "LO", "Acme");
	dcm_build_str(d, 0x00100010, "PN", "Quill^Ottoline");
	dcm_build_str(d, 0x00100020, "LO", "MRN-7740");
	dcm_build_str(d, 0x0020000D, "UI", "1.2.3.4.5.6.1");
	dcm_build_str(d, 0x0020000E, "UI", "1.2.3.4.5.6.2");
	dcm_build_pixels(d, rows, columns);
}
