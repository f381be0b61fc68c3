/* node/api/route.c: the table of routes, finding one, and OpenAPI.
 *
 * The table is the only list: the server, the OpenAPI document and the test
 * that holds the two together read it. */
#include "node/api/api_internal.h"

const struct api_route api_routes[] = {
	{ "GET", "/status", api_h_status, API_READ, false, "",
	    "The node: site, key, store, shares with frontier roots, peers, "
	    "quarantine, listening addresses." },
	{ "GET", "/id", api_h_id, API_READ, false, "",
	    "Site name, key to hand to others, fingerprint to compare." },
	{ "GET", "/config", api_h_config, API_READ, false, "",
	    "The configuration the node runs with." },
	{ "GET", "/openapi.json", api_h_openapi, API_READ, false, "",
	    "This document." },
	{ "GET", "/shares", api_h_shares, API_READ, false, "",
	    "Project spaces this node takes part in, one a line." },
	{ "POST", "/shares", api_h_share_create, API_ACT, false, "",
	    "Create one: {name, compartments, allow_identified}." },
	{ "GET", "/shares/{share}", api_h_share, API_READ, false, "",
	    "One project space by name or id prefix." },
	{ "GET", "/shares/{share}/members", api_h_members, API_READ, false, "",
	    "Its members, one a line." },
	{ "POST", "/shares/{share}/invites", api_h_invite, API_PERSON, false,
	    "",
	    "Invite: {role, compartment, expires, address, history, approve} "
	    "gives {invite}; approve: a claim of it waits." },
	{ "GET", "/shares/{share}/requests", api_h_requests, API_READ, false,
	    "", "Claims that wait for approval, one a line." },
	{ "POST", "/shares/{share}/approvals", api_h_approve, API_PERSON, false,
	    "",
	    "Grant what a request asks for, or sign a draft: {id}; let a "
	    "request go: {id, reject}; sign a draft though another of its "
	    "place was signed: {id, instead}." },
	{ "POST", "/shares/{share}/grants", api_h_grant, API_PERSON, false, "",
	    "Grant: {key, role, compartment, history}." },
	{ "POST", "/shares/{share}/revocations", api_h_revoke, API_PERSON,
	    false, "",
	    "Revoke a device for good, and make new keys for what it could "
	    "read: {key, reason}." },
	{ "POST", "/shares/{share}/adoptions", api_h_adopt, API_PERSON, false,
	    "",
	    "What this node holds of a revoked device's writing counts after "
	    "all: {key, reason}." },
	{ "GET", "/shares/{share}/branches", api_h_branches, API_READ, false,
	    "",
	    "Of a share whose membership stands still: what there is to "
	    "choose from." },
	{ "POST", "/shares/{share}/checkpoints", api_h_checkpoint, API_PERSON,
	    false, "",
	    "Sign which branch holds: {keep: its id, or \"fork\" for what is "
	    "before them, instead}." },
	{ "POST", "/shares/{share}/freezes", api_h_freeze, API_PERSON, false,
	    "",
	    "Freeze a device at once, until it is thawed or revoked: {key, "
	    "reason}." },
	{ "POST", "/shares/{share}/thaws", api_h_thaw, API_PERSON, false, "",
	    "End all freezes of a device: {key, reason}." },
	{ "POST", "/shares/{share}/rotations", api_h_rotate, API_PERSON, false,
	    "", "New keys for a compartment, or for all: {compartment}." },
	{ "PUT", "/shares/{share}/registrars", api_h_registrars, API_PERSON,
	    false, "",
	    "Who signs, all of them, and how many must: {keys, sign}." },
	{ "PUT", "/shares/{share}/subscription", api_h_subscribe, API_ACT,
	    false, "",
	    "Which content is fetched: {compartment, content: none, lazy, "
	    "all or pin, where: a query; nothing: all of it}." },
	{ "POST", "/joins", api_h_join, API_ACT, false, "",
	    "Join by an invite: {invite}." },
	{ "GET", "/peers", api_h_peers, API_READ, false, "",
	    "Known peers, one a line." },
	{ "POST", "/peers", api_h_peer_add, API_ACT, false, "",
	    "Add one: {address, key}." },
	{ "POST", "/peers/drain", api_h_drain, API_ACT, true, "",
	    "May this hub be switched off? Waits {timeout_ms} until others "
	    "prove that they hold all of it: {safe, chunks, alone, behind}." },
	{ "DELETE", "/peers/{peer}", api_h_peer_remove, API_ACT, false, "",
	    "Forget one, by address or key." },
	{ "POST", "/imports", api_h_import, API_LOCAL, true, "",
	    "Import files and folders of this machine: {paths, share, "
	    "compartment, profile, domain, no_deid, reason, brief}; one line a "
	    "file "
	    "(brief: {progress} instead of files that need nobody), then "
	    "{summary}." },
	{ "POST", "/pulls", api_h_pull, API_LOCAL, true, "",
	    "Ask an archive for images: {archive, patient, study, series, "
	    "accession, date, modality, dry_run, move}; {progress} meanwhile, "
	    "one line a series with what C-FIND counted (found) and what is "
	    "here, then {summary}." },
	{ "GET", "/quarantine", api_h_quarantine, API_READ, true, "state",
	    "What waits for a person, one item a line; state=all for all." },
	{ "GET", "/quarantine/{id}", api_h_quarantine_one, API_READ, false, "",
	    "One item by id or unique prefix." },
	{ "POST", "/quarantine/{id}/release", api_h_release, API_PERSON, false,
	    "", "Release into its share: {reason}." },
	{ "POST", "/quarantine/{id}/reject", api_h_reject, API_PERSON, false,
	    "", "Reject: {reason}, mandatory." },
	{ "GET", "/assets", api_h_find, API_READ, true,
	    "query,share,level,fields,limit,count,retired",
	    "Find: one asset a line; count=1 gives {count}; retired=1 looks at "
	    "what is retired, too." },
	{ "GET", "/assets/{id}", api_h_asset, API_READ, false, "history",
	    "One asset with fields, tags, notes, links, locks and versions; "
	    "history=1 adds all that was ever said of it." },
	{ "POST", "/assets/{id}/fields", api_h_fields_set, API_ACT, false, "",
	    "Set fields: {fields: [\"name=value\", ...], type, reason}; a name "
	    "that comes again has several values, an empty one takes the "
	    "field away." },
	{ "POST", "/assets/{id}/tags", api_h_tags_set, API_ACT, false, "",
	    "Tag and untag: {add: [...], remove: [...], reason}." },
	{ "POST", "/assets/{id}/notes", api_h_note, API_ACT, false, "",
	    "Add a note: {text}." },
	{ "POST", "/assets/{id}/links", api_h_link, API_ACT, false, "",
	    "Link to another asset: {to, as, remove, reason}." },
	{ "POST", "/assets/{id}/retire", api_h_retire, API_PERSON, false, "",
	    "Hide it from find, at every peer; bytes stay: {reason}." },
	{ "POST", "/assets/{id}/unretire", api_h_unretire, API_PERSON, false,
	    "", "Show it again: {reason}." },
	{ "POST", "/assets/{id}/undo", api_h_undo, API_ACT, false, "",
	    "A new version with the content of an earlier one: {to, reason}; "
	    "without to, of the one before." },
	{ "POST", "/assets/{id}/lock", api_h_lock, API_ACT, false, "",
	    "Say that one works on it: {for_s, note}; advisory." },
	{ "POST", "/assets/{id}/unlock", api_h_unlock, API_ACT, false, "",
	    "Give it back: {all}; all=true ends the locks of others, too." },
	{ "GET", "/locks", api_h_locks, API_READ, true, "",
	    "Locks that were not given back, one a line." },
	{ "POST", "/groups", api_h_group, API_ACT, false, "",
	    "Make a group: {share, compartment, name}; members are links "
	    "\"member\"." },
	{ "GET", "/shares/{share}/contexts", api_h_contexts, API_READ, true, "",
	    "What is declared and permitted for levels, one a line." },
	{ "POST", "/shares/{share}/contexts", api_h_context_set, API_ACT, false,
	    "",
	    "Declare or permit for a level: {level, compartment, field, type} "
	    "or {level, compartment, workflows: [...], methods: [...], "
	    "all_workflows, all_methods, reasons: [...], reason}; reasons: "
	    "methods that must say why." },
	{ "GET", "/shares/{share}/expected", api_h_expected, API_READ, true, "",
	    "Rules of which series an exam is expected to have, one a line." },
	{ "POST", "/shares/{share}/expected", api_h_expect_set, API_ACT, false,
	    "",
	    "Say or take away a rule: {name, compartment, where, exams, "
	    "series, images, remove, reason}." },
	{ "POST", "/shares/{share}/contacts", api_h_contact_set, API_ACT, false,
	    "",
	    "Whom to ask at a site when something is missing: {site, contact, "
	    "compartment, reason}; an empty contact takes it away." },
	{ "GET", "/shares/{share}/missing", api_h_missing, API_READ, true,
	    "all,site",
	    "Exams that lack expected series, one a line: {exam, site, "
	    "contact, newest, series, missing, detail}; all=1: those that are "
	    "complete, too; site: only those of this site." },
	{ "GET", "/assets/{id}/files", api_h_files, API_READ, true, "as",
	    "Its files (as=original, dicom or nifti), one a line: {asset, n, "
	    "name, "
	    "bytes, hash}." },
	{ "GET", "/assets/{id}/files/{n}", api_h_file, API_READ, true, "sum",
	    "Bytes of one file; the trailer X-Sha256, or with sum=blake2b "
	    "X-Blake2b, follows them." },
	{ "POST", "/exports", api_h_get, API_LOCAL, true, "",
	    "Write files into a directory of this machine, DIR/ASSET/NAME, on "
	    "all cores: {dir, what: asset ids, as, sum: blake2b or sha256, "
	    "umask}; one line a file, {asset, path, bytes, hash or sha256}, "
	    "with {error, cause, next} if it cannot be read; then {summary}." },
	{ "POST", "/workdirs/checkout", api_h_checkout, API_LOCAL, true, "",
	    "Write files into a directory of this machine with a manifest: "
	    "{dir, what: asset ids or one query, as, no_lock}; one line an "
	    "asset, "
	    "then {summary}." },
	{ "POST", "/workdirs/checkin", api_h_checkin, API_PERSON, true, "",
	    "What changed there, as new versions: {dir, note, reason, tool, "
	    "level, source, dry_run, keep_lock}; one line a version, then "
	    "{summary}." },
	{ "POST", "/workdirs/diff", api_h_workdir_diff, API_LOCAL, true, "",
	    "What changed in a checked-out directory, by hash: {dir}; one line "
	    "a file, one for each asset that the node has a later version of, "
	    "then {summary}." },
	{ "GET", "/sync", api_h_sync, API_READ, false, "peer",
	    "How far this node is from its peers, or from one (its HOST:PORT "
	    "or the beginning of its key): each with rate (bytes a second), "
	    "eta_s, why it is not level with us, and shares: a row a "
	    "compartment {lag_ops, ahead_ops, in_sync, forked_feeds, why}." },
	{ "GET", "/sync/received", api_h_received, API_READ, false, "",
	    "Is what came what was sent? A row an author: ops it signed that "
	    "it wrote, ops and whole versions here, verdict, the first asset "
	    "that lacks content." },
	{ "POST", "/sync/now", api_h_sync_now, API_ACT, false, "",
	    "Redial peers that are not connected." },
	{ "POST", "/sync/wait", api_h_sync_wait, API_ACT, true, "",
	    "Wait {timeout_ms} until in sync; answers as GET /sync." },
	{ "POST", "/sync/export", api_h_air_export, API_LOCAL, true, "",
	    "Write what a session with a peer would carry into a file of this "
	    "machine: {path, peer, all, no_content}; peer is its key, or the "
	    "beginning of that of a known peer or member." },
	{ "POST", "/sync/import", api_h_air_import, API_LOCAL, true, "",
	    "Take in such a file: {path}." },
	{ "GET", "/events", api_h_events, API_READ, true, "after,follow",
	    "What happened, one event a line, or a server-sent stream; "
	    "follow=1 goes on." },
	{ "GET", "/audit", api_h_audit, API_READ, true, "asset,after",
	    "Who did what, when and why, one row a line, each checked against "
	    "the chain; asset: rows that name it." },
	{ "GET", "/audit/verify", api_h_audit_verify, API_READ, false, "",
	    "Is the audit whole: {rows, first, last, whole}; an error says how "
	    "many rows before the damage are." },
	{ "POST", "/verify", api_h_verify, API_ACT, true, "",
	    "Check the store: {deep} gives {checked, bad}." },
	{ "POST", "/gc", api_h_gc, API_ACT, true, "",
	    "Give back the space of what nothing refers to: {dry_run}; answers "
	    "what was collected, removed and copied forward." },
	{ "POST", "/repair", api_h_repair, API_ACT, true, "",
	    "Make whole what is damaged, from peers and from other copies: "
	    "{wait_ms} without progress; gives {repaired, wanted, bad}." },
	{ "POST", "/backup", api_h_backup, API_LOCAL, true, "",
	    "Copy what is new into a folder of this machine: {dir} gives "
	    "{commit, bytes, copied_bytes, segments, root}." },
	{ "GET", "/store/root", api_h_root, API_READ, true, "",
	    "One hash over all that is kept, {root, commit}: equal for a "
	    "rebuilt index and a restored backup." },
	{ "GET", "/workflows", api_h_workflows, API_READ, false, "",
	    "Workflows, one a line." },
	{ "POST", "/workflows", api_h_workflow_add, API_ACT, false, "share",
	    "Add the workflow in the body (YAML or JSON)." },
	{ "POST", "/workflows/check", api_h_workflow_check, API_READ, false, "",
	    "Check the workflow in the body; nothing is kept." },
	{ "GET", "/runs", api_h_runs, API_READ, true, "",
	    "Runs of workflows, one a line." },
	{ "POST", "/deid/preview", api_h_preview, API_ACT, false, "",
	    "What de-identification would do to a file, an element a line: "
	    "{path, profile}; audited, for it identifies." },
	{ "GET", "/deid/profiles", api_h_profiles, API_READ, true, "",
	    "De-identification profiles, one a line: name, extends, hash, "
	    "options, rules, departs, description, wrong." },
	{ "GET", "/deid/profiles/{name}", api_h_profile, API_READ, true, "",
	    "One profile, then a line for each rule that its parent has not: "
	    "element, name, now, parent." },
	{ "POST", "/deid/lookup", api_h_lookup, API_PERSON, false, "",
	    "Import a list of pseudonyms: {path, domain} gives {added}." },
	{ "POST", "/deid/reidentify", api_h_reidentify, API_PERSON, true, "",
	    "Who is behind a pseudonym: {pseudonym, share, reason}, one person "
	    "a line: {share, pseudonym, patient_id, issuer, patient_name, "
	    "domain}; audited with the reason, which is mandatory." },
};
const uint32_t api_n_routes = sizeof(api_routes) / sizeof(api_routes[0]);

