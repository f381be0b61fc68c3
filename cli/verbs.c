/* cli/verbs.c: the table of verbs, the only list: parser and help read it. */
#include "cli/cli_internal.h"

#define O_SHARE                                                                \
	{                                                                      \
		"share", "SHARE", "in this share"                              \
	}
#define O_SHARE_NEEDED                                                         \
	{                                                                      \
		"share", "SHARE", "in this share; needed"                      \
	}
#define O_COMPARTMENT                                                          \
	{                                                                      \
		"compartment", "P", "compartment of the share"                 \
	}
#define O_PASSPHRASE                                                           \
	{                                                                      \
		"passphrase-file", "F", "the owner's passphrase, not asked"    \
	}
#define O_REASON                                                               \
	{                                                                      \
		"reason", "TEXT", "why; kept in the audit"                     \
	}

const struct cli_verb cli_verbs[] = {
	{ "init", "", 0, 0, cmd_init,
	    { { "site", "NAME", "name of this site; needed" },
		{ "recovery-file", "F", "write the recovery secret to F" },
		{ "passphrase-file", "F", "read the passphrase from F" },
		{ "unattended", NULL, "the owner's key opens by a file" },
		{ "set", "key=value", "set a key of pesscara.yaml" } },
	    "make a new home: keys, store, config; prints the fingerprint" },
	{ "id", "", 0, 0, cmd_id, { { 0 } },
	    "site, key to hand to others, fingerprint to compare" },
	{ "status", "", 0, 0, cmd_status, { { 0 } },
	    "the node: store, shares, peers, quarantine" },
	{ "config show", "", 0, 0, cmd_config_show, { { 0 } },
	    "the configuration the node runs with" },
	{ "config set", "KEY=VALUE...", 1, 64, cmd_config_set, { { 0 } },
	    "change pesscara.yaml (works without a node)" },
	{ "config check", "", 0, 0, cmd_config_check, { { 0 } },
	    "check pesscara.yaml (works without a node)" },
	{ "share create", "NAME", 1, 1, cmd_share_create,
	    { { "compartment", "C", "a compartment; may be repeated" },
		{ "allow-identified", NULL,
		    "identified data may be put into it" } },
	    "make a project space" },
	{ "share list", "", 0, 0, cmd_share_list, { { 0 } },
	    "project spaces this node takes part in" },
	{ "share show", "SHARE", 1, 1, cmd_share_show, { { 0 } },
	    "one project space with its frontier roots" },
	{ "share members", "SHARE", 1, 1, cmd_share_members, { { 0 } },
	    "who takes part in it" },
	{ "share invite", "SHARE", 1, 1, cmd_share_invite,
	    { { "role", "ROLE",
		  "needed: registrar admin writer runner reader auditor "
		  "hub" },
		O_COMPARTMENT, { "expires", "7d", "how long it is good" },
		{ "address", "HOST:PORT", "where the joiner meets us" },
		O_PASSPHRASE },
	    "one string to send to the site that shall join" },
	{ "share join", "INVITE", 1, 1, cmd_share_join, { { 0 } },
	    "join by an invite" },
	{ "share grant", "SHARE KEY", 2, 2, cmd_share_grant,
	    { { "role", "ROLE", "needed; as for invite" }, O_COMPARTMENT,
		{ "history", "all", "what it may read of before" },
		O_PASSPHRASE },
	    "grant a right to a key" },
	{ "peer add", "HOST:PORT", 1, 1, cmd_peer_add,
	    { { "key", "KEY", "the peer's key; needed" } }, "dial this node" },
	{ "peer list", "", 0, 0, cmd_peer_list, { { 0 } }, "known peers" },
	{ "peer remove", "HOST:PORT|KEY", 1, 1, cmd_peer_remove, { { 0 } },
	    "forget a peer" },
	{ "subscribe", "SHARE", 1, 1, cmd_subscribe,
	    { O_COMPARTMENT,
		{ "content", "none|all", "fetch content or only metadata" } },
	    "choose what content is kept here" },
	{ "import", "PATH...", 1, CLI_WORDS_MAX, cmd_import,
	    { O_SHARE_NEEDED, O_COMPARTMENT,
		{ "profile", "PROFILE", "basic (default) or trial-imaging" },
		{ "no-deid", NULL, "keep identified (if the share allows)" },
		O_REASON, O_PASSPHRASE },
	    "take in files and folders" },
	{ "quarantine list", "", 0, 0, cmd_quarantine_list,
	    { { "all", NULL, "released and rejected ones too" } },
	    "what waits for a person" },
	{ "quarantine show", "ID", 1, 1, cmd_quarantine_show, { { 0 } },
	    "one item with its findings" },
	{ "quarantine release", "ID...", 1, CLI_WORDS_MAX,
	    cmd_quarantine_release, { O_REASON, O_PASSPHRASE },
	    "release into the share" },
	{ "quarantine reject", "ID...", 1, CLI_WORDS_MAX, cmd_quarantine_reject,
	    { O_REASON, O_PASSPHRASE }, "refuse (--reason needed)" },
	{ "find", "QUERY", 1, 1, cmd_find,
	    { O_SHARE, { "level", "L", "subject exam series image nifti ..." },
		{ "fields", "a,b,c", "fields to show" },
		{ "limit", "N", "at most so many" },
		{ "count", NULL, "only how many" } },
	    "assets that match, e.g. 'level=series and Modality=MR'" },
	{ "show", "ASSET", 1, 1, cmd_show,
	    { { "history", NULL, "every version" } },
	    "one asset: fields, tags, versions" },
	{ "get", "ASSET...", 1, CLI_WORDS_MAX, cmd_get,
	    { { "o", "DIR", "where to write; default ." },
		{ "as", "FORMAT", "original dicom nifti" } },
	    "write the files of assets to DIR/ASSET/" },
	{ "checkout", "QUERY|ASSET... DIR", 2, CLI_WORDS_MAX, cmd_checkout,
	    { { "as", "FORMAT", "original dicom nifti" } },
	    "write the files of assets into DIR, one folder an asset, with a "
	    "manifest" },
	{ "diff", "DIR", 1, 1, cmd_diff, { { 0 } },
	    "what changed in a checked-out directory, by hash; differences "
	    "are no failure" },
	{ "sync status", "", 0, 0, cmd_sync_status, { { 0 } },
	    "how far this node is from its peers" },
	{ "sync wait", "", 0, 0, cmd_sync_wait,
	    { { "timeout", "60s", "give up after" } },
	    "wait until roots are equal and nothing is wanted" },
	{ "sync now", "", 0, 0, cmd_sync_now, { { 0 } },
	    "dial peers that are not connected" },
	{ "events", "", 0, 0, cmd_events,
	    { { "follow", NULL, "go on as they happen" },
		{ "after", "NO", "only later ones" } },
	    "what happened" },
	{ "gc", "", 0, 0, cmd_gc,
	    { { "dry-run", NULL, "only say what would go" } },
	    "give back the space of what nothing refers to" },
	{ "verify", "", 0, 0, cmd_verify,
	    { { "deep", NULL, "read and check every byte" } },
	    "check the store" },
	{ "workflow add", "FILE", 1, 1, cmd_workflow_add, { O_SHARE_NEEDED },
	    "run this workflow on what arrives in a share" },
	{ "workflow check", "FILE", 1, 1, cmd_workflow_check, { { 0 } },
	    "check a workflow; nothing is kept" },
	{ "workflow list", "", 0, 0, cmd_workflow_list, { { 0 } },
	    "workflows of this node" },
	{ "workflow runs", "", 0, 0, cmd_workflow_runs, { { 0 } },
	    "what they did" },
	{ "deid lookup import", "FILE", 1, 1, cmd_lookup_import,
	    { O_PASSPHRASE }, "take in \"PatientID,pseudonym\" lines" },
};
const uint32_t cli_n_verbs = sizeof(cli_verbs) / sizeof(cli_verbs[0]);
