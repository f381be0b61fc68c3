/* store/catalog/content_name.c: names of members, safe in a folder. */
#include "store/catalog/catalog_internal.h"

static bool
name_byte_ok(uint8_t c, bool first)
{
	if (c < 0x20 || c == 0x7f)
		return false;
	if (strchr("/\\:*?\"<>|", c) != NULL)
		return false;
	return !(first && (c == '.' || c == '-' || c == ' '));
}

void
content_name_clean(struct slice in, char out[CONTENT_NAME_MAX + 1])
{
	size_t n = in.n < CONTENT_NAME_MAX ? in.n : CONTENT_NAME_MAX, i;

	for (i = 0; i < n; i++)
		out[i] = name_byte_ok(in.p[i], i == 0) ? (char)in.p[i] : '_';
	if (n == 0)
		out[n++] = '_';
	out[n] = '\0';
}

bool
content_name_good(const char *name)
{
	char clean[CONTENT_NAME_MAX + 1];

	content_name_clean(slice_str(name), clean);
	return strcmp(clean, name) == 0 &&
	       put_text_valid(slice_str(name), CONTENT_NAME_MAX);
}