/* One segment of a path; *s moves behind it. */
static struct slice
route_segment(const char **s)
{
	const char *p = *s;
	size_t n;

	if (*p == '/')
		p++;
	n = strcspn(p, "/");
	*s = p + n;
	return slice_of(p, n);
}

static bool
route_match(const char *pattern, const char *path,
    char param[API_PARAMS_MAX][API_PARAM_BYTES])
{
	uint32_t n = 0;

	while (*pattern != '\0' && *path != '\0') {
		struct slice want = route_segment(&pattern);
		struct slice have = route_segment(&path);

		if (want.n > 0 && want.p[0] == '{') {
			if (n == API_PARAMS_MAX || have.n == 0 ||
			    have.n >= API_PARAM_BYTES)
				return false;
			memcpy(param[n], have.p, have.n);
			param[n++][have.n] = '\0';
		} else if (!slice_eq(want, have)) {
			return false;
		}
	}
	return *pattern == '\0' && *path == '\0';
}

const struct api_route *
api_route_find(const char *method, const char *path,
    char param[API_PARAMS_MAX][API_PARAM_BYTES], bool *path_known)
{
	size_t root = strlen(API_ROOT);
	uint32_t i;

	*path_known = false;
	if (strncmp(path, API_ROOT, root) != 0)
		return NULL;
	for (i = 0; i < api_n_routes; i++) {
		if (!route_match(api_routes[i].pattern, path + root, param))
			continue;
		*path_known = true;
		if (strcmp(api_routes[i].method, method) == 0)
			return &api_routes[i];
	}
	return NULL;
}

