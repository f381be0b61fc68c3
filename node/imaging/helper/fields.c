/* node/imaging/helper/fields.c: one row per keyword and level.  Only the
 * output buffer can fail. */
#include "node/imaging/helper/fields.h"
#include "store/base/limits.h"
#include "store/base/num.h"

#define VALUES_MAX 16u
#define TEXT_MAX 256u

enum level { SUBJECT, EXAM, SERIES, IMAGE, N_LEVELS };

struct field {
	uint32_t tag;
	uint8_t level;
	const char *keyword;
};

static const struct field fields[] = {
	{ 0x00100020, SUBJECT, "PatientID" },
	{ 0x00100040, SUBJECT, "PatientSex" },
	{ 0x0020000D, EXAM, "StudyInstanceUID" },
	{ 0x00080020, EXAM, "StudyDate" },
	{ 0x00081030, EXAM, "StudyDescription" },
	{ 0x00101010, EXAM, "PatientAge" },
	{ 0x00101020, EXAM, "PatientSize" },
	{ 0x00101030, EXAM, "PatientWeight" },
	{ 0x0020000E, SERIES, "SeriesInstanceUID" },
	{ 0x00080016, SERIES, "SOPClassUID" },
	{ 0x00080021, SERIES, "SeriesDate" },
	{ 0x00080060, SERIES, "Modality" },
	{ 0x00080070, SERIES, "Manufacturer" },
	{ 0x0008103E, SERIES, "SeriesDescription" },
	{ 0x00081090, SERIES, "ManufacturerModelName" },
	{ 0x00180015, SERIES, "BodyPartExamined" },
	{ 0x00180020, SERIES, "ScanningSequence" },
	{ 0x00180021, SERIES, "SequenceVariant" },
	{ 0x00180022, SERIES, "ScanOptions" },
	{ 0x00180023, SERIES, "MRAcquisitionType" },
	{ 0x00180024, SERIES, "SequenceName" },
	{ 0x00180050, SERIES, "SliceThickness" },
	{ 0x00180060, SERIES, "KVP" },
	{ 0x00180080, SERIES, "RepetitionTime" },
	{ 0x00180082, SERIES, "InversionTime" },
	{ 0x00180084, SERIES, "ImagingFrequency" },
	{ 0x00180085, SERIES, "ImagedNucleus" },
	{ 0x00180087, SERIES, "MagneticFieldStrength" },
	{ 0x00180088, SERIES, "SpacingBetweenSlices" },
	{ 0x00180091, SERIES, "EchoTrainLength" },
	{ 0x00180095, SERIES, "PixelBandwidth" },
	{ 0x00181020, SERIES, "SoftwareVersions" },
	{ 0x00181030, SERIES, "ProtocolName" },
	{ 0x00181120, SERIES, "GantryDetectorTilt" },
	{ 0x00181160, SERIES, "FilterType" },
	{ 0x00181210, SERIES, "ConvolutionKernel" },
	{ 0x00181250, SERIES, "ReceiveCoilName" },
	{ 0x00181312, SERIES, "InPlanePhaseEncodingDirection" },
	{ 0x00181314, SERIES, "FlipAngle" },
	{ 0x00185100, SERIES, "PatientPosition" },
	{ 0x00200011, SERIES, "SeriesNumber" },
	{ 0x00200052, SERIES, "FrameOfReferenceUID" },
	{ 0x00280002, SERIES, "SamplesPerPixel" },
	{ 0x00280004, SERIES, "PhotometricInterpretation" },
	{ 0x00280010, SERIES, "Rows" },
	{ 0x00280011, SERIES, "Columns" },
	{ 0x00280030, SERIES, "PixelSpacing" },
	{ 0x00280100, SERIES, "BitsAllocated" },
	{ 0x00280101, SERIES, "BitsStored" },
	{ 0x00080018, IMAGE, "SOPInstanceUID" },
	{ 0x00080008, IMAGE, "ImageType" },
	{ 0x00180081, IMAGE, "EchoTime" },
	{ 0x00180086, IMAGE, "EchoNumbers" },
	{ 0x00189087, IMAGE, "DiffusionBValue" },
	{ 0x00200012, IMAGE, "AcquisitionNumber" },
	{ 0x00200013, IMAGE, "InstanceNumber" },
	{ 0x00200032, IMAGE, "ImagePositionPatient" },
	{ 0x00200037, IMAGE, "ImageOrientationPatient" },
	{ 0x00200100, IMAGE, "TemporalPositionIdentifier" },
	{ 0x00201041, IMAGE, "SliceLocation" },
	{ 0x00280008, IMAGE, "NumberOfFrames" },
	{ 0x00281050, IMAGE, "WindowCenter" },
	{ 0x00281051, IMAGE, "WindowWidth" },
	{ 0x00281052, IMAGE, "RescaleIntercept" },
	{ 0x00281053, IMAGE, "RescaleSlope" },
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Well-formed UTF-8 (RFC 3629) without control characters. */
static bool
is_text(struct slice s)
{
	size_t k = 0;

	while (k < s.n) {
		uint8_t c = s.p[k];
		unsigned more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;

		if (c < 0x20 || c == 0x7F || (c >= 0x80 && c < 0xC2) ||
		    c > 0xF4 || more >= s.n - k)
			return false;
		for (unsigned j = 1; j <= more; j++)
			if ((s.p[k + j] & 0xC0) != 0x80)
				return false;
		if ((c == 0xE0 && s.p[k + 1] < 0xA0) ||
		    (c == 0xED && s.p[k + 1] > 0x9F) ||
		    (c == 0xF0 && s.p[k + 1] < 0x90) ||
		    (c == 0xF4 && s.p[k + 1] > 0x8F))
			return false;
		k += more + 1;
	}
	return true;
}

static void
write_f64(struct buf *b, double d)
{
	/* Whole numbers are written as such: they compare alike anywhere. */
	if (d >= -9e15 && d <= 9e15 && d - (double)(int64_t)d == 0.0)
		mp_w_i64(b, (int64_t)d);
	else
		mp_w_f64(b, d);
}

/* One value; false (nothing written) when it is empty or ill-formed. */
static bool
write_text(struct buf *b, enum dcm_vr vr, struct slice v)
{
	int64_t i;
	double d;

	if (v.n == 0 || v.n > TEXT_MAX)
		return false;
	if (vr == VR_IS) {
		if (v.p[0] == '+')
			v = slice_of(v.p + 1, v.n - 1);
		if (num_i64(v, INT32_MIN, INT32_MAX, &i) != ERR_OK)
			return false;
		mp_w_i64(b, i);
		return true;
	}
	if (vr == VR_DS) {
		if (num_f64(v, &d) != ERR_OK)
			return false;
		write_f64(b, d);
		return true;
	}
	if (!is_text(v))
		return false;
	mp_w_str(b, v);
	return true;
}

static size_t
unit_of(enum dcm_vr vr)
{
	if (vr == VR_US || vr == VR_SS)
		return 2;
	if (vr == VR_UL || vr == VR_SL || vr == VR_FL)
		return 4;
	return vr == VR_FD ? 8 : 0;
}

static bool
write_binary(struct buf *b, enum dcm_vr vr, const uint8_t *p)
{
	uint64_t raw = 0;
	double d;
	float fl;
	uint32_t r32;

	for (size_t k = unit_of(vr); k > 0; k--)
		raw = raw << 8 | p[k - 1];
	r32 = (uint32_t)raw;
	if (vr == VR_US || vr == VR_UL) {
		mp_w_u64(b, raw);
	} else if (vr == VR_SS) {
		mp_w_i64(b, (int16_t)(uint16_t)raw);
	} else if (vr == VR_SL) {
		mp_w_i64(b, (int32_t)r32);
	} else {
		memcpy(&fl, &r32, sizeof(fl));
		memcpy(&d, &raw, sizeof(d));
		d = vr == VR_FL ? (double)fl : d;
		if (!(d - d == 0.0)) /* not finite */
			return false;
		write_f64(b, d);
	}
	return true;
}

/* All values into tmp; returns how many, 0 when any is ill-formed. */
static uint32_t
write_values(const struct dcm_file *f, uint32_t i, struct buf *tmp)
{
	enum dcm_vr vr = (enum dcm_vr)f->e[i].vr;
	struct slice all = dcm_value(f, i);
	size_t unit = unit_of(vr);
	struct slice v;
	uint32_t n = 0;

	if (unit > 0) {
		for (; n < all.n / unit; n++)
			if (n == VALUES_MAX ||
			    !write_binary(tmp, vr, all.p + n * unit))
				return 0;
		return n;
	}
	if (!dict_vr_text(vr))
		return 0;
	for (; dcm_nth(all, n, &v); n++)
		if (n == VALUES_MAX || !write_text(tmp, vr, v))
			return 0;
	return n;
}

static uint32_t
write_level(const struct dcm_file *f, enum level level, struct buf *out)
{
	struct buf tmp = BUF_MAX(64 * KIB);
	uint32_t n = 0;

	for (size_t k = 0; k < N_FIELDS; k++) {
		uint32_t i = dcm_find(f, fields[k].tag);
		uint32_t values;

		if (fields[k].level != level || i == DCM_NONE)
			continue;
		buf_reset(&tmp);
		values = write_values(f, i, &tmp);
		if (values == 0)
			continue;
		mp_w_cstr(out, fields[k].keyword);
		if (values > 1)
			mp_w_array(out, values);
		buf_put_slice(out, buf_slice(&tmp));
		if (tmp.err != ERR_OK)
			out->err = tmp.err;
		n++;
	}
	buf_fini(&tmp);
	return n;
}

enum err
fields_write(const struct dcm_file *f, struct buf *out)
{
	static const char *const names[] = { "subject", "exam", "series",
		"image" };
	struct buf level = BUF_MAX(64 * KIB);

	mp_w_map(out, N_LEVELS);
	for (unsigned k = 0; k < N_LEVELS; k++) {
		buf_reset(&level);
		mp_kv_map(out, names[k], write_level(f, (enum level)k, &level));
		buf_put_slice(out, buf_slice(&level));
		if (level.err != ERR_OK)
			out->err = level.err;
	}
	buf_fini(&level);
	return out->err;
}
