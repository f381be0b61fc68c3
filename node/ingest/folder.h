/* node/ingest/folder.h: folders that are watched for files.
 *
 * One thread looks into all of them.  A file that did not change for its
 * folder's quiet time is renamed into CLAIMED, imported from there as by
 * `pesscara import`, and then moved to "done" (or removed) or to "failed",
 * with its reason beside it.  So a file of the same name that comes meanwhile
 * is another file, and after a kill what was claimed is imported again:
 * nothing new if it was stored. */
#ifndef PSC_INGEST_FOLDER_H
#define PSC_INGEST_FOLDER_H

#include <sys/stat.h>
#include <time.h>

#include "node/ingest/ingest_internal.h"

#define FOLDER_CLAIMED ".pesscara"
#define FOLDER_DONE "done"
#define FOLDER_FAILED "failed"
#define FOLDER_PATH_MAX 4096u
#define FOLDER_DEPTH_MAX 16

/* The config's folders; g->folders stays NULL if there are none. */
enum err folders_start(struct ingest *g, struct errmsg *em) PSC_MUST_USE;
/* false: it still runs at `until` (CLOCK_REALTIME) and uses g. */
bool folders_stop(struct ingest *g, const struct timespec *until);

/* folder_fs.c: paths below root, of names that are none of "", ".", "..".
 * No symbolic link is followed, whoever puts one there meanwhile. */
int folder_open(int root, const char *rel, int flags); /* -1 with errno */
enum err folder_stat(int root, const char *rel, struct stat *out) PSC_MUST_USE;
/* Renames root/from to root/top/rel, making folders; what is there already
 * stays: ERR_EXISTS. */
enum err folder_move(
    int root, const char *from, const char *top, const char *rel) PSC_MUST_USE;
/* The same, but under the next free name, "rel~2" ..., and with a text file
 * "NAME.reason.txt" before it if reason is not NULL. */
enum err folder_put_away(int root, const char *from, const char *top,
    const char *rel, const char *reason) PSC_MUST_USE;
enum err folder_remove(int root, const char *rel) PSC_MUST_USE;
/* Each file below root/top ("" for root), not those of the folders of ours
 * nor, there, names of files that are still being written (".x", "x.part",
 * "x.tmp").  fn returns false to stop.  ERR_LIMIT: nested too deeply. */
typedef bool (*folder_file_fn)(
    void *ctx, const char *rel, const struct stat *st);
enum err folder_each(
    int root, const char *top, folder_file_fn fn, void *ctx) PSC_MUST_USE;

#endif