bool
api_streams(const char *method, const char *path)
{
	char param[API_PARAMS_MAX][API_PARAM_BYTES];
	bool known;
	const struct api_route *r = api_route_find(method, path, param, &known);

	return r != NULL && r->streams;
}

bool
api_route_at(uint32_t i, const char **method, const char **pattern)
{
	if (i >= api_n_routes)
		return false;
	*method = api_routes[i].method;
	*pattern = api_routes[i].pattern;
	return true;
}

/* --- OpenAPI --- */
static void
openapi_param(struct jw *w, struct slice name, const char *in)
{
	jw_obj(w, NULL);
	jw_strn(w, "name", name);
	jw_str(w, "in", in);
	jw_bool(w, "required", strcmp(in, "path") == 0);
	jw_obj(w, "schema");
	jw_str(w, "type", "string");
	jw_end(w);
	jw_end(w);
}

static void
openapi_params(struct jw *w, const struct api_route *r)
{
	const char *s = r->pattern;

	jw_arr(w, "parameters");
	while (*s != '\0') {
		struct slice seg = route_segment(&s);

		if (seg.n > 2 && seg.p[0] == '{')
			openapi_param(
			    w, slice_of(seg.p + 1, seg.n - 2), "path");
	}
	for (s = r->args; *s != '\0'; s += *s == ',') {
		size_t n = strcspn(s, ",");

		openapi_param(w, slice_of(s, n), "query");
		s += n;
	}
	jw_end(w);
}

