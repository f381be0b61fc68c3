/* store/base/banned.h: force-included.  Calls that cannot be used safely
 * here are poisoned; use num.h, buf.h and snprintf instead. */
#ifndef PSC_BASE_BANNED_H
#define PSC_BASE_BANNED_H

#ifndef __cplusplus
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison atoi atol atoll strtol strtoll strtoul strtoull sscanf
#pragma GCC poison sprintf vsprintf strcpy strcat strncpy strncat strtok rand
#pragma GCC poison srand gmtime localtime ctime asctime
#endif

#endif
