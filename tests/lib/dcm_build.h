/* tests/lib/dcm_build.h: hand-made DICOM objects for tests.  Bytes go where
 * they are told to: lengths may lie, order may be wrong. */
#ifndef PSC_TESTS_DCM_BUILD_H
#define PSC_TESTS_DCM_BUILD_H

#include "store/base/buf.h"

#define DCM_IMPLICIT "1.2.840.10008.1.2"
#define DCM_EXPLICIT "1.2.840.10008.1.2.1"
#define DCM_CT "1.2.840.10008.5.1.4.1.1.2"
#define DCM_UNDEFINED 0xFFFFFFFFu

struct dcm_build {
	struct buf b;
	bool implicit;
};

void dcm_build_init(struct dcm_build *d, const char *syntax); /* with meta */
void dcm_build_fini(struct dcm_build *d);
/* Head with any length, then whatever is put next. */
void dcm_build_head(
    struct dcm_build *d, uint32_t tag, const char *vr, uint32_t len);
/* A whole element; padded to even length with a space (UI, OB: NUL). */
void dcm_build_bytes(
    struct dcm_build *d, uint32_t tag, const char *vr, const void *p, size_t n);
void dcm_build_str(
    struct dcm_build *d, uint32_t tag, const char *vr, const char *s);
void dcm_build_u16(struct dcm_build *d, uint32_t tag, uint16_t v);
void dcm_build_item(struct dcm_build *d, uint32_t len);
void dcm_build_item_end(struct dcm_build *d);
void dcm_build_seq_end(struct dcm_build *d);
/* A CT image of rows x columns zero samples, with the usual identifiers. */
void dcm_build_ct(struct dcm_build *d, uint16_t rows, uint16_t columns);
void dcm_build_pixels(struct dcm_build *d, uint16_t rows, uint16_t columns);

#endif
