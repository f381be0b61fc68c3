/* node/imaging/helper/write.h: write the de-identified form of a walked
 * object: same transfer syntax, same pixel bytes, every other element by
 * rules.h. */
#ifndef PSC_HELPER_WRITE_H
#define PSC_HELPER_WRITE_H

#include "node/imaging/helper/rules.h"
#include "node/imaging/helper/scrub.h"

/* (0002,0012): UUID-derived (PS3.5 annex B.2). */
#define WRITE_IMPLEMENTATION_UID "2.25.189013496078741082026410959988182517265"
#define WRITE_IMPLEMENTATION_NAME "PESSCARA"

struct writer {
	/* given */
	const struct dcm_file *f;
	const struct img_context *ctx;
	const struct uids *uids; /* same order as ctx->new_uids */
	const struct scrub *scrub;
	struct rules rules;
	struct buf *b;
	const char *sop_uid; /* the new one, for the file meta */
	bool mask;           /* bits outside the stored ones go */
	/* inside */
	uint32_t ours[6 + TABLE_SET_MAX]; /* tags written at the top anyway */
	size_t n_ours;
	/* told */
	bool unmapped;   /* a UID had no place in the map and was emptied */
	bool duplicates; /* a tag stood twice in a level: first one kept */
	bool cleaned;    /* identifiers were taken out of text */
	bool ill_formed; /* a value that breaks its VR was emptied */
	bool overlays;   /* overlay planes were dropped */
	enum err err;
};

/* Appends a whole Part 10 file to w->b.  ERR_NOMEM, ERR_LIMIT. */
enum err write_object(struct writer *w) PSC_MUST_USE;
/* The replacement of one UID; false: it must go.  UIDs of the standard and
 * UIDs whose map entry is NULL stand for themselves. */
bool write_map_uid(const struct writer *w, struct slice uid, struct slice *out);

#endif
