/* The thread first takes in what logs gave back, then fills new segments until `ahead` are ready. It keeps up to twice
 * as many of those given back, so a log that trims as fast as it writes lives on the same files.
 *
 * A full disk ends filling for RETRY_MS, or until something is given back. When a folder can't be synced or a file be
 * taken out of it, nobody knows what the log's folder holds after a power cut, and zeroing a file that may still be the
 * log's would look like damage: then the pool is `stuck`, takes nothing in any more and says so once; the logs keep
 * their files until the next start. */
#include "queue/segpool.h"
#include "base/list.h"
#include "base/log.h"
#include <assert.h>
#include <pthread.h>
#include <time.h>

enum { RETRY_MS = 1000 };

struct given_back {
    struct link link;
    uint64_t log_id, number;
};

struct segpool {
    struct env *env;
    char *dir, *ready_dir;
    uint64_t segment_bytes;
    size_t ahead;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work, progress;
    struct link given;
    uint64_t *ready; /* ids */
    size_t n_ready, cap_ready;
    uint64_t next_id;
    bool ending, is_full, is_scarce, is_stuck; /* full: the last filling failed; scarce: but not for space */
    bool is_stepped;                           /* there is no thread */
};

static void add_ready(struct segpool *p, uint64_t id)
{
    if (p->n_ready == p->cap_ready) {
        p->cap_ready = p->cap_ready ? p->cap_ready * 2 : 8;
        p->ready = mem_realloc(p->ready, p->cap_ready * sizeof p->ready[0]);
    }
    p->ready[p->n_ready++] = id;
}

/* tmp is zeroed and becomes ID.seg. */
static enum err make_ready(struct segpool *p, const char *tmp, enum fs_mode mode, uint64_t id)
{
    char *path = segment_ready_path(p->dir, id, ".seg");
    struct file *f = NULL;
    enum err err;

    TRY(fs_open(p->env->fs, tmp, mode, &f));
    TRY(file_fill(f, p->segment_bytes));
    TRY(fs_rename(p->env->fs, tmp, path));
    TRY(fs_sync_dir(p->env->fs, p->ready_dir));
out:
    file_close(f);
    mem_free(path);
    return err;
}

static void say_not_filled(const struct segpool *p, enum err err)
{
    if (err == ERR_FULL)
        log_error("log_disk_full", "dir=%s", p->ready_dir);
    else
        log_error("log_not_filled", "dir=%s err=%s reason=\"%s\"", p->ready_dir, err_name(err), err_text(err));
}

static void fill_new(struct segpool *p)
{
    uint64_t id = p->next_id++;
    char *tmp = segment_ready_path(p->dir, id, ".tmp");

    pthread_mutex_unlock(&p->lock);
    enum err err = make_ready(p, tmp, FS_CREATE_NEW, id);
    if (err != ERR_OK)
        (void)!fs_remove(p->env->fs, tmp); /* gives back what space it got; the next start removes it otherwise */
    mem_free(tmp);
    pthread_mutex_lock(&p->lock);
    if (err == ERR_OK)
        add_ready(p, id);
    else if (!p->is_full) /* once, not at each retry */
        say_not_filled(p, err);
    p->is_full = err != ERR_OK;
    p->is_scarce = err == ERR_SCARCE;
    pthread_cond_broadcast(&p->progress);
}

