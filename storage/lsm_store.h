/* lsm_store: what the files of the engine share: lsm.c (opening, writing), lsm_tasks.c (flush, merge, manifest),
 * lsm_purge.c (erasing), lsm_read.c (reading), lsm_need.c (loading). Nobody else includes it. */
#pragma once
#include "storage/background.h"
#include "storage/build.h"
#include "storage/lsm.h"
#include "storage/manifest.h"
#include "storage/pace.h"

enum { FROZEN_MAX = 3, MERGES_MAX = 4 /* a tier each */, TASKS = 1 + MERGES_MAX };

/* The making of one table. A step on a worker, home, the next step; then the manifest, then it counts. */
struct lsm_task {
    struct lsm *lsm;
    enum { TASK_IDLE, TASK_READY, TASK_OUT, TASK_BUILT, TASK_COMMITTING } state;
    struct build *build;
    struct sst **inputs; /* of a merge: a reference each */
    size_t n_inputs;
    uint64_t flushed_before; /* of a merge: flushed_bytes when it began */
    struct sst *made;        /* BUILT, COMMITTING: what it made; NULL when nothing was left */
    size_t step_bytes;       /* of the step that is out */
    enum err err;            /* of the last step */
};

struct lsm {
    struct lsm_conf conf;
    struct fs *fs;
    char *dir;
    struct background background;

    lsm_mirror_fn *mirror; /* NULL: nobody is told of what is put */
    void *mirror_arg;
    uint8_t mirror_first;

    struct memtable *active;
    uint64_t active_id; /* counted up from a random number: no other memtable of the process has it */
    bool defers;        /* what is put in it is put late */
    struct lsm_frozen {
        struct memtable *table;
        struct positions positions; /* with it on disk, these are durable */
        int64_t erased_ms;
    } frozen[FROZEN_MAX]; /* oldest first */
    size_t n_frozen;
    size_t unapplied;   /* puts since lsm_applied: the memtable may not be frozen among them */
    bool freeze_wanted; /* lsm_flush came in between */
    struct positions applied, durable;

    struct sst **tables; /* newest first, a reference each */
    size_t n_tables;
    uint64_t next_table, generation;

    struct lsm_task task[TASKS]; /* [0] flushes */
    struct pace pace;            /* of merges */
    struct lsm_commit {
        bool is_out;
        struct manifest next;
        struct buf encoded;
        enum err err;
    } commit;
    struct lsm_purge {
        int64_t active_ms, tables_ms,
            newer_ms; /* oldest erasing: in the active memtable; in tables that the purge under
                         way takes, or the next will; in those that came after it began */
        bool is_wanted;
        const struct lsm_task *task; /* that does it */
    } purge;
    struct sst **dead; /* no longer named by the manifest, no longer read: files to remove */
    size_t n_dead;
    bool is_poking;
    bool is_full;                      /* no space for a flush: said once, tried every second */
    bool is_scarce;                    /* the same, and not for space but for a descriptor */
    bool is_merge_off;                 /* a merge met a table that it cannot read */
    uint64_t retry_at_us, merge_at_us; /* 0: now */
    enum err failed;                   /* for good */
    atomic_size_t n_loading;           /* needs that a worker has, or will have */
    size_t n_needs;                    /* needs that have not come home */
    uint64_t flushes, compactions, compacted_bytes, flushed_bytes;
    uint64_t busy_since_us, stalled_us; /* 0: is not busy */
};

/* The place in the active memtable. */
static inline struct memtable_near *lsm_near_in(const struct lsm *l, struct lsm_near *near)
{
    if (near->memtable != l->active_id)
        *near = (struct lsm_near){.memtable = l->active_id};
    return &near->at;
}
static inline void lsm_table_ref(struct sst *t) { t->refs++; }
void lsm_table_unref(struct lsm *l, struct sst *t); /* the last one has the file removed */
/* Starts whatever is due. Harmless at any time. */
void lsm_poke(struct lsm *l);
/* What lsm_stats says of the background. */
void lsm_tasks_stats(const struct lsm *l, struct lsm_stats *out);
/* After background_deinit: frees what tasks hold. */
void lsm_tasks_deinit(struct lsm *l);
/* lsm_purge.c. What the manifest says of erasing, when what is COMMITTING is in it. */
int64_t lsm_purge_next(const struct lsm *l);
int64_t lsm_purge_installed(const struct lsm *l); /* of the tables as they are read now */
/* With is_wanted: the run of tables to merge, all of them; false: not now. No other merge begins meanwhile. */
bool lsm_purge_pick(struct lsm *l, size_t *first, size_t *n);
/* A memtable was frozen; the oldest frozen one was installed; a task ended. */
void lsm_purge_frozen(struct lsm *l, struct lsm_frozen *f);
void lsm_purge_flushed(struct lsm *l, const struct lsm_frozen *f);
void lsm_purge_ended(struct lsm *l, const struct lsm_task *t, bool is_installed);
/* What a scan asks for, and the prefix that all its keys share, when filters know prefixes of that length (else empty).
 */
struct lsm_range {
    struct str from, to, prefix;
    uint64_t hash;
};
void lsm_range_init(struct lsm_range *r, const struct lsm *l, struct str from, struct str to);
bool lsm_range_may_have(const struct lsm_range *r, const struct sst *t);
/* Has the filters' lines brought near: each question would wait for memory by itself. */
void lsm_range_prefetch(const struct lsm_range *r, const struct lsm *l);
/* A block that is in memory, in the need or in the cache: a reference, or NULL. */
struct block *lsm_block_find(struct lsm *l, struct lsm_need *need, const struct sst *t, uint64_t at);
/* One that is not. Without a need from the file; with one it is noted: AGAIN. */
MUST_CHECK enum err lsm_block_get(struct lsm *l, struct lsm_need *need, struct sst *t, uint64_t at, uint32_t len,
                                  struct block **out);
/* A block from the need; a reference, or NULL. */
struct block *lsm_need_find(const struct lsm_need *n, const struct sst *t, uint64_t at);
/* Notes a missing block. */
void lsm_need_add(struct lsm_need *n, struct lsm *l, struct sst *t, uint64_t at, uint32_t len);