static void
openapi_response(struct jw *w, const char *status, const char *text)
{
	jw_obj(w, status);
	jw_str(w, "description", text);
	jw_end(w);
}

static void
openapi_route(struct jw *w, const struct api_route *r)
{
	static const char *const who[] = {
		[API_READ] = "read",
		[API_ACT] = "act",
		[API_LOCAL] = "local",
		[API_PERSON] = "person",
	};
	char method[8];
	size_t i;

	for (i = 0; r->method[i] != '\0' && i + 1 < sizeof(method); i++)
		method[i] = (char)(r->method[i] | 0x20);
	method[i] = '\0';
	jw_obj(w, method);
	jw_str(w, "summary", r->doc);
	jw_str(w, "x-permission", who[r->permission]);
	openapi_params(w, r);
	jw_obj(w, "responses");
	openapi_response(w, "200", "Done.");
	openapi_response(w, "default", "Failed: {error, cause, next}.");
	jw_end(w);
	jw_end(w);
}

static bool
openapi_first(uint32_t i)
{
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (strcmp(api_routes[k].pattern, api_routes[i].pattern) == 0)
			return false;
	}
	return true;
}

static void
openapi_paths(struct jw *w)
{
	uint32_t i, k;

	jw_obj(w, "paths");
	for (i = 0; i < api_n_routes; i++) {
		if (!openapi_first(i))
			continue;
		jw_obj(w, api_routes[i].pattern);
		for (k = i; k < api_n_routes; k++) {
			if (strcmp(api_routes[k].pattern,
				api_routes[i].pattern) == 0)
				openapi_route(w, &api_routes[k]);
		}
		jw_end(w);
	}
	jw_end(w);
}

