/* simcopy: a copy of stores that live on, made as a backup makes one (cmd/parley_backup_job.c), a piece at a time: what
 * the manifests of one moment name is linked, or else copied, to a folder aside, synced, and the folder gets its name.
 *
 *     simcopy_begin(&c, fs, stores, n);
 *     while (simcopy_step(&c))     the stores may move between any two steps
 *         ;
 *     simcopy_end(&c);             before a store is closed; c.is_made says whether it is there for good */
#pragma once
#include "storage/lsm.h"
#include "storage/manifest.h"
#include "storage/sst_read.h"
#include "tests/lib/unit.h"
#include <stdio.h>

#define COPY_DIR "/copies"
#define COPY_PART COPY_DIR "/1.part"
#define COPY_MADE COPY_DIR "/1"
enum { SIMCOPY_STORES = 4, SIMCOPY_PATH = 64, SIMCOPY_BYTES = 1 << 20 };

struct simcopy {
    struct fs *fs;
    struct lsm **stores;
    struct lsm_checkpoint held[SIMCOPY_STORES];
    unsigned n, store; /* of `n`, the one that is copied */
    size_t table;      /* of it, the next */
    bool is_begun, is_made;
};

static inline void simcopy_begin(struct simcopy *c, struct fs *fs, struct lsm **stores, unsigned n)
{
    assert_true(n <= SIMCOPY_STORES);
    *c = (struct simcopy){.fs = fs, .stores = stores, .n = n, .is_begun = true};
    for (unsigned i = 0; i < n; i++)
        lsm_checkpoint_begin(stores[i], &c->held[i]);
}

static inline void simcopy_end(struct simcopy *c)
{
    for (unsigned i = 0; i < c->n; i++)
        lsm_checkpoint_end(c->stores[i], &c->held[i]);
    c->n = 0;
    c->is_begun = false;
}

static inline enum err simcopy_bytes(struct fs *fs, struct str bytes, const char *to)
{
    struct file *f = NULL;
    enum err err;

    TRY(fs_open(fs, to, FS_CREATE_NEW, &f));
    TRY(file_write(f, bytes.p, bytes.len, 0));
    TRY(file_sync(f));
out:
    file_close(f);
    return err;
}

/* Every other table as on another file system, where it cannot be linked. */
static inline enum err simcopy_table(struct simcopy *c, const char *dir, const struct manifest_table *t)
{
    char from_dir[SIMCOPY_PATH];
    snprintf(from_dir, sizeof from_dir, "/data/stores/%u", c->store);
    char *from = sst_path(from_dir, t->id), *to = sst_path(dir, t->id);
    struct str bytes = {0};
    enum err err = ERR_OK;

    if (t->id % 2 == 0 && fs_link(c->fs, from, to) == ERR_OK)
        goto out;
    TRY(fs_read_all(c->fs, from, SIMCOPY_BYTES, &bytes));
    assert_int_equal(bytes.len, t->bytes);
    TRY(simcopy_bytes(c->fs, bytes, to));
out:
    mem_free((char *)(uintptr_t)bytes.p); /* fs_read_all gave it to us */
    mem_free(from);
    mem_free(to);
    return err;
}

/* A table of the store, or, behind the last one, its manifest. */
static inline enum err simcopy_store(struct simcopy *c)
{
    struct lsm_checkpoint *held = &c->held[c->store];
    char dir[SIMCOPY_PATH], path[SIMCOPY_PATH + 16];
    struct manifest m = {0};
    enum err err;

    snprintf(dir, sizeof dir, COPY_PART "/%u", c->store);
    snprintf(path, sizeof path, "%s/MANIFEST", dir);
    assert_ok(manifest_decode(buf_get(&held->manifest), &m));
    assert_int_equal(m.n_tables, held->n);
    if (c->table == 0)
        TRY(fs_mkdirs(c->fs, dir));
    if (c->table < m.n_tables) {
        TRY(simcopy_table(c, dir, &m.tables[c->table++]));
        goto out;
    }
    TRY(simcopy_bytes(c->fs, buf_get(&held->manifest), path));
    TRY(fs_sync_dir(c->fs, dir));
    c->store++;
    c->table = 0;
out:
    manifest_deinit(&m);
    return err;
}

static inline enum err simcopy_publish(struct simcopy *c)
{
    enum err err;

    TRY(fs_sync_dir(c->fs, COPY_PART));
    TRY(fs_rename(c->fs, COPY_PART, COPY_MADE));
    TRY(fs_sync_dir(c->fs, COPY_DIR));
    c->is_made = true;
out:
    return err;
}

/* False: there is nothing more to do, or it failed and is given up. */
static inline bool simcopy_step(struct simcopy *c)
{
    if (!c->is_begun)
        return false;
    bool is_last = c->store == c->n;
    enum err err = is_last ? simcopy_publish(c) : simcopy_store(c);
    c->is_begun = err == ERR_OK && !is_last;
    return c->is_begun;
}

static inline void simcopy_meet(void *arg, const char *name)
{
    bool *is_there = arg;
    *is_there = *is_there || strcmp(name, "1") == 0;
}

static inline bool simcopy_is_there(struct fs *fs)
{
    bool is_there = false;
    enum err err = fs_list(fs, COPY_DIR, simcopy_meet, &is_there);
    assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
    return is_there;
}

/* One of its stores, to be looked at. */
static inline void simcopy_open(struct env *env, unsigned i, struct block_cache *cache, size_t filter_prefix,
                                struct lsm **out)
{
    char dir[SIMCOPY_PATH], path[SIMCOPY_PATH + 16], *why = NULL;
    struct lsm_conf conf = {.env = env, .dir = dir, .cache = cache, .filter_prefix = filter_prefix};
    struct str manifest;

    snprintf(dir, sizeof dir, COPY_MADE "/%u", i);
    snprintf(path, sizeof path, "%s/MANIFEST", dir);
    assert_ok(fs_read_all(env->fs, path, SIMCOPY_BYTES, &manifest));
    enum err err = lsm_open_still(&conf, manifest, out, &why);
    if (err != ERR_OK)
        fail_msg("%s", why);
    mem_free(why);
    mem_free((char *)(uintptr_t)manifest.p); /* fs_read_all gave it to us */
}
