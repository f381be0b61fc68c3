/* node/app/lay.h: the thread that lays the images of large series
 * (store/catalog/images.h). */
#ifndef PSC_APP_LAY_H
#define PSC_APP_LAY_H

#include "store/blob/store.h"

struct app_lay;
enum err app_lay_start(struct store *s, struct app_lay **out) PSC_MUST_USE;
void app_lay_stop(struct app_lay *l); /* NULL ok; ends between two jobs */

#endif
