/* node/imaging/helper/words.c: the vocabulary is anatomy, orientation,
 * sequence and reconstruction terms.  Words that are also common names (May,
 * Long, Young, King, Rose) stay out of it.  Only the buffer can fail. */
#include "node/imaging/helper/words.h"

#define WORD_MAX 16u

/* Sorted, lower case. */
static const char *const vocabulary[] = {
	"2d",
	"3d",
	"4d",
	"abd",
	"abdomen",
	"abdominal",
	"acc",
	"accel",
	"accelerated",
	"acq",
	"acquisition",
	"adc",
	"adult",
	"aif",
	"angio",
	"ankle",
	"ant",
	"anterior",
	"ao",
	"aorta",
	"aortic",
	"arm",
	"arterial",
	"asl",
	"asset",
	"atlas",
	"averaged",
	"ax",
	"axial",
	"b",
	"b0",
	"background",
	"baseline",
	"bilat",
	"bilateral",
	"blade",
	"bold",
	"bolus",
	"bone",
	"brain",
	"bravo",
	"breast",
	"bw",
	"calf",
	"calibration",
	"cardiac",
	"carotid",
	"cath",
	"cbf",
	"cbv",
	"cdi",
	"cerebral",
	"cervical",
	"chest",
	"ciss",
	"cisternogram",
	"clear",
	"cm",
	"cni",
	"coil",
	"collimation",
	"color",
	"colour",
	"combined",
	"contra",
	"contrast",
	"cor",
	"coronal",
	"corr",
	"corrected",
	"cranial",
	"cranium",
	"csf",
	"csi",
	"csp",
	"ct",
	"cta",
	"ctp",
	"cube",
	"curved",
	"cv",
	"cvr",
	"dce",
	"deep",
	"default",
	"delayed",
	"der",
	"derived",
	"diff",
	"diffusion",
	"dir",
	"dixon",
	"dki",
	"dose",
	"dsc",
	"dti",
	"dual",
	"dwi",
	"dyn",
	"dynamic",
	"early",
	"echo",
	"ed",
	"edr",
	"elbow",
	"enhanced",
	"ep",
	"ep2d",
	"ep3d",
	"epi",
	"epi2d",
	"es",
	"ex",
	"exam",
	"exp",
	"expiration",
	"fa",
	"face",
	"fast",
	"fat",
	"fatsat",
	"fdg",
	"femur",
	"ffe",
	"fgre",
	"field",
	"fiesta",
	"finger",
	"first",
	"fl",
	"fl2d",
	"fl3d",
	"flair",
	"flash",
	"flip",
	"flow",
	"fmri",
	"foot",
	"forearm",
	"fov",
	"fr",
	"frfse",
	"fs",
	"fsat",
	"fse",
	"fspgr",
	"fsrm",
	"ft",
	"full",
	"func",
	"functional",
	"gado",
	"gantry",
	"gd",
	"ge",
	"gibbs",
	"grad",
	"gradient",
	"grappa",
	"grase",
	"gre",
	"haste",
	"head",
	"heart",
	"hi",
	"high",
	"hip",
	"hips",
	"hr",
	"hrct",
	"humerus",
	"hyper",
	"iac",
	"idea",
	"ideal",
	"image",
	"images",
	"in",
	"inf",
	"inferior",
	"inj",
	"inner",
	"intra",
	"inv",
	"inversion",
	"inversions",
	"ipat",
	"ips",
	"ir",
	"iso",
	"isotropic",
	"joint",
	"kernel",
	"kidney",
	"knee",
	"lat",
	"lateral",
	"lava",
	"left",
	"leg",
	"liver",
	"loc",
	"localiser",
	"localizer",
	"low",
	"lower",
	"lt",
	"lumbar",
	"lung",
	"mag",
	"magnitude",
	"map",
	"mapping",
	"maps",
	"mask",
	"mb",
	"mbw",
	"me",
	"mean",
	"med",
	"mediastinum",
	"medic",
	"mibg",
	"midline",
	"min",
	"mip",
	"mm",
	"moco",
	"mosaic",
	"motion",
	"mp",
	"mp2rage",
	"mpr",
	"mprage",
	"mr",
	"mra",
	"mri",
	"mrs",
	"mrv",
	"ms",
	"mt",
	"mtc",
	"mtr",
	"mtt",
	"multi",
	"multiband",
	"nac",
	"nasal",
	"navi",
	"neck",
	"neuro",
	"new",
	"nm",
	"no",
	"non",
	"noncontrast",
	"normal",
	"oblique",
	"of",
	"optic",
	"orbit",
	"orbits",
	"orig",
	"original",
	"out",
	"pa",
	"parallel",
	"part",
	"pasl",
	"pat",
	"patlak",
	"pc",
	"pcasl",
	"pd",
	"pdw",
	"pelvic",
	"pelvis",
	"perf",
	"perfusion",
	"pet",
	"petct",
	"phantom",
	"phase",
	"pit",
	"pituitary",
	"pns",
	"portal",
	"post",
	"posterior",
	"pre",
	"press",
	"prone",
	"prop",
	"propeller",
	"prostate",
	"proton",
	"pulm",
	"pulmonary",
	"pw",
	"pwi",
	"qsm",
	"quant",
	"quick",
	"quiet",
	"rage",
	"rapid",
	"raw",
	"rbv",
	"rcbf",
	"rcbv",
	"reco",
	"recon",
	"reconstruction",
	"ref",
	"reference",
	"reformat",
	"rel",
	"relaxation",
	"rest",
	"resting",
	"restore",
	"rf",
	"rgb",
	"rib",
	"ribs",
	"right",
	"rl",
	"rotated",
	"rs",
	"rsfmri",
	"rt",
	"rtp",
	"run",
	"sag",
	"sagittal",
	"sat",
	"scan",
	"scout",
	"se",
	"sec",
	"segmentation",
	"sense",
	"seq",
	"sequence",
	"series",
	"short",
	"shoulder",
	"sinus",
	"sinuses",
	"skull",
	"slab",
	"slice",
	"slices",
	"small",
	"smartbrain",
	"smooth",
	"soft",
	"space",
	"spectroscopy",
	"spgr",
	"spin",
	"spine",
	"spir",
	"spiral",
	"spoiled",
	"ss",
	"ssfp",
	"ssfse",
	"standard",
	"std",
	"stir",
	"stress",
	"sub",
	"subtraction",
	"sup",
	"superior",
	"supine",
	"surv",
	"survey",
	"suv",
	"swan",
	"swi",
	"sym",
	"t1",
	"t1ce",
	"t1w",
	"t2",
	"t2w",
	"task",
	"te",
	"temporal",
	"tensor",
	"tfe",
	"tfl",
	"thick",
	"thigh",
	"thin",
	"thoracic",
	"thorax",
	"thrive",
	"thyroid",
	"tibia",
	"time",
	"tir",
	"tirm",
	"tissue",
	"tmj",
	"tof",
	"tr",
	"tra",
	"trace",
	"transverse",
	"trig",
	"trim",
	"true",
	"truefisp",
	"trufi",
	"tse",
	"ttp",
	"turbo",
	"twist",
	"type",
	"ub",
	"ultra",
	"under",
	"upper",
	"ute",
	"vascular",
	"vein",
	"veins",
	"venc",
	"venous",
	"ventilation",
	"vibe",
	"view",
	"vol",
	"volume",
	"volumetric",
	"w",
	"warp",
	"wash",
	"water",
	"wb",
	"weighted",
	"whole",
	"wip",
	"with",
	"without",
	"wm",
	"wrist",
	"xa",
	"xr",
};

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
in_list(struct slice w, const char *const *list, size_t hi)
{
	uint8_t low[WORD_MAX];
	size_t lo = 0;

	if (w.n == 0 || w.n > WORD_MAX)
		return false;
	for (size_t k = 0; k < w.n; k++)
		low[k] = w.p[k] | 0x20; /* digits stay what they are */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = slice_cmp(slice_str(list[mid]), slice_of(low, w.n));

		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}
