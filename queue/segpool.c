/* The thread first takes in what logs gave back, then zeroes what is to be scrubbed, then fills new segments until
 * `ahead` are ready. It keeps up to twice as many of those given back, so a log that trims as fast as it writes lives
 * on the same files, and writes each byte once: they are handed out as they are, when none is left that is zero-filled.
 * What they hold is never valid again (seglog.c, 1). When for IDLE_MS nobody took a segment or gave one back, one of
 * them is zeroed, then the next: so only a busy log leaves old bytes lying about.
 *
 * Scrubbing. Each segment that was given back and not zeroed since, a `worn` one, is known by where it is: given back,
 * ready, or out, written to by a log again and old from there on to its end. It knows how many scrubs had been asked
 * for when it became worn, and is due when that was before the last. A scrub is done when none is left that is due by
 * it: those in the pool are zeroed, those that are out come back when their log rolls (who erases sees to that). Until
 * then old segments are not handed out, so what is to go does not move from log to log.
 *
 * A full disk ends filling for RETRY_MS, or until something is given back. When a folder can't be synced or a file be
 * taken out of it, nobody knows what the log's folder holds after a power cut, and writing to a file that may still be
 * the log's would look like damage: then the pool is `stuck`, takes nothing in any more and says so once; the logs keep
 * their files until the next start. */
#include "queue/segpool.h"
#include "base/list.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { RETRY_MS = 1000, IDLE_MS = 1000 };

struct worn {
    struct link link;        /* in given, old or out */
    uint64_t log_id, number; /* given: where it is; out: whose it is */
    uint64_t id;             /* old, out: of the ready file */
    uint64_t scrubs;         /* asked for before */
};

