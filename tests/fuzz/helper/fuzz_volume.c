/* tests/fuzz/helper/fuzz_volume.c: a series of two hostile files through
 * geometry and the NIfTI writer.  The input is one file; the second is the
 * same one cut short by its last byte's worth.  Pixel codecs of other
 * libraries are left out: encapsulated objects stop before decoding. */
#include <unistd.h>

#include "node/imaging/helper/nifti_out.h"
#include "node/imaging/helper/sidecar.h"
#include "node/imaging/sealed.h"

#define FUZZ_PIXELS_MAX (256 * 256)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
fuzz_native(struct slice file)
{
	struct dcm_file *f = NULL;
	bool native;

	if (dcm_open(file, &f, NULL) != ERR_OK)
		return false;
	native = f->syntax != SYNTAX_ENCAPSULATED;
	dcm_close(f);
	return native;
}

static void
fuzz_write(const struct volume *v)
{
	struct buf json = BUF_MAX(MIB), fields = BUF_MAX(MIB);
	struct errmsg em = { 0 };
	uint64_t bytes = 0;
	int fd = sealed_new();

	REQUIRE(fd >= 0);
	if (nifti_out_write(v, fd, &bytes, &em) == ERR_OK)
		REQUIRE(bytes > 0);
	else
		REQUIRE(em.cause[0] != '\0');
	if (sidecar_json(v, &json) == ERR_OK)
		REQUIRE(memchr(json.p, '\0', json.n) == NULL);
	(void)!sidecar_fields(v, &fields);
	buf_fini(&json);
	buf_fini(&fields);
	(void)close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice file = slice_of(data, size), cut = file;
	struct errmsg em = { 0 };
	struct volume v;
	enum err e;

	if (size > 0)
		cut.n -= data[size - 1] < size ? data[size - 1] : 0;
	volume_init(&v);
	e = volume_add(&v, file, &em);
	if (e == ERR_OK && cut.n != file.n)
		(void)!volume_add(&v, cut, &em);
	if (e == ERR_OK && volume_build(&v, &em) == ERR_OK) {
		REQUIRE(v.n == v.n_slices * v.n_volumes);
		if (v.format.rows * v.format.cols <= FUZZ_PIXELS_MAX &&
		    fuzz_native(file))
			fuzz_write(&v);
	}
	volume_fini(&v);
	return 0;
}
