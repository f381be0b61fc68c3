/* node/imaging/helper/nifti_out.h: a built volume as NIfTI-1, gzipped. */
#ifndef PSC_HELPER_NIFTI_OUT_H
#define PSC_HELPER_NIFTI_OUT_H

#include "node/imaging/helper/volume.h"

/* NIfTI datatype the samples are written in (DT_* of nifti1.h). */
int nifti_out_type(const struct volume *v);
/* Append to fd.  The same input gives the same bytes.  *bytes: written. */
enum err nifti_out_write(const struct volume *v, int fd, uint64_t *bytes,
    struct errmsg *em) PSC_MUST_USE;

#endif
