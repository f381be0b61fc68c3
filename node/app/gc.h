/* node/app/gc.h: the thread that gives space back now and then. */
#ifndef PSC_APP_GC_H
#define PSC_APP_GC_H

#include "node/conf/conf.h"
#include "node/net/net.h"
#include "node/share/share.h"
#include "store/blob/gc.h"

struct app_gc;
/* A pass every gc.interval_minutes; 0: none, *out is NULL. */
enum err app_gc_start(struct store *s, struct shares *shares, struct net *net,
    const struct conf *conf, struct app_gc **out) PSC_MUST_USE;
void app_gc_stop(struct app_gc *g); /* NULL ok; ends a pass between two jobs */

#endif
