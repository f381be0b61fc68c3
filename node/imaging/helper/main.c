/* node/imaging/helper/main.c: pesscara-imaging, started by the node only.
 *
 * argv[1] is the parent's pid, descriptor 3 the pair.  Config first (from
 * the node, trusted), then libraries load what they need, then the sandbox,
 * then foreign bytes.  Ends by _exit: nothing is worth flushing, and no
 * library's exit handler runs inside the filter. */
#include <signal.h>
#include <unistd.h>

#include "node/imaging/helper/charset.h"
#include "node/imaging/helper/check.h"
#include "node/imaging/helper/convert.h"
#include "node/imaging/helper/dcm_shim.h"
#include "node/imaging/helper/import.h"
#include "node/imaging/helper/preview.h"
#include "node/imaging/helper/pull.h"
#include "node/imaging/helper/receive.h"
#include "node/imaging/helper/sandbox.h"
#include "store/base/num.h"

/* De-identified files may grow a little; volumes of a series more. */
#define MAIN_SLACK (16 * MIB)
#define MAIN_VOLUME_MAX (16 * GIB)
#define MAIN_CPU_S 86400u

static enum err
main_confine(struct link *l)
{
	const struct msg_config *c = &l->config;
	struct sandbox_limits lim = { .memory_bytes = c->memory_bytes_max,
		.file_bytes = c->object_bytes_max + MAIN_SLACK,
		.cpu_s = MAIN_CPU_S };
	enum err e = shim_init();

	if (e == ERR_OK && c->mode == IMAGING_CONVERT) {
		lim.file_bytes = MAIN_VOLUME_MAX;
		e = shim_init_codecs();
	}
	if (e == ERR_OK && c->mode != IMAGING_CONVERT &&
	    c->mode != IMAGING_CHECK)
		e = charset_open(&l->charset);
	if (e == ERR_OK)
		e = sandbox_enter(&lim);
	return e;
}

static enum err
main_serve(struct link *l)
{
	switch (l->config.mode) {
	case IMAGING_RECEIVE: return receive_run(l);
	case IMAGING_IMPORT: return import_run(l);
	case IMAGING_CONVERT: return convert_run(l);
	case IMAGING_CHECK: return check_run(l);
	case IMAGING_PREVIEW: return preview_run(l);
	case IMAGING_PULL: return pull_run(l);
	}
	return ERR_MALFORMED;
}

int
main(int argc, char **argv)
{
	struct link l;
	uint64_t parent;
	enum err e;

	if (argc != 2 ||
	    num_u64(slice_str(argv[1]), 1, INT32_MAX, &parent) != ERR_OK) {
		static const char text[] =
		    "pesscara-imaging: started by pesscarad, not by hand\n";

		(void)!write(2, text, sizeof(text) - 1);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	e = sandbox_tie((pid_t)parent);
	if (e == ERR_OK)
		e = link_open(&l, LINK_FD);
	if (e == ERR_OK)
		e = main_confine(&l);
	if (e == ERR_OK)
		e = main_serve(&l);
	_exit(e == ERR_OK ? 0 : 1);
}
