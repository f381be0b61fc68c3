/* identity and de-identification of any bytes that walk: no crash; an output
 * walks again, is a Part 10 file, and de-identifying it once more with the
 * same map changes nothing (a fixed point). */
#include <stdlib.h>

#include "node/imaging/helper/recode.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
run(struct slice in, const char *profile, bool keep, struct deid_result *r)
{
	static const char *map[IMG_UIDS_MAX];
	struct img_context c = { .profile = profile, .subject = "-" };
	struct img_identity id = { 0 };
	static struct charset *charset; /* as long as the run */
	struct dcm_file *whole = NULL, *f;
	struct recode plain = { 0 };
	enum err e = dcm_open(in, &whole, NULL);

	if (charset == NULL && charset_open(&charset) != ERR_OK)
		abort();
	if (e == ERR_OK)
		e = recode_plain(whole, charset, &plain, NULL);
	f = plain.f != NULL ? plain.f : whole;
	if (e == ERR_OK)
		e = deid_identity(f, &id);
	for (uint32_t k = 0; k < id.n_uids; k++)
		map[k] = keep ? NULL : "2.25.4242";
	c.new_uids = map;
	c.n_uids = id.n_uids;
	if (e == ERR_OK)
		e = deid_apply(f, &id, &c, r, NULL);
	deid_identity_fini(&id);
	recode_fini(&plain);
	dcm_close(whole);
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *profile =
	    size > 0 && (data[size - 1] & 1) != 0 ? "basic" : "trial-imaging";
	struct deid_result one = { 0 };
	struct deid_result two = { 0 };

	if (run(slice_of(data, size), profile, false, &one) == ERR_OK) {
		if (one.file.n < 132 ||
		    memcmp(one.file.p + 128, "DICM", 4) != 0)
			abort();
		if (run(buf_slice(&one.file), profile, true, &two) != ERR_OK ||
		    !slice_eq(buf_slice(&one.file), buf_slice(&two.file)))
			abort();
	}
	deid_result_fini(&one);
	deid_result_fini(&two);
	return 0;
}
