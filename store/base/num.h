/* store/base/num.h: numbers from text, and arithmetic that says when it
 * overflows. */
#ifndef PSC_BASE_NUM_H
#define PSC_BASE_NUM_H

#include "store/base/err.h"
#include "store/base/slice.h"

/* Whole input, decimal, no sign, no space, no locale. */
enum err num_u64(
    struct slice s, uint64_t min, uint64_t max, uint64_t *out) PSC_MUST_USE;
/* Whole input, optional '-', decimal. */
enum err num_i64(
    struct slice s, int64_t min, int64_t max, int64_t *out) PSC_MUST_USE;
/* Whole input, decimal floating point as DICOM DS writes it; finite. */
enum err num_f64(struct slice s, double *out) PSC_MUST_USE;
/* "90s", "15m", "12h", "7d" in seconds. */
enum err num_duration_s(
    struct slice s, uint64_t max, uint64_t *out) PSC_MUST_USE;
/* "512", "64k", "16m", "1g" in bytes (powers of 1024). */
enum err num_bytes(struct slice s, uint64_t max, uint64_t *out) PSC_MUST_USE;

bool num_add(size_t a, size_t b, size_t *out) PSC_MUST_USE; /* true: fits */
bool num_mul(size_t a, size_t b, size_t *out) PSC_MUST_USE;

#endif