enum err
api_openapi(struct buf *out)
{
	struct jw w;

	jw_init(&w, out);
	jw_obj(&w, NULL);
	jw_str(&w, "openapi", "3.0.3");
	jw_obj(&w, "info");
	jw_str(&w, "title", "Pesscara");
	jw_str(&w, "version", PSC_VERSION);
	jw_end(&w);
	jw_arr(&w, "servers");
	jw_obj(&w, NULL);
	jw_str(&w, "url", API_ROOT);
	jw_end(&w);
	jw_end(&w);
	jw_obj(&w, "components");
	jw_obj(&w, "securitySchemes");
	jw_obj(&w, "token");
	jw_str(&w, "type", "http");
	jw_str(&w, "scheme", "bearer");
	jw_end(&w);
	jw_end(&w);
	jw_end(&w);
	jw_arr(&w, "security");
	jw_obj(&w, NULL);
	jw_arr(&w, "token");
	jw_end(&w);
	jw_end(&w);
	jw_end(&w);
	openapi_paths(&w);
	jw_end(&w);
	return buf_err(out);
}

static const char doc_head[] =
    "# REST\n\n"
    "Rooted at `/api/v1`. `GET /api/v1/openapi.json` is the same list for "
    "programs. This page\nis made from the table of routes in "
    "`node/api/route.c`.\n\n"
    "**Who gets in.** The unix socket `HOME/pesscara.sock` (mode 0600) admits "
    "the user who owns\nthe node. Over TCP (`rest.listen`) every request "
    "carries `Authorization: Bearer TOKEN`; the\ntoken is in "
    "`HOME/rest-token` (mode 0600), made at the first start. Acts marked "
    "*local* name\npaths of the node's machine: they are open over the "
    "socket only. So are acts marked *person*,\nwhich are signed: unless the "
    "node runs unattended, each carries the owner's passphrase, in\nhex, in "
    "the header `X-Pesscara-Passphrase`; so does an import with "
    "`no_deid`.\n\n"
    "**Requests.** A body is one JSON object of at most 1 MiB; an unknown "
    "member or one of the\nwrong type is an error. A workflow is sent as it "
    "is written.\n\n"
    "**Answers.** One JSON document, or for lists one JSON object a line "
    "(`application/x-ndjson`),\nsent as they are found. Empty lines are "
    "signs of life. With `Accept: text/event-stream`, rows\ncome as "
    "server-sent events. A file is sent as bytes; a trailer with their sum "
    "follows them, and\nan answer without it is not whole.\n\n"
    "**Errors.** The HTTP status and `{error, cause, next}`: what kind, what "
    "happened, what to do.\nA list that cannot be finished ends with a line "
    "of this form.\n\n"
    "| Method | Path | Arguments | Who | What |\n|---|---|---|---|---|\n";

static const char *
api_who(enum api_permission p)
{
	if (p == API_PERSON)
		return "person";
	return p == API_LOCAL ? "local" : "token";
}

enum err
api_doc(struct buf *out)
{
	uint32_t i;

	buf_put_str(out, doc_head);
	for (i = 0; i < api_n_routes; i++) {
		const struct api_route *r = &api_routes[i];

		buf_printf(out, "| %s | `%s` | %s | %s | %s |\n", r->method,
		    r->pattern, r->args, api_who(r->permission), r->doc);
	}
	return buf_err(out);
}

enum err
api_h_openapi(struct api_call *c)
{
	struct buf b = BUF_MAX(API_ROW_BYTES);
	enum err e = api_openapi(&b);

	if (e == ERR_OK)
		e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
