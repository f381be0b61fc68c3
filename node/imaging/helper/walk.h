/* node/imaging/helper/walk.h: the one bounded DICOM header walker: split,
 * index and de-identification all read its table (rulings.md 14).
 *
 * dcm_open() (deid.h) lays every element of an object out in one array, in
 * file order: a sequence is followed by its items (tag FFFE,E000), an item
 * by its elements.  elem[i].skip is the index after i's subtree, so the
 * children of i are i + 1, then skip of that, up to elem[i].skip.
 * Encapsulated pixel data is a sequence of items that are its fragments.
 *
 * Everything borrows the opened bytes.  Immutable after dcm_open, so any
 * number of threads may read it. */
#ifndef PSC_HELPER_WALK_H
#define PSC_HELPER_WALK_H

#include "node/imaging/helper/deid.h"
#include "node/deid/dict.h"

#define WALK_DEPTH_MAX 24u        /* nested sequences */
#define WALK_ELEMS_MAX (1u << 20) /* 40 bytes each */
#define DCM_NONE UINT32_MAX
#define DCM_LEN_UNDEF 0xFFFFFFFFu

#define TAG_META_SOP_CLASS 0x00020002u
#define TAG_META_SOP_UID 0x00020003u
#define TAG_META_SYNTAX 0x00020010u
#define TAG_CHARSET 0x00080005u
#define TAG_SOP_CLASS 0x00080016u
#define TAG_SOP_UID 0x00080018u
#define TAG_MODALITY 0x00080060u
#define TAG_CODE_MEANING 0x00080104u
#define TAG_PATIENT_NAME 0x00100010u
#define TAG_PATIENT_ID 0x00100020u
#define TAG_PATIENT_ISSUER 0x00100021u
#define TAG_STUDY_UID 0x0020000Du
#define TAG_SERIES_UID 0x0020000Eu
#define TAG_FRAME_UID 0x00200052u
#define TAG_FLOAT_PIXELS 0x7FE00008u
#define TAG_DOUBLE_PIXELS 0x7FE00009u
#define TAG_PIXELS 0x7FE00010u
#define TAG_ITEM 0xFFFEE000u
#define TAG_ITEM_END 0xFFFEE00Du
#define TAG_SEQ_END 0xFFFEE0DDu

struct dcm_elem {
	uint64_t off; /* first byte of the tag */
	uint64_t val; /* first byte of the value */
	uint64_t len; /* bytes of value; closing delimiter not counted */
	uint32_t tag;
	uint32_t skip;  /* index after this element's subtree */
	uint8_t vr;     /* enum dcm_vr; VR_NONE: item */
	uint8_t depth;  /* sequences around it */
	bool undefined; /* length was undefined */
	bool implicit;  /* no VR in the file: taken from the dictionary */
};

enum dcm_syntax {
	SYNTAX_IMPLICIT,
	SYNTAX_EXPLICIT,
	SYNTAX_ENCAPSULATED, /* explicit, pixel data in fragments */
	SYNTAX_BIG,          /* walked, never rewritten */
	SYNTAX_OPAQUE,       /* deflated or unknown: file meta only */
};

struct dcm_file {
	struct slice in;
	struct dcm_elem *e;
	uint32_t n;
	uint32_t first;    /* elements before are file meta */
	uint64_t data_off; /* first byte of the dataset */
	uint64_t end;      /* first byte after the dataset: rest is padding */
	uint32_t pixels;   /* index of the top-level pixel data, or DCM_NONE */
	bool part10;       /* preamble and DICM were there */
	bool duplicates;   /* a level holds a tag twice */
	bool unsorted;     /* a level is not in tag order */
	enum dcm_syntax syntax;
	char transfer_syntax[IMG_UID_MAX + 1];
};

/* Index of the first element with this tag among the top level (or the file
 * meta for group 2); DCM_NONE. */
uint32_t dcm_find(const struct dcm_file *f, uint32_t tag);
/* The same among the children of an item or sequence. */
uint32_t dcm_find_in(const struct dcm_file *f, uint32_t parent, uint32_t tag);
struct slice dcm_value(const struct dcm_file *f, uint32_t i);
/* Value without padding (trailing spaces and NULs, leading spaces). */
struct slice dcm_trimmed(const struct dcm_file *f, uint32_t i);
struct slice dcm_trim(struct slice s);
/* The k-th value of a multi-valued text (0x5C splits); false at the end. */
bool dcm_nth(struct slice text, uint32_t k, struct slice *out);
/* First 16-bit value of a top-level element, or dflt. */
uint16_t dcm_u16(const struct dcm_file *f, uint32_t tag, uint16_t dflt);
/* First value of a top-level IS, or dflt when absent, ill-formed, < 0. */
uint32_t dcm_is(const struct dcm_file *f, uint32_t tag, uint32_t dflt);
/* The k-th value of a top-level CS equals text. */
bool dcm_is_cs(
    const struct dcm_file *f, uint32_t tag, uint32_t k, const char *text);
/* Children of a level [from, to): DCM_NONE parent is the whole dataset. */
void dcm_level(
    const struct dcm_file *f, uint32_t parent, uint32_t *from, uint32_t *to);

static inline bool
dcm_tag_private(uint32_t tag)
{
	return ((tag >> 16) & 1u) != 0;
}

#endif