static void wait_to_retry(struct segpool *p)
{
    uint64_t at_us = env_mono_us(p->env) + RETRY_MS * 1000;
    struct timespec at = {(time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000};

    (void)pthread_cond_timedwait(&p->work, &p->lock, &at); /* too early does no harm */
}

/* Without a descriptor nothing was done: it is repeated, until the pool ends. */
static enum err sync_dir(struct segpool *p, const char *dir)
{
    bool is_ending = false;
    enum err err;

    while ((err = fs_sync_dir(p->env->fs, dir)) == ERR_SCARCE && !is_ending) {
        pthread_mutex_lock(&p->lock);
        if (!p->ending)
            wait_to_retry(p);
        is_ending = p->ending;
        pthread_mutex_unlock(&p->lock);
    }
    return err;
}

/* Out of the log's folder: by renaming, or, where there is no room even for a name, by removing. */
static enum err take_out(struct segpool *p, const struct given_back *g, const char *tmp, bool *is_kept)
{
    char *dir = segment_log_dir(p->dir, g->log_id), *path = segment_path(p->dir, g->log_id, g->number);
    enum err err = fs_rename(p->env->fs, path, tmp);

    *is_kept = err == ERR_OK;
    if (!*is_kept)
        TRY(fs_remove(p->env->fs, path));
    TRY(sync_dir(p, p->ready_dir));
    TRY(sync_dir(p, dir));
out:
    if (err != ERR_OK)
        log_error("log_trim_stuck", "file=%s err=%s", path, err_name(err));
    mem_free(path);
    mem_free(dir);
    return err;
}

static bool has_size(struct segpool *p, const char *path)
{
    struct file *f;
    uint64_t size = 0;

    if (fs_open(p->env->fs, path, FS_READ, &f) != ERR_OK)
        return false;
    bool is = file_size(f, &size) == ERR_OK && size == p->segment_bytes;
    file_close(f);
    return is;
}

static void take_in(struct segpool *p, struct given_back *g)
{
    uint64_t id = p->next_id++;
    char *tmp = segment_ready_path(p->dir, id, ".tmp");
    bool is_wanted = p->n_ready < 2 * p->ahead && !p->ending, is_kept;

    pthread_mutex_unlock(&p->lock);
    enum err err = take_out(p, g, tmp, &is_kept);
    bool is_ready =
        err == ERR_OK && is_kept && is_wanted && has_size(p, tmp) && make_ready(p, tmp, FS_WRITE, id) == ERR_OK;
    if (err == ERR_OK && is_kept && !is_ready)
        (void)!fs_remove(p->env->fs, tmp); /* or at the next start */
    mem_free(tmp);
    mem_free(g);
    pthread_mutex_lock(&p->lock);
    if (is_ready)
        add_ready(p, id);
    p->is_stuck |= err != ERR_OK;
    p->is_full = false; /* there is space again: try at once */
    pthread_cond_broadcast(&p->progress);
}

/* Under the lock; NULL: nothing was, or the pool is stuck. */
static struct given_back *next_given(struct segpool *p)
{
    struct given_back *g = p->is_stuck ? NULL : list_first(&p->given, struct given_back, link);
    if (g)
        list_remove(&g->link);
    return g;
}

bool segpool_step(struct segpool *p)
{
    pthread_mutex_lock(&p->lock);
    struct given_back *g = next_given(p);
    bool is_due = g || (!p->ending && p->n_ready < p->ahead);
    if (g)
        take_in(p, g);
    else if (is_due)
        fill_new(p);
    bool has_done = is_due && !p->is_full;
    pthread_mutex_unlock(&p->lock);
    return has_done;
}

static void *run(void *arg)
{
    struct segpool *p = arg;
    bool waited = false; /* since the last failure */

    pthread_setname_np(pthread_self(), "segpool");
    pthread_mutex_lock(&p->lock);
    while (!p->ending || (!list_is_empty(&p->given) && !p->is_stuck)) {
        struct given_back *g = next_given(p);
        if (g) {
            take_in(p, g);
        } else if (p->n_ready >= p->ahead) {
            pthread_cond_wait(&p->work, &p->lock);
        } else if (p->is_full && !waited) {
            wait_to_retry(p);
            waited = true;
            continue;
        } else {
            fill_new(p);
        }
        waited = false;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* What an earlier run left ready is used; what it left half filled, or filled to another size, goes. */
static enum err take_stock(struct segpool *p)
{
    uint64_t *ids = NULL, *halves = NULL;
    size_t n = 0, n_halves = 0;
    enum err err;

    TRY(segment_list(p->env->fs, p->ready_dir, ".seg", &ids, &n));
    TRY(segment_list(p->env->fs, p->ready_dir, ".tmp", &halves, &n_halves));
    for (size_t i = 0; i < n_halves && err == ERR_OK; i++) {
        char *path = segment_ready_path(p->dir, halves[i], ".tmp");
        err = fs_remove(p->env->fs, path);
        mem_free(path);
        p->next_id = halves[i] + 1;
    }
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        char *path = segment_ready_path(p->dir, ids[i], ".seg");
        if (has_size(p, path))
            add_ready(p, ids[i]);
        else
            err = fs_remove(p->env->fs, path);
        mem_free(path);
        p->next_id = p->next_id > ids[i] ? p->next_id : ids[i] + 1;
    }
out:
    mem_free(ids);
    mem_free(halves);
    return err;
}

enum err segpool_discard(struct env *env, const char *dir)
{
    char *ready_dir = segment_ready_dir(dir);
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err = segment_list(env->fs, ready_dir, ".seg", &ids, &n);

    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        char *path = segment_ready_path(dir, ids[i], ".seg");
        err = fs_remove(env->fs, path);
        mem_free(path);
    }
    mem_free(ids);
    mem_free(ready_dir);
    return err;
}

static void deinit(struct segpool *p)
{
    list_each (&p->given, g, struct given_back, link)
        mem_free(g);
    mem_free(p->ready);
    mem_free(p->ready_dir);
    mem_free(p->dir);
    mem_free(p);
}

static enum err start(struct segpool *p)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&p->progress, NULL);
    if (p->is_stepped) {
        while (p->n_ready < p->ahead && segpool_step(p))
            ;
        return ERR_OK;
    }
    if (pthread_create(&p->thread, NULL, run, p) != 0)
        return ERR_LIMIT;
    pthread_mutex_lock(&p->lock);
    while (p->n_ready < p->ahead && !p->is_full)
        pthread_cond_wait(&p->progress, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return ERR_OK;
}

