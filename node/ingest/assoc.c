/* node/ingest/assoc.c: one association = one thread and one helper process.
 *
 *   ASSOC    -> which inbox?           unknown calling AE: refused
 *   IDENTITY -> pseudonym, UID map
 *   OBJECT   -> admit, then answer     success only when durable; where the
 *                                      sender has a window, another thread
 *                                      does it (storing.c)
 *   DONE     -> end
 *
 * The helper may die or lie at any point: the association ends, what was
 * acknowledged is durable, nothing else of it remains. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define ASSOC_IDLE_MS 60000u
/* A large object on a slow line takes long between two frames; the helper
 * watches for idle senders itself. */
#define ASSOC_FRAME_MS 1800000u
/* Who connects asks for an association at once (ARTIM, PS3.8 9.1.4): silent
 * connections would hold every slot. */
#define ASSOC_REQUEST_MS 10000u
/* One that said nothing for so long gives way to the next of its address. */
#define ASSOC_SILENT_MS 200u

struct assoc {
	struct assoc *next;
	struct peer_address from;
	struct ingest *g;
	int fd; /* the network's; guarded by g->mu */
	uint64_t since_ms;
	bool heard; /* has asked for an association; guarded by g->mu */
	bool cut;   /* gave way; guarded by g->mu */
	bool tls;
	struct sink sink;
	struct buf table; /* sink.table */
	bool admitted;    /* an inbox was found */
	char subject[CAT_KEY_MAX + 1];
	struct assoc_tally tally;
	struct storing *storing; /* NULL: one object at a time */
	const struct conf_inbox *inbox;
	struct commit_asked *asked; /* a request for commitment, so far */
};

static enum err
sink_fill(struct ingest *g, const char *share, const char *compartment,
    struct sink *out, struct errmsg *em)
{
	struct share_info info;
	enum err e;
	uint32_t i;

	e = shares_find(g->o.shares, share, &info, em);
	if (e != ERR_OK)
		return e;
	e = share_compartment_find(
	    &info, compartment[0] ? compartment : NULL, &out->compartment, em);
	for (i = 0; e == ERR_OK && i < info.n_compartments; i++) {
		if (info.c[i].no != out->compartment)
			continue;
		(void)snprintf(out->compartment_name,
		    sizeof(out->compartment_name), "%s", info.c[i].name);
		if (!info.c[i].may_write_original)
			e = errmsg_set(em, ERR_DENIED,
			    "ask the share's registrar for the writer role",
			    "this site may not write into %s/%s", info.name,
			    info.c[i].name);
	}
	out->share = info.id;
	out->share_no = info.no;
	memcpy(out->share_name, info.name, sizeof(out->share_name));
	share_info_fini(&info);
	return e;
}

enum err
sink_for_share(struct ingest *g, const char *share, const char *compartment,
    struct sink *out, struct errmsg *em)
{
	memset(out, 0, sizeof(*out));
	(void)snprintf(out->profile, sizeof(out->profile), "basic");
	(void)snprintf(
	    out->calling_ae, sizeof(out->calling_ae), INGEST_IMPORT_AE);
	return sink_fill(
	    g, share, compartment == NULL ? "" : compartment, out, em);
}

static void
tags_fill(const struct conf_target *to, struct intake_tags *out)
{
	uint32_t i;

	out->n = 0;
	for (i = 0; i < to->n_tags; i++)
		memcpy(out->t[out->n++], to->tags[i], sizeof(to->tags[i]));
	if (to->data_type[0] != '\0')
		(void)snprintf(out->t[out->n++], sizeof(out->t[0]),
		    "data_type=%s", to->data_type);
}

enum err
sink_for_target(struct ingest *g, const struct conf_target *to,
    const char *sender, struct sink *out, struct errmsg *em)
{
	memset(out, 0, sizeof(*out));
	(void)snprintf(out->profile, sizeof(out->profile), "%s", to->profile);
	(void)snprintf(out->calling_ae, sizeof(out->calling_ae), "%s", sender);
	(void)snprintf(out->domain, sizeof(out->domain), "%s", to->domain);
	tags_fill(to, &out->tags);
	return sink_fill(g, to->share, to->compartment, out, em);
}

