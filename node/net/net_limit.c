/* node/net/net_limit.c: how much of the line peers may have, and when.
 *
 * Up: one bucket for all links.  A link takes from its session what the
 * bucket has, so control and what somebody waits for leave first; then the
 * next link that waits has its turn.  Down: the core asks for no more content
 * than it may (RE_LIMIT), so nothing queues on the way and what somebody
 * waits for is not behind it.  The hour is looked at once a minute. */
#include "node/net/net_internal.h"

#include <time.h>

#include "node/ops/log.h"
#include "store/base/clock.h"

#define LOOK_MS 60000u
/* Told as held for so long after a link was. */
#define HELD_MS 2000u

static void
limit_look(struct net *n, uint64_t now_ms, bool first)
{
	int64_t wall = (int64_t)(clock_wall_ms() / 1000);
	struct repl_event ev = { .kind = RE_LIMIT };
	struct conf_limits l;

	n->lim_look_ms = now_ms + LOOK_MS - (uint64_t)(wall % 60) * 1000;
	conf_limits_at(n->conf, wall, &l);
	if (!first && l.up == n->lim.up && l.down == n->lim.down &&
	    (n->lim_until == 0 || wall < n->lim_until))
		return;
	n->lim = l;
	n->lim_until = conf_limits_until(n->conf, wall);
	bucket_set(&n->up, l.up, now_ms);
	ev.rate = l.down;
	net_step(n, &ev);
	log_info("net", "limits of the line", "up=%llu down=%llu",
	    (unsigned long long)l.up, (unsigned long long)l.down);
}

void
net_limit_start(struct net *n)
{
	if (n->conf == NULL)
		return;
	limit_look(n, clock_mono_ms(), true);
	if (n->conf->n_schedule == 0)
		n->lim_look_ms = 0; /* they stay */
}

/* Links that wait, the one after that which sent last first. */
static void
limit_resume(struct net *n)
{
	struct net_link *l;
	repl_conn turn = n->up_turn;

	n->up_held = false;
	for (int round = 0; round < 2; round++) {
		for (l = n->links; l != NULL; l = l->next) {
			if (!l->held || (round == 0 && l->conn >= turn))
				continue;
			l->held = false;
			net_link_pump(l);
		}
	}
}

void
net_limit_tick(struct net *n)
{
	uint64_t now = clock_mono_ms();

	if (n->lim_look_ms != 0 && now >= n->lim_look_ms)
		limit_look(n, now, false);
	if (n->up_held && bucket_room(&n->up, now) > 0)
		limit_resume(n);
}

uint64_t
net_limit_due(const struct net *n)
{
	uint64_t at = n->lim_look_ms == 0 ? UINT64_MAX : n->lim_look_ms;

	if (n->up_held && bucket_open_ms(&n->up) < at)
		at = bucket_open_ms(&n->up);
	return at;
}

size_t
net_limit_room(struct net_link *l)
{
	struct net *n = l->net;
	uint64_t now = clock_mono_ms();
	size_t room = l->up ? bucket_room(&n->up, now) : SIZE_MAX;

	if (room > 0 || sess_backlog(l->sess) == 0)
		return room;
	l->held = n->up_held = true;
	n->up_held_ms = now;
	return 0;
}

void
net_limit_sent(struct net_link *l, size_t bytes)
{
	bucket_take(&l->net->up, bytes);
	l->net->up_turn = l->conn;
}

void
net_limit_text(const struct net *n, struct net_sync *out)
{
	time_t until = (time_t)n->lim_until;
	bool up =
	    n->up_held_ms != 0 && clock_mono_ms() - n->up_held_ms < HELD_MS;
	struct tm tm;

	out->held_down = repl_held(n->core);
	if (!up && !out->held_down)
		return;
	if (until != 0 && localtime_r(&until, &tm) != NULL)
		(void)snprintf(out->held, sizeof(out->held),
		    "held by peers.limit until %02d:%02d", tm.tm_hour,
		    tm.tm_min);
	else
		(void)snprintf(
		    out->held, sizeof(out->held), "held by peers.limit");
}
