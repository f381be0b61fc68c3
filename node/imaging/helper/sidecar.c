/* node/imaging/helper/sidecar.c: what the pixels do not say.
 *
 * Times in seconds as BIDS wants them.  SourceInstances lists the
 * SOPInstanceUID of every slice in storage order, volume after volume: the
 * way back from a voxel to its image.  Only numbers, UIDs and CS values
 * (upper case letters, digits, space, underscore) are copied, so nothing
 * needs escaping and no free text comes through. */
#include "node/imaging/helper/sidecar.h"

#include <math.h>

#include "node/imaging/helper/nifti_out.h"

struct sidecar_number {
	uint32_t tag;
	const char *name;
	double scale;
};

static const struct sidecar_number sidecar_numbers[] = {
	{ 0x00180050u, "SliceThickness", 1 },
	{ 0x00180060u, "KVP", 1 },
	{ 0x00180080u, "RepetitionTime", 1e-3 },
	{ 0x00180081u, "EchoTime", 1e-3 },
	{ 0x00180082u, "InversionTime", 1e-3 },
	{ 0x00180083u, "NumberOfAverages", 1 },
	{ 0x00180084u, "ImagingFrequency", 1 },
	{ 0x00180087u, "MagneticFieldStrength", 1 },
	{ 0x00180088u, "SpacingBetweenSlices", 1 },
	{ 0x00180091u, "EchoTrainLength", 1 },
	{ 0x00180093u, "PercentSampling", 1 },
	{ 0x00180094u, "PercentPhaseFOV", 1 },
	{ 0x00180095u, "PixelBandwidth", 1 },
	{ 0x00181120u, "GantryDetectorTilt", 1 },
	{ 0x00181150u, "ExposureTime", 1e-3 },
	{ 0x00181151u, "XRayTubeCurrent", 1 },
	{ 0x00181314u, "FlipAngle", 1 },
	{ 0x00200011u, "SeriesNumber", 1 },
};

struct sidecar_code {
	uint32_t tag;
	const char *name;
	bool list;
};

static const struct sidecar_code sidecar_codes[] = {
	{ 0x00080008u, "ImageType", true },
	{ 0x00080060u, "Modality", false },
	{ 0x00180015u, "BodyPartExamined", false },
	{ 0x00180020u, "ScanningSequence", true },
	{ 0x00180021u, "SequenceVariant", true },
	{ 0x00180022u, "ScanOptions", true },
	{ 0x00180023u, "MRAcquisitionType", false },
	{ 0x00181312u, "InPlanePhaseEncodingDirectionDICOM", false },
	{ 0x00185100u, "PatientPosition", false },
	{ 0x00282110u, "LossyImageCompression", false },
};

#define SIDECAR_LIST_MAX 16u
#define SIDECAR_CODE_MAX 16u
#define TAG_SIDECAR_MODALITY 0x00080060u

