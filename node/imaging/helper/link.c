/* node/imaging/helper/link.c: frames from and to the node.
 *
 * The node is trusted; a frame out of order means that one of us is broken,
 * so the helper ends.  There is no deadline towards the node: it may take
 * its time to store, and its death closes the pair. */
#include "node/imaging/helper/link.h"

#include <unistd.h>

#include "node/deid/table.h"
#include "node/imaging/helper/charset.h"
#include "store/base/mem.h"

static enum err
link_next(struct link *l, uint32_t *kind)
{
	enum err e;

	mp_doc_fini(&l->doc);
	e = frame_recv(l->sock, UINT32_MAX, &l->in);
	if (e == ERR_OK)
		e = msg_open(slice_of(l->in.bytes, l->in.n), &l->doc, kind);
	return e;
}

enum err
link_wait(struct link *l, uint32_t kind)
{
	uint16_t status;
	uint32_t got;
	enum err e;

	for (;;) {
		e = link_next(l, &got);
		if (e != ERR_OK || got == kind)
			return e;
		if (got != MSG_STORED || l->on_stored == NULL)
			return ERR_MALFORMED;
		e = msg_get_stored(&l->doc, &status);
		if (e == ERR_OK)
			e = l->on_stored(l->ctx, status);
		if (e != ERR_OK)
			return e;
	}
}

enum err
link_take_table(struct link *l, struct slice bytes)
{
	enum err e;

	if (bytes.n == 0)
		return ERR_OK;
	if (l->table == NULL)
		l->table = mem_new(sizeof(*l->table));
	if (l->table == NULL)
		return ERR_NOMEM;
	e = table_decode(bytes, l->table);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_MALFORMED;
}

enum err
link_open(struct link *l, int sock)
{
	enum err e;

	*l = (struct link){ .sock = sock, .accepted = -1 };
	e = frame_init(&l->in);
	if (e == ERR_OK)
		e = link_wait(l, MSG_CONFIG);
	if (e == ERR_OK)
		e = msg_get_config(&l->doc, &l->config);
	if (e == ERR_OK)
		e = link_take_table(l, l->config.table);
	l->config.table = (struct slice){ 0 }; /* its frame goes */
	if (l->table != NULL)
		(void)snprintf(l->table->name, sizeof(l->table->name), "%s",
		    l->config.profile);
	l->accepted = frame_take_fd(&l->in, 0);
	if (e == ERR_OK && l->accepted < 0 &&
	    (l->config.mode == IMAGING_RECEIVE ||
		l->config.mode == IMAGING_PULL))
		e = ERR_MALFORMED;
	return e;
}

void
link_close(struct link *l)
{
	mp_doc_fini(&l->doc);
	frame_fini(&l->in);
	charset_close(l->charset);
	l->charset = NULL;
	mem_free(l->table);
	l->table = NULL;
	if (l->accepted >= 0)
		(void)close(l->accepted);
	l->accepted = -1;
}

enum err
link_send(struct link *l, struct buf *b, const int *fds, uint32_t n_fds)
{
	enum err e = frame_send(l->sock, b, fds, n_fds, UINT32_MAX);

	buf_fini(b);
	return e;
}