/* It has spoken: nobody cuts it off any more. */
static void
assoc_heard(struct assoc *a)
{
	pthread_mutex_lock(&a->g->mu);
	a->heard = true;
	if (!a->tls) { /* the helper has it now */
		(void)close(a->fd);
		a->fd = -1;
	}
	pthread_mutex_unlock(&a->g->mu);
}

static enum err
assoc_open(struct assoc *a, struct imaging *im, const struct img_assoc *who)
{
	const struct sender_claim s = { who->calling_ae, who->called_ae,
		&a->from, a->tls };
	enum img_admit answer = IMG_ADMITTED;
	const struct conf_inbox *in;
	struct errmsg em = { 0 };
	enum err e = ERR_DENIED;

	if (a->admitted)
		return ERR_MALFORMED;
	assoc_heard(a);
	in = sender_inbox(a->g->o.conf, &s, &answer, &em);
	if (in != NULL)
		e = sink_for_target(
		    a->g, &in->to, who->calling_ae, &a->sink, &em);
	if (in != NULL && e != ERR_OK)
		answer = IMG_REFUSED_CALLING_AE;
	if (e == ERR_OK)
		e = ingest_profile_table(a->g, a->sink.profile, &a->table, &em);
	if (e != ERR_OK && answer == IMG_ADMITTED)
		answer = IMG_REFUSED_CALLING_AE;
	a->sink.table = buf_slice(&a->table);
	a->inbox = in;
	if (e == ERR_OK && in->commit[0] != '\0')
		answer = IMG_ADMITTED_COMMIT;
	if (e == ERR_OK && who->window > 1)
		e = storing_new(a->g, &a->sink, im, &a->storing);
	if (e == ERR_NOMEM)
		return e;
	a->admitted = e == ERR_OK;
	if (a->admitted)
		log_info("ingest", "association opened",
		    "ae=\"%s\" from=%s tls=%d share=\"%s\" compartment=\"%s\"",
		    who->calling_ae, a->from.text, a->tls, a->sink.share_name,
		    a->sink.compartment_name);
	else
		sender_refused(a->g, &s, &em);
	return imaging_answer_assoc(im, answer, a->sink.table);
}

static enum err
assoc_identity(
    struct assoc *a, struct imaging *im, const struct img_identity *id)
{
	struct id_answer ans;
	enum err e = id_answer_make(a->g, &a->sink, id, &ans);

	if (e != ERR_OK)
		return e;
	memcpy(a->subject, ans.subject, sizeof(a->subject));
	e = imaging_answer_identity(im, &ans.ctx);
	id_answer_fini(&ans);
	return e;
}

/* The subject is that of this object alone: one that comes without a patient
 * must not be shown as the patient of the image before it. */
static enum err
assoc_object(struct assoc *a, struct imaging *im, const struct img_object *o)
{
	char subject[sizeof(a->subject)];
	struct admitted in = { 0 };
	struct img_held *held;
	enum err e;

	memcpy(subject, a->subject, sizeof(subject));
	a->subject[0] = '\0';
	if (a->storing == NULL) {
		e = admit_object(a->g, &a->sink, o, subject, &in);
		return imaging_answer_stored(
		    im, assoc_count(&a->tally, &a->sink, e, &in));
	}
	e = imaging_hold(im, &held);
	if (e != ERR_OK)
		return e;
	e = storing_put(a->storing, held, subject);
	if (e != ERR_OK)
		img_held_free(held);
	return e;
}