static bool
sidecar_code_ok(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (!((s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			(s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == ' ' ||
			s.p[i] == '_'))
			return false;
	}
	return s.n > 0 && s.n <= SIDECAR_CODE_MAX;
}

static void
sidecar_put_code(struct buf *b, struct slice s)
{
	buf_put_str(b, "\"");
	buf_put_slice(b, s);
	buf_put_str(b, "\"");
}

static void
sidecar_code(
    struct buf *b, const struct dcm_file *f, const struct sidecar_code *c)
{
	struct slice all = dcm_trimmed(f, dcm_find(f, c->tag)), one;
	uint32_t k, n = 0;

	if (all.n == 0)
		return;
	for (k = 0; k < SIDECAR_LIST_MAX && dcm_nth(all, k, &one); k++) {
		if (!sidecar_code_ok(one))
			continue;
		if (n == 0)
			buf_printf(
			    b, "\t\"%s\": %s", c->name, c->list ? "[" : "");
		else if (!c->list)
			break;
		else
			buf_put_str(b, ", ");
		sidecar_put_code(b, one);
		n++;
	}
	if (n > 0)
		buf_put_str(b, c->list ? "],\n" : ",\n");
}

static void
sidecar_header(struct buf *b, const struct dcm_file *f)
{
	double x;
	size_t i;

	for (i = 0; i < sizeof(sidecar_codes) / sizeof(sidecar_codes[0]); i++)
		sidecar_code(b, f, &sidecar_codes[i]);
	for (i = 0; i < sizeof(sidecar_numbers) / sizeof(sidecar_numbers[0]);
	     i++) {
		x = volume_number(f, sidecar_numbers[i].tag, 0);
		if (!isnan(x))
			buf_printf(b, "\t\"%s\": %.9g,\n",
			    sidecar_numbers[i].name,
			    x * sidecar_numbers[i].scale);
	}
}

static void
sidecar_geometry(struct buf *b, const struct volume *v)
{
	static const char *const keys[] = { "TemporalPositionIdentifier",
		"DiffusionBValue", "AcquisitionNumber", "TriggerTime",
		"AcquisitionTime", "InstanceNumber" };

	buf_printf(b, "\t\"NumberOfSlices\": %u,\n", v->n_slices);
	buf_printf(b, "\t\"NumberOfVolumes\": %u,\n", v->n_volumes);
	if (v->key >= 0)
		buf_printf(
		    b, "\t\"VolumesOrderedBy\": \"%s\",\n", keys[v->key]);
	if (v->sheared)
		buf_printf(b,
		    "\t\"AffineSheared\": true,\n"
		    "\t\"TiltFromPositions\": %.6g,\n",
		    v->tilt_deg);
	buf_printf(b, "\t\"RescaleApplied\": %s,\n",
	    v->slopes_differ ? "true" : "false");
}

enum err
sidecar_json(const struct volume *v, struct buf *out)
{
	struct dcm_file *f = NULL;
	enum err e = dcm_open(v->images[0].file, &f, NULL);
	char uid[IMG_UID_MAX + 1];
	uint32_t i;

	if (e != ERR_OK)
		return e;
	buf_put_str(out, "{\n");
	sidecar_header(out, f);
	sidecar_geometry(out, v);
	dcm_text(f, TAG_SERIES_UID, uid, sizeof(uid));
	if (msg_uid_ok(uid))
		buf_printf(out, "\t\"SeriesInstanceUID\": \"%s\",\n", uid);
	buf_put_str(out, "\t\"SourceInstances\": [\n");
	for (i = 0; i < v->n; i++)
		buf_printf(out, "\t\t\"%s\"%s\n", v->images[i].sop_uid,
		    i + 1 < v->n ? "," : "");
	buf_put_str(out,
	    "\t],\n\t\"ConversionSoftware\": \"pesscara-imaging\",\n"
	    "\t\"ConversionSoftwareVersion\": \"" PSC_VERSION "\"\n}\n");
	dcm_close(f);
	return buf_err(out);
}

enum err
sidecar_fields(const struct volume *v, struct buf *out)
{
	const struct volume_format *m = &v->format;
	struct slice modality;
	struct dcm_file *f = NULL;
	enum err e = dcm_open(v->images[0].file, &f, NULL);

	if (e != ERR_OK)
		return e;
	modality = dcm_trimmed(f, dcm_find(f, TAG_SIDECAR_MODALITY));
	mp_w_map(out, sidecar_code_ok(modality) ? 7 : 6);
	if (sidecar_code_ok(modality))
		mp_kv_str(out, "Modality", modality);
	mp_kv_u64(out, "Rows", m->rows);
	mp_kv_u64(out, "Columns", m->cols);
	mp_kv_u64(out, "NumberOfSlices", v->n_slices);
	mp_kv_u64(out, "NumberOfTemporalPositions", v->n_volumes);
	mp_kv_array(out, "PixelSpacing", 2);
	mp_w_f64(out, m->spacing[0]);
	mp_w_f64(out, m->spacing[1]);
	mp_kv_f64(out, "SpacingBetweenSlices", v->gap);
	dcm_close(f);
	return buf_err(out);
}
