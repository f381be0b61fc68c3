/* replication/prove.c: who else holds a chunk, proven and not only said.
 *
 * CHALLENGE goes to every connected member that may hold the compartment.
 * The answer is a hash under the challenge's nonce over the answerer's device
 * key and the chunk, so it cannot be kept from an earlier challenge, nor
 * passed on by somebody else; the host, which holds the chunk, compares.  It
 * shows that the answerer can reach the bytes (rulings.md 28), not where they
 * lie.  An answer of zeros: not here. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

void
repl_proof_hash(const struct cry_id *nonce, const struct cry_sign_pk *device,
    struct slice chunk, struct cry_id *out)
{
	struct cry_key key;
	struct slice parts[2] = { slice_of(device->b, sizeof(device->b)),
		chunk };

	memcpy(key.b, nonce->b, sizeof(key.b));
	cry_hash_parts(&key, "psc.proof.1", parts, 2, out->b, sizeof(out->b));
}

static struct comp *
prove_comp(struct repl *r, const struct share_id *share, uint16_t compartment)
{
	struct share *s = share_find(r, share);

	return s == NULL ? NULL : comp_find(s, compartment);
}

static bool
prove_may_ask(struct repl *r, struct peer *p, struct comp *c)
{
	return content_may_hold(r, p, c) && p->ct.proofs < CONTENT_TELL_MAX;
}

uint32_t
repl_provers(struct repl *r, const struct share_id *share, uint16_t compartment)
{
	struct comp *c = prove_comp(r, share, compartment);
	uint32_t n = 0;

	for (uint32_t i = 0; c != NULL && i < r->n_peers; i++)
		n += prove_may_ask(r, r->peers[i], c);
	return n;
}

void
prove_ask(struct repl *r, const struct repl_event *ev)
{
	struct comp *c = prove_comp(r, &ev->share, ev->compartment);
	const struct msg m = { .type = MSG_CHALLENGE, .id = ev->nonce };

	for (uint32_t i = 0; c != NULL && i < r->n_peers; i++) {
		struct peer *p = r->peers[i];

		if (!prove_may_ask(r, p, c))
			continue;
		p->ct.proofs++;
		content_cids_send(r, p, &m, c, &ev->cid);
	}
}

void
prove_on_challenge(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct peer *p = l->peer;
	struct serve *s;

	if (pc == NULL || !content_may_hold(r, p, pc->comp) || m->n != 1)
		return;
	if (p->ct.waiting_n >= CONTENT_SERVE_MAX)
		return; /* no answer is no proof */
	if ((s = repl_alloc(r, 1, sizeof(*s))) == NULL)
		return;
	s->comp = pc->comp;
	s->cid = msg_cid_at(m, 0);
	s->cls = REPL_REPAIR;
	s->prove = true;
	memcpy(s->nonce, m->id.b, sizeof(s->nonce));
	s->bytes = BUF_MAX(OP_CHUNK_BYTES_MAX);
	serve_queue(p, s);
}

void
prove_answer(struct repl *r, struct peer *p, const struct serve *s)
{
	struct link *l = peer_link(p, s->comp->share);
	struct msg_proof proof = { .cid = s->cid };
	struct buf item = BUF_MAX(MSG_PROOF_BYTES);
	struct msg m = { .type = MSG_PROOF,
		.tag = l->tx,
		.compartment = s->comp->no,
		.n = 1 };

	memcpy(m.id.b, s->nonce, sizeof(s->nonce));
	if (s->bytes.n > 0)
		repl_proof_hash(
		    &m.id, &r->o.me.sign, buf_slice(&s->bytes), &proof.hash);
	msg_proof_put(&proof, &item);
	m.items = buf_slice(&item);
	if (repl_ok(r, buf_err(&item)))
		peer_send(r, p, &m);
	buf_fini(&item);
}

void
prove_on_proof(struct repl *r, struct link *l, const struct msg *m)
{
	struct peer *p = l->peer;
	struct repl_effect *fx;
	struct msg_proof proof;

	if (p->ct.proofs == 0 || m->n != 1)
		return; /* nobody asked */
	p->ct.proofs--;
	proof = msg_proof_at(m, 0);
	fx = repl_fx(r, RX_PROOF);
	fx->conn = p->conn;
	fx->share = l->share->id;
	fx->compartment = m->compartment;
	fx->cid = proof.cid;
	fx->nonce = m->id;
	fx->hash = proof.hash;
	fx->device = p->pub.sign;
}