struct segpool {
    struct env *env;
    char *dir, *ready_dir;
    uint64_t segment_bytes;
    size_t ahead;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work, progress;
    uint64_t *ready; /* ids of the zero-filled */
    size_t n_ready, cap_ready;
    struct link given, old, out; /* of struct worn; old: ready as they are */
    size_t n_old;
    struct worn *busy; /* the thread has it in hand */
    uint64_t scrubs;   /* asked for */
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

static void add_old(struct segpool *p, struct worn *w)
{
    list_push(&p->old, &w->link);
    p->n_old++;
}

static struct worn *take_old(struct segpool *p, struct worn *w)
{
    list_remove(&w->link);
    p->n_old--;
    return w;
}

static bool is_due(const struct worn *w, uint64_t scrubs) { return w && w->scrubs < scrubs; }

static struct worn *first_due(const struct link *list, uint64_t scrubs)
{
    list_each (list, w, struct worn, link)
        if (is_due(w, scrubs))
            return w;
    return NULL;
}

static bool is_any_due(const struct segpool *p, uint64_t scrubs)
{
    return is_due(p->busy, scrubs) || first_due(&p->given, scrubs) || first_due(&p->old, scrubs) ||
           first_due(&p->out, scrubs);
}

static bool is_short(const struct segpool *p) { return p->n_ready + p->n_old < p->ahead; }

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

/* True when the time has passed; woken before, it may be too early. */
static bool wait_ms(struct segpool *p, unsigned ms)
{
    uint64_t at_us = env_mono_us(p->env) + (uint64_t)ms * 1000;
    struct timespec at = {(time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000};

    return pthread_cond_timedwait(&p->work, &p->lock, &at) == ETIMEDOUT;
}

/* Without a descriptor nothing was done: it is repeated, until the pool ends. */
static enum err sync_dir(struct segpool *p, const char *dir)
{
    bool is_ending = false;
    enum err err;

    while ((err = fs_sync_dir(p->env->fs, dir)) == ERR_SCARCE && !is_ending) {
        pthread_mutex_lock(&p->lock);
        if (!p->ending)
            (void)wait_ms(p, RETRY_MS); /* too early does no harm */
        is_ending = p->ending;
        pthread_mutex_unlock(&p->lock);
    }
    return err;
}

/* Out of the log's folder: by renaming, or, where there is no room even for a name, by removing. */
static enum err take_out(struct segpool *p, const struct worn *g, const char *tmp, bool *is_kept)
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

/* tmp becomes ID.old. The name need not be durable: by either the file is removed at a start. */
static enum err keep_old(struct segpool *p, const char *tmp, uint64_t id)
{
    char *path = segment_ready_path(p->dir, id, ".old");
    struct file *f = NULL;
    uint64_t size = 0;
    enum err err;

    TRY(fs_open(p->env->fs, tmp, FS_READ, &f));
    TRY(file_size(f, &size));
    TRY(size == p->segment_bytes ? ERR_OK : ERR_INVALID);
    TRY(fs_rename(p->env->fs, tmp, path));
out:
    file_close(f);
    mem_free(path);
    return err;
}

static void take_in(struct segpool *p, struct worn *g)
{
    uint64_t id = p->next_id++;
    char *tmp = segment_ready_path(p->dir, id, ".tmp");
    bool is_wanted = p->n_ready + p->n_old < 2 * p->ahead && !p->ending, is_kept;

    p->busy = g;
    pthread_mutex_unlock(&p->lock);
    enum err err = take_out(p, g, tmp, &is_kept);
    bool is_ready = err == ERR_OK && is_kept && is_wanted && keep_old(p, tmp, id) == ERR_OK;
    if (err == ERR_OK && is_kept && !is_ready)
        err = fs_remove(p->env->fs, tmp);
    mem_free(tmp);
    pthread_mutex_lock(&p->lock);
    p->busy = NULL;
    g->id = id;
    if (is_ready)
        add_old(p, g);
    else if (err != ERR_OK)
        list_push(&p->given, &g->link); /* it is still somewhere */
    else
        mem_free(g);
    p->is_stuck |= err != ERR_OK;
    p->is_full = false; /* there is space again: try at once */
    pthread_cond_broadcast(&p->progress);
}

/* What can be neither zeroed nor removed is tried again. */
static void scrub(struct segpool *p, struct worn *w)
{
    char *path = segment_ready_path(p->dir, w->id, ".old");

    p->busy = w;
    pthread_mutex_unlock(&p->lock);
    enum err err = make_ready(p, path, FS_WRITE, w->id), removed = ERR_OK;
    if (err != ERR_OK)
        removed = fs_remove(p->env->fs, path);
    mem_free(path);
    pthread_mutex_lock(&p->lock);
    p->busy = NULL;
    if (err == ERR_OK)
        add_ready(p, w->id);
    if (removed == ERR_OK || removed == ERR_NOT_FOUND) {
        mem_free(w);
    } else {
        add_old(p, w);
        p->is_full = true;
    }
    pthread_cond_broadcast(&p->progress);
}

/* Under the lock; NULL: nothing was, or the pool is stuck. */
static struct worn *next_given(struct segpool *p)
{
    struct worn *g = p->is_stuck ? NULL : list_first(&p->given, struct worn, link);
    if (g)
        list_remove(&g->link);
    return g;
}

/* Which one to zero: one that is due; any, with nothing else to do, or when too few are zero-filled and, while
 * something is due, none is handed out as it is. */
static struct worn *to_zero(struct segpool *p, bool is_idle)
{
    struct worn *w = first_due(&p->old, p->scrubs);
    bool is_any = is_idle || (p->n_ready < p->ahead && is_any_due(p, p->scrubs));

    return !w && is_any ? list_first(&p->old, struct worn, link) : w;
}

static struct worn *next_scrub(struct segpool *p, bool is_idle)
{
    struct worn *w = p->ending ? NULL : to_zero(p, is_idle);

    return w ? take_old(p, w) : NULL;
}

bool segpool_step(struct segpool *p)
{
    struct worn *g, *w = NULL;

    pthread_mutex_lock(&p->lock);
    g = next_given(p);
    if (!g)
        w = next_scrub(p, !is_short(p));
    bool is_filling = !g && !w && !p->ending && is_short(p);
    if (g)
        take_in(p, g);
    else if (w)
        scrub(p, w);
    else if (is_filling)
        fill_new(p);
    bool has_done = (g || w || is_filling) && !p->is_full;
    pthread_mutex_unlock(&p->lock);
    return has_done;
}

/* With nothing given back. */
static void make_more(struct segpool *p)
{
    struct worn *w = next_scrub(p, false);

    if (w)
        scrub(p, w);
    else if (is_short(p))
        fill_new(p);
    else if (list_is_empty(&p->old))
        pthread_cond_wait(&p->work, &p->lock);
    else if (wait_ms(p, IDLE_MS) && (w = next_scrub(p, true)) != NULL)
        scrub(p, w);
}

static void *run(void *arg)
{
    struct segpool *p = arg;
    bool waited = false; /* since the last failure */

    pthread_setname_np(pthread_self(), "segpool");
    pthread_mutex_lock(&p->lock);
    while (!p->ending || (!list_is_empty(&p->given) && !p->is_stuck)) {
        struct worn *g = next_given(p);
        if (g) {
            take_in(p, g);
        } else if (p->is_full && !waited && (is_short(p) || to_zero(p, false))) {
            (void)wait_ms(p, RETRY_MS); /* too early does no harm */
            waited = true;
            continue;
        } else {
            make_more(p);
        }
        waited = false;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* All files of this suffix in the ready folder. */
static enum err remove_ready(struct env *env, const char *dir, const char *suffix, uint64_t *next_id)
{
    char *ready_dir = segment_ready_dir(dir);
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err = segment_list(env->fs, ready_dir, suffix, &ids, &n);

    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        char *path = segment_ready_path(dir, ids[i], suffix);
        err = fs_remove(env->fs, path);
        mem_free(path);
        *next_id = *next_id > ids[i] ? *next_id : ids[i] + 1;
    }
    mem_free(ids);
    mem_free(ready_dir);
    return err;
}

/* What an earlier run left zero-filled is used; what it left half made, with old bytes, or of another size, goes. */
static enum err take_stock(struct segpool *p)
{
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    TRY(remove_ready(p->env, p->dir, ".tmp", &p->next_id));
    TRY(remove_ready(p->env, p->dir, ".old", &p->next_id));
    TRY(segment_list(p->env->fs, p->ready_dir, ".seg", &ids, &n));
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
    return err;
}

enum err segpool_discard(struct env *env, const char *dir)
{
    uint64_t next_id = 0;
    enum err err;

    TRY(remove_ready(env, dir, ".seg", &next_id));
    TRY(remove_ready(env, dir, ".old", &next_id));
out:
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* no such folder */
}

static void free_worn(struct link *list)
{
    list_each (list, w, struct worn, link)
        mem_free(w);
}

static void deinit(struct segpool *p)
{
    free_worn(&p->given);
    free_worn(&p->old);
    free_worn(&p->out);
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
    list_init(&p->old);
    list_init(&p->out);
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

enum err segpool_take(struct segpool *p, uint64_t log_id, struct segpool_segment *out)
{
    enum err err = ERR_OK;

    pthread_mutex_lock(&p->lock);
    if (p->n_ready) {
        *out = (struct segpool_segment){.id = p->ready[--p->n_ready]};
    } else if (p->n_old && !is_any_due(p, p->scrubs)) {
        struct worn *w = take_old(p, list_first(&p->old, struct worn, link));
        w->log_id = log_id;
        list_push(&p->out, &w->link);
        *out = (struct segpool_segment){.id = w->id, .is_old = true};
    } else {
        err = p->is_full && !p->is_scarce && !p->n_old ? ERR_FULL : ERR_AGAIN;
    }
    if (err == ERR_OK)
        pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return err;
}

char *segpool_path(const struct segpool *p, const struct segpool_segment *s)
{
    return segment_ready_path(p->dir, s->id, s->is_old ? ".old" : ".seg");
}

uint64_t segpool_segment_bytes(const struct segpool *p) { return p->segment_bytes; }

/* Under the lock: what is known of an old one that was taken. */
static struct worn *come_back(struct segpool *p, uint64_t id)
{
    list_each (&p->out, w, struct worn, link)
        if (w->id == id) {
            list_remove(&w->link);
            return w;
        }
    return NULL;
}

void segpool_recycle(struct segpool *p, uint64_t log_id, uint64_t number, const struct segpool_segment *was)
{
    struct worn *w = NULL;

    pthread_mutex_lock(&p->lock);
    if (was->is_old)
        w = come_back(p, was->id);
    if (!w) {
        w = mem_new(struct worn);
        w->scrubs = p->scrubs;
    }
    w->log_id = log_id;
    w->number = number;
    list_push(&p->given, &w->link);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

uint64_t segpool_scrub(struct segpool *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t ticket = ++p->scrubs;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return ticket;
}

bool segpool_is_scrubbed(struct segpool *p, uint64_t ticket)
{
    pthread_mutex_lock(&p->lock);
    bool is = !is_any_due(p, ticket);
    pthread_mutex_unlock(&p->lock);
    return is;
}

bool segpool_is_stale(struct segpool *p, uint64_t log_id)
{
    bool is = false;

    pthread_mutex_lock(&p->lock);
    list_each (&p->out, w, struct worn, link)
        is |= w->log_id == log_id && is_due(w, p->scrubs);
    pthread_mutex_unlock(&p->lock);
    return is;
}