/* The sender has our promise of a report once it is durable. */
static enum err
assoc_commit(struct assoc *a, struct imaging *im, const struct img_commit *c)
{
	enum err e = commit_more(&a->asked, c);

	if (e != ERR_OK || !c->last)
		return e;
	e = commit_take(a->g, &a->sink, a->inbox, a->asked);
	commit_asked_free(a->asked);
	a->asked = NULL;
	return imaging_answer_stored(
	    im, e == ERR_OK ? IMG_STATUS_OK : IMG_STATUS_FAILED);
}

static enum err
assoc_serve(struct assoc *a, struct imaging *im)
{
	struct img_msg m;
	enum err e;

	for (;;) {
		e = imaging_next(
		    im, a->admitted ? ASSOC_FRAME_MS : ASSOC_REQUEST_MS, &m);
		if (e != ERR_OK)
			return e;
		switch (m.kind) {
		case IMG_ASSOC: e = assoc_open(a, im, &m.assoc); break;
		case IMG_IDENTITY:
			e = a->admitted ? assoc_identity(a, im, &m.identity)
					: ERR_MALFORMED;
			break;
		case IMG_OBJECT:
			e = a->admitted ? assoc_object(a, im, &m.object)
					: ERR_MALFORMED;
			break;
		case IMG_COMMIT:
			e = a->admitted && a->inbox->commit[0] != '\0'
				? assoc_commit(a, im, &m.commit)
				: ERR_MALFORMED;
			break;
		case IMG_DONE: return ERR_OK;
		case IMG_RESULT:
		case IMG_VERDICT:
		case IMG_ROW:
		case IMG_ANSWER:
		default: e = ERR_MALFORMED; break;
		}
		if (e != ERR_OK)
			return e;
	}
}

static void
assoc_run(struct assoc *a, int fd)
{
	const struct conf *c = a->g->o.conf;
	struct imaging_opts o = {
		.program = a->g->o.helper,
		.mode = IMAGING_RECEIVE,
		.accepted_fd = fd,
		.called_ae = c->dicom_ae_title,
		.memory_bytes_max = c->limits_helper_memory,
		.idle_ms = ASSOC_IDLE_MS,
	};
	struct imaging *im = NULL;
	struct errmsg em = { 0 };
	enum err e;

	e = imaging_spawn(&o, &im, &em);
	if (a->tls) /* the helper has it, or nobody */
		(void)close(fd);
	if (e != ERR_OK) {
		log_error(
		    "ingest", "helper did not start", "cause=\"%s\"", em.cause);
		return;
	}
	e = assoc_serve(a, im);
	storing_end(a->storing, &a->tally);
	imaging_close(im);
	buf_fini(&a->table);
	commit_asked_free(a->asked);
	a->sink.table = (struct slice){ 0 };
	if (e != ERR_OK)
		log_warn("ingest", "association broken off",
		    "ae=\"%s\" cause=\"%s\"", a->sink.calling_ae, err_text(e));
	if (a->admitted)
		log_info("ingest", "association ended",
		    "ae=\"%s\" stored=%llu duplicates=%llu refused=%llu",
		    a->sink.calling_ae, (unsigned long long)a->tally.stored,
		    (unsigned long long)a->tally.duplicates,
		    (unsigned long long)a->tally.refused);
}

/* --- who runs --- */

void
peer_address_of(int fd, struct peer_address *out)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };
	socklen_t n = sizeof(a);

	memset(out, 0, sizeof(*out));
	(void)snprintf(out->text, sizeof(out->text), "unknown");
	if (getpeername(fd, &a.any, &n) != 0)
		return;
	if (a.any.sa_family == AF_INET) {
		memcpy(out->b + 12, &a.v4.sin_addr, 4);
		memcpy(out->ip + 12, &a.v4.sin_addr, 4);
		out->ip[10] = out->ip[11] = 0xff;
		(void)inet_ntop(
		    AF_INET, &a.v4.sin_addr, out->text, sizeof(out->text));
	} else if (a.any.sa_family == AF_INET6) {
		bool v4 = IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr);

		memcpy(out->b + (v4 ? 12 : 0),
		    a.v6.sin6_addr.s6_addr + (v4 ? 12 : 0), v4 ? 4 : 8);
		memcpy(out->ip, a.v6.sin6_addr.s6_addr, 16);
		(void)inet_ntop(
		    AF_INET6, &a.v6.sin6_addr, out->text, sizeof(out->text));
	}
}