enum err segpool_open(const struct segpool_conf *c, struct segpool **out)
{
    struct segpool *p = mem_new(struct segpool);
    enum err err;

    assert(c->segment_bytes >= SEGMENT_MIN && c->segment_bytes <= SEGMENT_MAX && c->segment_bytes % BATCH_ALIGN == 0);
    p->env = c->env;
    p->dir = mem_dup(str_c(c->dir));
    p->ready_dir = segment_ready_dir(c->dir);
    p->segment_bytes = c->segment_bytes;
    p->ahead = c->ahead ? c->ahead : 1;
    p->is_stepped = c->is_stepped;
    list_init(&p->given);
    TRY(fs_mkdirs(p->env->fs, p->ready_dir));
    TRY(take_stock(p));
    TRY(start(p));
    *out = p;
    p = NULL;
out:
    if (p)
        deinit(p);
    return err;
}

static void end_thread(struct segpool *p)
{
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (!p->is_stepped)
        pthread_join(p->thread, NULL);
    while (p->is_stepped && segpool_step(p))
        ;
}

void segpool_close(struct segpool *p)
{
    if (!p)
        return;
    end_thread(p);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->progress);
    pthread_mutex_destroy(&p->lock);
    deinit(p);
}

enum err segpool_take(struct segpool *p, uint64_t *id)
{
    enum err err = ERR_OK;

    pthread_mutex_lock(&p->lock);
    if (p->n_ready) {
        *id = p->ready[--p->n_ready];
        pthread_cond_signal(&p->work);
    } else {
        err = p->is_full && !p->is_scarce ? ERR_FULL : ERR_AGAIN;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

char *segpool_path(const struct segpool *p, uint64_t id) { return segment_ready_path(p->dir, id, ".seg"); }

uint64_t segpool_segment_bytes(const struct segpool *p) { return p->segment_bytes; }

void segpool_recycle(struct segpool *p, uint64_t log_id, uint64_t number)
{
    struct given_back *g = mem_new(struct given_back);

    *g = (struct given_back){.log_id = log_id, .number = number};
    pthread_mutex_lock(&p->lock);
    list_push(&p->given, &g->link);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}
