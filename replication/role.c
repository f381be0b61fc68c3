/* replication/role.c: roles as people write them. */
#include "replication/member.h"

static const struct {
	enum role role;
	const char *text;
} roles[] = {
	{ ROLE_REGISTRAR, "registrar" },
	{ ROLE_ADMIN, "admin" },
	{ ROLE_WRITER, "writer" },
	{ ROLE_RUNNER, "runner" },
	{ ROLE_READER, "reader" },
	{ ROLE_AUDITOR, "auditor" },
	{ ROLE_HUB, "hub" },
};

const char *
role_text(enum role r)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (roles[i].role == r)
			return roles[i].text;
	}
	return "?";
}

enum err
role_parse(struct slice text, enum role *out)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (slice_eq(text, slice_str(roles[i].text))) {
			*out = roles[i].role;
			return ERR_OK;
		}
	}
	return ERR_MALFORMED;
}
