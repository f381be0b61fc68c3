/* store/catalog/level.c: names of levels and their order. */
#include "store/catalog/catalog_internal.h"

const char *
level_canonical(const char *level)
{
	return strcmp(level, "study") == 0 ? "project" : level;
}

enum level_rank
level_rank(const char *level)
{
	static const struct {
		const char *name;
		enum level_rank rank;
	} ranks[] = {
		{ "project", LEVEL_PROJECT },
		{ "study", LEVEL_PROJECT },
		{ "subject", LEVEL_SUBJECT },
		{ "exam", LEVEL_EXAM },
		{ "series", LEVEL_SERIES },
		{ "image", LEVEL_IMAGE },
	};
	size_t i;

	for (i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
		if (strcmp(level, ranks[i].name) == 0)
			return ranks[i].rank;
	}
	return LEVEL_FREE;
}

static bool
level_char(char c, bool first)
{
	if (c >= 'a' && c <= 'z')
		return true;
	return !first && ((c >= '0' && c <= '9') || c == '_' || c == '-');
}

bool
level_valid(const char *level)
{
	size_t n = strlen(level), i;

	if (n == 0 || n > CAT_LEVEL_MAX)
		return false;
	for (i = 0; i < n; i++) {
		if (!level_char(level[i], i == 0))
			return false;
	}
	return true;
}

bool
cat_level_is_free(const char *level)
{
	return level_valid(level) && level_rank(level) == LEVEL_FREE;
}
