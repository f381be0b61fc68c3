/* node/ingest/senders.c: who may send, and what is said of who may not.
 *
 * A sender is calling AE title, address and called AE title together
 * (domain.md 18): a title alone is no more than a claim.  An AE title that
 * has inboxes of its own must fit one of them: "*" is not a way around the
 * addresses they list.
 * Failure modes: a caller that is refused again and again fills the log, but
 * the audit, which is kept for ever, gets a row of it every ten minutes. */
#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/clock.h"

#define TOLD_MS ((uint64_t)10 * 60 * 1000)

static bool
inbox_from(const struct conf_inbox *in, const struct peer_address *from)
{
	uint32_t i;

	for (i = 0; i < in->n_from; i++) {
		if (conf_net_holds(&in->from[i], from->ip))
			return true;
	}
	return in->n_from == 0;
}

static const char *
inbox_called(const struct conf *c, const struct conf_inbox *in)
{
	return in->called_ae[0] != '\0' ? in->called_ae : c->dicom_ae_title;
}

struct match {
	bool named;  /* by an inbox: by its own title, or "*" */
	bool from;   /* and by an address that fits */
	bool called; /* and over TLS where that is asked for */
	const struct conf_inbox *in;
	const char *title; /* that it should have called */
};

static void
match_under(const struct conf *c, const struct sender_claim *s,
    const char *title, struct match *m)
{
	uint32_t i;

	for (i = 0; i < c->n_inboxes && m->in == NULL; i++) {
		const struct conf_inbox *in = &c->inboxes[i];

		if (strcmp(in->calling_ae, title) != 0)
			continue;
		m->named = true;
		if (!inbox_from(in, s->from))
			continue;
		m->from = true;
		if (in->tls && !s->tls)
			continue;
		m->called = true;
		m->title = inbox_called(c, in);
		if (strcmp(s->called_ae, m->title) == 0)
			m->in = in;
	}
}

const struct conf_inbox *
sender_inbox(const struct conf *c, const struct sender_claim *s,
    enum img_admit *answer, struct errmsg *em)
{
	struct match m = { 0 };

	match_under(c, s, s->calling_ae, &m);
	if (!m.named)
		match_under(c, s, "*", &m);
	*answer = m.in != NULL ? IMG_ADMITTED
		  : m.called   ? IMG_REFUSED_CALLED_AE
			       : IMG_REFUSED_CALLING_AE;
	if (!m.named)
		(void)errmsg_set(em, ERR_DENIED,
		    "add it to dicom.inboxes in pesscara.yaml",
		    "calling AE title is in no inbox");
	else if (m.from && !m.called)
		(void)errmsg_set(em, ERR_DENIED,
		    "let it call dicom.tls_listen, or take tls out of its "
		    "inbox in dicom.inboxes",
		    "this AE title must call by TLS");
	else if (!m.called)
		(void)errmsg_set(em, ERR_DENIED,
		    "if it is the real one, add its address to from of its "
		    "inbox in dicom.inboxes; if not, find out who calls",
		    "this AE title may not call from %s", s->from->text);
	else if (m.in == NULL)
		(void)errmsg_set(em, ERR_DENIED,
		    "call it by dicom.ae_title of pesscara.yaml, or by "
		    "called_ae of its inbox",
		    "called AE title is not %s", m.title);
	return m.in;
}

struct refused {
	char who[96];
	const char *cause;
};

static enum err
refused_job(struct store_txn *t, void *ctx)
{
	const struct refused *r = ctx;

	return cat_audit_append(
	    t, "node", "association.refused", r->who, r->cause);
}

/* Of one caller, and of SENDERS_TOLD_MAX callers in all: whoever makes up
 * titles cannot fill the audit either. */
static bool
refused_fresh(struct ingest *g, const char *who)
{
	struct slice part = slice_str(who);
	uint64_t now = clock_mono_ms();
	struct senders_told *t = g->told;
	struct key16 key;
	bool fresh, known = false;
	uint32_t i;

	key16_of(g, "psc.refused.1", &part, 1, &key);
	pthread_mutex_lock(&g->mu);
	for (i = 0; i < SENDERS_TOLD_MAX && !known; i++) {
		struct senders_told *x = &g->told[i];

		known = x->ms != 0 && memcmp(&x->who, &key, sizeof(key)) == 0;
		if (known || x->ms < t->ms)
			t = x;
	}
	fresh = t->ms == 0 || now - t->ms >= TOLD_MS;
	if (fresh)
		*t = (struct senders_told){ .who = key, .ms = now };
	pthread_mutex_unlock(&g->mu);
	return fresh;
}

void
sender_refused(
    struct ingest *g, const struct sender_claim *s, const struct errmsg *em)
{
	struct refused r = { .cause = em->cause };
	enum err e;

	(void)snprintf(r.who, sizeof(r.who), "%s > %s from %s", s->calling_ae,
	    s->called_ae, s->from->text);
	log_warn("ingest", "association refused",
	    "ae=\"%s\" called=\"%s\" from=%s cause=\"%s\" next=\"%s\"",
	    s->calling_ae, s->called_ae, s->from->text, em->cause, em->next);
	if (!refused_fresh(g, r.who))
		return;
	e = store_write(g->o.store, refused_job, &r);
	if (e != ERR_OK)
		log_error("ingest", "a refusal is not in the audit",
		    "cause=\"%s\"", err_text(e));
}
