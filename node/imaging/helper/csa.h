/* node/imaging/helper/csa.h: Siemens' CSA image header (0029,xx10), reduced to
 * named numbers.  The format has no public specification; both layouts are
 * described in nibabel's "Siemens format DICOM with CSA header".  Pure. */
#ifndef PSC_HELPER_CSA_H
#define PSC_HELPER_CSA_H

#include "store/base/buf.h"

/* What n bytes can become: an item of 16 bytes and more may gain 4. */
#define CSA_ROOM(n) ((n)*2 + 64)

/* Appends to out a header of the second layout with those fields of csa.c
 * that in has, numbers only: mosaics, slice times, diffusion, phase encoding.
 * No name, text or padding of the input gets through.  False: in is no CSA
 * header, or nothing of it stays; then out is as it was, unless its memory
 * gave out (out->err). */
bool csa_reduce(struct slice in, struct buf *out);

#endif
