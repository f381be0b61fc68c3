/* tests/unit/helper/made.h: made-up series of tiny images (3 columns, 2 rows,
 * 2 x 1.5 mm), explicit little endian, to be included once in a test. */
#ifndef PSC_TEST_MADE_H
#define PSC_TEST_MADE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/imaging/helper/dimse.h"
#include "store/base/buf.h"

#define MAX 20u

struct made {
	struct buf file[MAX];
	uint32_t n;
};

/* What differs from file to file; zero is the plain case. */
struct plan {
	double y; /* in-plane offset of this slice */
	double z;
	int instance;
	int temporal; /* 0: absent */
	int temporal_positions;
	double slope;
	double echo;
	double thickness;
	int rows;
	int bits_stored; /* 0: 12 */
	int is_signed;
	uint16_t pixel; /* of the first column, the others are 0 */
	double inter;
	const char *orientation;
};

static inline void
put(struct buf *b, uint32_t tag, const char *vr, const char *text)
{
	size_t n = strlen(text);

	buf_u16(b, (uint16_t)(tag >> 16));
	buf_u16(b, (uint16_t)tag);
	buf_put_str(b, vr);
	buf_u16(b, (uint16_t)(n + n % 2));
	buf_put_str(b, text);
	if (n % 2 != 0)
		buf_u8(b, vr[0] == 'U' ? 0 : ' ');
}

static inline void
put_us(struct buf *b, uint32_t tag, int v)
{
	buf_u16(b, (uint16_t)(tag >> 16));
	buf_u16(b, (uint16_t)tag);
	buf_put_str(b, "US");
	buf_u16(b, 2);
	buf_u16(b, (uint16_t)v);
}

static inline void
put_number(struct buf *b, uint32_t tag, const char *vr, double v)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.6g", v);
	put(b, tag, vr, text);
}

static inline void
put_optional(struct buf *b, uint32_t tag, const char *vr, double v)
{
	if (v != 0)
		put_number(b, tag, vr, v);
}

static inline void
make(struct made *m, const struct plan *p)
{
	struct buf *b = &m->file[m->n];
	struct dimse_meta meta = { .sop_class = "1.2.840.10008.5.1.4.1.1.4",
		.sop_uid = "1.2.3",
		.transfer_syntax = "1.2.840.10008.1.2.1",
		.calling_ae = "" };
	int rows = p->rows == 0 ? 2 : p->rows;
	int stored = p->bits_stored == 0 ? 12 : p->bits_stored;
	int i;
	char text[128];

	buf_init(b, 4096);
	dimse_put_meta(b, &meta);
	put(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.4");
	(void)snprintf(text, sizeof(text), "1.2.3.%u", m->n + 1);
	put(b, 0x00080018, "UI", text);
	put(b, 0x00080060, "CS", "MR");
	put_optional(b, 0x00180050, "DS", p->thickness);
	put_optional(b, 0x00180081, "DS", p->echo);
	put(b, 0x0020000E, "UI", "1.2.4");
	put_optional(b, 0x00200013, "IS", p->instance);
	(void)snprintf(text, sizeof(text), "-10\\%.6g\\%.6g", p->y, p->z);
	put(b, 0x00200032, "DS", text);
	put(b, 0x00200037, "DS",
	    p->orientation == NULL ? "1\\0\\0\\0\\1\\0" : p->orientation);
	put_optional(b, 0x00200100, "IS", p->temporal);
	put_optional(b, 0x00200105, "IS", p->temporal_positions);
	put_us(b, 0x00280002, 1);
	put(b, 0x00280004, "CS", "MONOCHROME2");
	put_us(b, 0x00280010, rows);
	put_us(b, 0x00280011, 3);
	put(b, 0x00280030, "DS", "2\\1.5");
	put_us(b, 0x00280100, 16);
	put_us(b, 0x00280101, stored);
	put_us(b, 0x00280102, stored - 1);
	put_us(b, 0x00280103, p->is_signed);
	put_optional(b, 0x00281052, "DS", p->inter);
	put_optional(b, 0x00281053, "DS", p->slope);
	buf_u16(b, 0x7FE0);
	buf_u16(b, 0x0010);
	buf_put(b, "OW\0", 4);
	buf_u32(b, (uint32_t)rows * 3 * 2);
	for (i = 0; i < rows * 3; i++)
		buf_u16(b, i % 3 == 0 ? (uint16_t)(p->pixel + i / 3) : 0);
	assert_int_equal(buf_err(b), ERR_OK);
	m->n++;
}

static inline void
made_fini(struct made *m)
{
	uint32_t i;

	for (i = 0; i < m->n; i++)
		buf_fini(&m->file[i]);
	m->n = 0;
}

#endif
