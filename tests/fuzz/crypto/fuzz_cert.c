/* cry_cert_check on any bytes.  Only certificates signed by a root that the
 * fuzzer does not hold could pass: with the root of the corpus, the sole one
 * accepted is the honest certificate. */
#include <stdlib.h>

#include "crypto/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
honest(struct cry_cert *out)
{
	static const uint8_t site[32] = { 1 }, sign[32] = { 2 },
			     box[32] = { 3 };
	struct cry_device_pub pub;
	struct cry_sign_sk site_sk, sign_sk;
	struct cry_box_sk box_sk;

	if (cry_init() != ERR_OK)
		abort();
	cry_sign_keypair_seed(site, &pub.site, &site_sk);
	cry_sign_keypair_seed(sign, &pub.sign, &sign_sk);
	cry_box_keypair_seed(box, &pub.box, &box_sk);
	cry_cert_issue(&site_sk, &pub, 1, out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cry_cert good;
	static int ready;
	struct cry_device_pub d;

	if (!ready) {
		honest(&good);
		ready = 1;
	}
	if (cry_cert_check(slice_of(data, size), &d) != ERR_OK)
		return 0;
	if (size != sizeof(good.b))
		abort();
	if (memcmp(data + 2, good.b + 2, 32) == 0 &&
	    memcmp(data, good.b, size) != 0)
		abort(); /* our root never signed this */
	return 0;
}