#define IN(w, list) in_list((w), (list), sizeof(list) / sizeof((list)[0]))

/* A word of the vocabulary, a measure (5mm, 64dir), a numbered word (run2)
 * or a parameter (b1000, TE30).  More digits may be a date or an id. */
static bool
is_kept(struct slice token)
{
	static const char *const units[] = { "ch", "cm", "deg", "dir", "dirs",
		"kv", "kvp", "mm", "ms", "sl" };
	static const char *const parameters[] = { "b", "te", "ti", "tr" };
	size_t a = 0;
	size_t b = token.n;

	if (IN(token, vocabulary))
		return true;
	while (a < token.n && is_digit(token.p[a]))
		a++;
	while (b > a && is_digit(token.p[b - 1]))
		b--;
	if (a > 0)
		return a <= 3 && IN(slice_of(token.p + a, token.n - a), units);
	if (token.n - b <= 2)
		return IN(slice_of(token.p, b), vocabulary);
	return token.n - b <= 4 && IN(slice_of(token.p, b), parameters);
}

/* The run of letters, digits and bytes above 0x7F at the start of text. */
static size_t
token_len(struct slice text)
{
	size_t n = 0;

	while (n < text.n && (is_digit(text.p[n]) || is_letter(text.p[n]) ||
				 text.p[n] >= 0x80))
		n++;
	return n;
}

void
words_clean(struct slice text, struct buf *out)
{
	size_t start = out->n;

	while (text.n > 0) {
		size_t n = token_len(text);

		if (n > 0 && is_kept(slice_of(text.p, n))) {
			if (out->n > start)
				buf_u8(out, ' ');
			buf_put(out, text.p, n);
		}
		if (n == 0)
			n = 1;
		text.p += n;
		text.n -= n;
	}
}

bool
words_only(struct slice text)
{
	while (text.n > 0) {
		size_t n = token_len(text);

		if (n > 0 && !is_kept(slice_of(text.p, n)))
			return false;
		if (n == 0)
			n = 1;
		text.p += n;
		text.n -= n;
	}
	return true;
}