uint32_t
assoc_count_from(const struct ingest *g, const struct peer_address *from)
{
	const struct assoc *a;
	uint32_t n = 0;

	for (a = g->assocs; a != NULL; a = a->next)
		n +=
		    !a->cut && memcmp(a->from.b, from->b, sizeof(from->b)) == 0;
	return n;
}

bool
assoc_cut_silent(struct ingest *g, const struct peer_address *from)
{
	uint64_t before = clock_mono_ms() - ASSOC_SILENT_MS;
	struct assoc *a, *oldest = NULL;

	for (a = g->assocs; a != NULL; a = a->next)
		if (!a->heard && !a->cut && a->since_ms <= before &&
		    memcmp(a->from.b, from->b, sizeof(from->b)) == 0)
			oldest = a; /* newest first */
	if (oldest == NULL)
		return false;
	oldest->cut = true;
	(void)shutdown(oldest->fd, SHUT_RDWR);
	return true;
}

static void
assoc_enter(struct assoc *a)
{
	pthread_mutex_lock(&a->g->mu);
	a->next = a->g->assocs;
	a->g->assocs = a;
	pthread_mutex_unlock(&a->g->mu);
}

/* Frees it, and its slot. */
static void
assoc_leave(struct assoc *a)
{
	struct ingest *g = a->g;
	struct assoc **at;

	pthread_mutex_lock(&g->mu);
	for (at = &g->assocs; *at != a; at = &(*at)->next)
		;
	*at = a->next;
	if (a->fd >= 0)
		(void)close(a->fd);
	g->running--;
	pthread_cond_broadcast(&g->slot_free);
	pthread_mutex_unlock(&g->mu);
	mem_free(a);
}

/* By TLS: what is served is the plain side of it. */
static void
assoc_run_tls(struct assoc *a)
{
	struct errmsg em = { 0 };
	struct tls_conn *conn = NULL;
	int plain = -1;
	enum err e = tls_open(a->g->tls, a->fd, &plain, &conn, &em);

	if (e == ERR_OK)
		assoc_run(a, plain);
	else
		log_warn("ingest", "association refused",
		    "from=%s cause=\"%s\" next=\"%s\"", a->from.text, em.cause,
		    em.next);
	tls_close(conn);
}

static void *
assoc_main(void *arg)
{
	struct assoc *a = arg;

	if (a->tls)
		assoc_run_tls(a);
	else
		assoc_run(a, a->fd);
	assoc_leave(a);
	return NULL;
}

/* The caller counted it in g->running already. */
void
assoc_start(struct ingest *g, int fd, const struct peer_address *from, bool tls)
{
	struct assoc *a = mem_new(sizeof(*a));
	pthread_attr_t attr;
	pthread_t th;
	int rc = -1;

	if (a == NULL) {
		pthread_mutex_lock(&g->mu);
		g->running--;
		pthread_mutex_unlock(&g->mu);
		(void)close(fd);
		log_error("ingest", "association dropped", "cause=\"%s\"",
		    err_text(ERR_NOMEM));
		return;
	}
	a->g = g;
	a->fd = fd;
	a->tls = tls;
	a->since_ms = clock_mono_ms();
	a->from = *from;
	assoc_enter(a);
	if (pthread_attr_init(&attr) == 0) {
		(void)pthread_attr_setdetachstate(
		    &attr, PTHREAD_CREATE_DETACHED);
		rc = pthread_create(&th, &attr, assoc_main, a);
		(void)pthread_attr_destroy(&attr);
	}
	if (rc == 0)
		return;
	log_error("ingest", "association dropped: no thread", "code=%d", rc);
	assoc_leave(a);
}
