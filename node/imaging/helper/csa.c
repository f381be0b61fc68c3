/* node/imaging/helper/csa.c: walk the fields, write the ones we know by name.
 *
 * Layout 2: "SV10" 4 3 2 1, u32 fields, u32 77, then each field: name[64],
 * u32 multiplicity, vr[4], u32 type, u32 items, u32 mark; each item: four u32
 * of which the second is its length, bytes padded to 4.  Layout 1 has no
 * magic, and the length is the first of the four less the first field's
 * items.  All little endian.  What breaks off ends the walk: what was read
 * until then stays. */
#include "node/imaging/helper/csa.h"

#include "store/base/rd.h"

#define FIELDS_MAX 256u
#define ITEMS_MAX 1024u
#define NAME_BYTES 64u
#define NUMBER_MAX 24u
#define MARK 77u

struct csa_field {
	const char *name;
	const char *vr;
	uint32_t type; /* syngo's number of the VR */
};

/* What conversion needs: mosaics, slice times, diffusion, distortion. */
static const struct csa_field known[] = {
	{ "BandwidthPerPixelPhaseEncode", "FD", 4 },
	{ "B_matrix", "FD", 4 },
	{ "B_value", "IS", 6 },
	{ "DiffusionGradientDirection", "FD", 4 },
	{ "MosaicRefAcqTimes", "FD", 4 },
	{ "NumberOfImagesInMosaic", "US", 10 },
	{ "PhaseEncodingDirectionPositive", "IS", 6 },
	{ "ProtocolSliceNumber", "IS", 6 },
	{ "RealDwellTime", "IS", 6 },
	{ "SliceMeasurementDuration", "DS", 3 },
	{ "SliceNormalVector", "FD", 4 },
	{ "TimeAfterStart", "DS", 3 },
};
#define N_KNOWN (sizeof(known) / sizeof(known[0]))

struct walk {
	struct rd r;
	bool second;    /* layout */
	uint32_t first; /* items of the first field, for layout 1 */
	struct buf *out;
};

static const struct csa_field *
find(const uint8_t name[NAME_BYTES])
{
	for (size_t k = 0; k < N_KNOWN; k++) {
		size_t n = strlen(known[k].name);

		if (memcmp(name, known[k].name, n + 1) == 0)
			return &known[k];
	}
	return NULL;
}

/* The number an item holds, or nothing. */
static struct slice
number(struct slice s)
{
	size_t n = 0;

	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	while (n < s.n && s.p[n] != 0 && s.p[n] != ' ') {
		if (strchr("0123456789+-.eE", s.p[n]) == NULL)
			return (struct slice){ 0 };
		n++;
	}
	return n <= NUMBER_MAX ? slice_of(s.p, n) : (struct slice){ 0 };
}

static void
put_item(struct buf *out, struct slice v)
{
	uint32_t n = v.n == 0 ? 0 : (uint32_t)v.n + 1; /* with a NUL */

	buf_u32(out, n);
	buf_u32(out, n);
	buf_u32(out, MARK);
	buf_u32(out, n);
	buf_put_slice(out, v);
	buf_put_zero(out, n == 0 ? 0 : 1 + (4 - n % 4) % 4);
}

static void
put_field(struct buf *out, const struct csa_field *f, uint32_t vm, uint32_t n)
{
	size_t len = strlen(f->name);

	buf_put(out, f->name, len);
	buf_put_zero(out, NAME_BYTES - len);
	buf_u32(out, vm <= ITEMS_MAX ? vm : 0);
	buf_put(out, f->vr, 2);
	buf_put_zero(out, 2);
	buf_u32(out, f->type);
	buf_u32(out, n);
	buf_u32(out, MARK);
}

static struct slice
read_item(struct walk *w)
{
	uint32_t x0 = rd_u32(&w->r);
	uint32_t x1 = rd_u32(&w->r);
	uint32_t len = w->second ? x1 : x0 - w->first;
	size_t pad = (4 - len % 4) % 4;
	struct slice v;

	(void)rd_bytes(&w->r, 8);
	v = rd_bytes(&w->r, len);
	(void)rd_bytes(&w->r, pad < w->r.left ? pad : w->r.left);
	return v;
}

/* True: one more field stays. */
static bool
reduce_field(struct walk *w)
{
	struct slice name = rd_bytes(&w->r, NAME_BYTES);
	uint32_t vm = rd_u32(&w->r);
	const struct csa_field *f;
	size_t start = w->out->n;
	uint32_t items;

	(void)rd_bytes(&w->r, 8); /* VR and type: ours are written */
	items = rd_u32(&w->r);
	(void)rd_u32(&w->r);
	if (w->first == 0)
		w->first = items;
	if (items > ITEMS_MAX)
		rd_fail(&w->r, ERR_LIMIT);
	f = w->r.err == ERR_OK && items > 0 ? find(name.p) : NULL;
	if (f != NULL)
		put_field(w->out, f, vm, items);
	for (uint32_t k = 0; k < items && w->r.err == ERR_OK; k++) {
		struct slice v = read_item(w);

		if (f != NULL)
			put_item(w->out, number(v));
	}
	if (f != NULL && w->r.err != ERR_OK && w->out->err == ERR_OK)
		w->out->n = start; /* broke off in this field */
	return f != NULL && w->r.err == ERR_OK;
}

bool
csa_reduce(struct slice in, struct buf *out)
{
	static const uint8_t magic[8] = { 'S', 'V', '1', '0', 4, 3, 2, 1 };
	struct walk w = { .r = rd_init(in), .out = out };
	size_t start = out->n;
	uint32_t fields, kept = 0;

	w.second = in.n > 8 && memcmp(in.p, magic, 8) == 0;
	if (w.second)
		(void)rd_bytes(&w.r, 8);
	fields = rd_u32(&w.r);
	if (rd_u32(&w.r) != MARK || fields > FIELDS_MAX)
		return false;
	buf_put(out, magic, 8);
	buf_u32(out, 0); /* how many, below */
	buf_u32(out, MARK);
	for (uint32_t k = 0; k < fields && w.r.err == ERR_OK; k++)
		kept += reduce_field(&w);
	if (out->err != ERR_OK)
		return false;
	if (kept == 0)
		out->n = start;
	else
		for (size_t k = 0; k < 4; k++)
			out->p[start + 8 + k] = (uint8_t)(kept >> (8 * k));
	return kept > 0;
}
