#include "tests/lib/simdisk.h"
#include "base/hash.h"
#include "tests/lib/simnode.h"
#include <assert.h>

struct simdisk {
    struct fs fs; /* what callers hold */
    struct faults faults;
    pthread_mutex_t lock; /* guards all below */
    struct simrand rand;
    uint64_t tick;
    struct simnode *root, **nodes;
    size_t n_nodes, cap_nodes;
    unsigned handles;
    uint64_t capacity;
    bool is_down;
    unsigned die_ops;
    uint64_t die_left; /* calls until the last; 0: none */
    enum death death;
    uint64_t flip_left, flip_times, flipped;
};

struct sim_file {
    struct file file;
    struct simdisk *disk;
    struct simnode *node;
    bool has_lock;
};

static struct simdisk *of_fs(struct fs *s) { return container_of(s, struct simdisk, fs); }
static struct sim_file *of_file(struct file *f) { return container_of(f, struct sim_file, file); }

static struct simnode *new_node(struct simdisk *d, bool is_folder)
{
    struct simnode *n = mem_new(struct simnode);

    n->is_folder = is_folder;
    if (d->n_nodes == d->cap_nodes) {
        d->cap_nodes = d->cap_nodes ? d->cap_nodes * 2 : 64;
        d->nodes = mem_realloc(d->nodes, d->cap_nodes * sizeof d->nodes[0]);
    }
    d->nodes[d->n_nodes++] = n;
    return n;
}

/* --- dying --- */

static struct cut draw_cut(struct simdisk *d)
{
    static const enum cut_kind kinds[] = {CUT_NOTHING, CUT_ALL, CUT_UNTIL, CUT_UNTIL, CUT_ANY, CUT_ANY, CUT_ANY};
    struct cut c = {.kind = kinds[simrand_below(&d->rand, sizeof kinds / sizeof kinds[0])], .rand = &d->rand};
    uint64_t back = (uint64_t)1 << simrand_below(&d->rand, 8);

    c.until = d->tick - simrand_below(&d->rand, back < d->tick ? back : d->tick + 1);
    c.percent = (unsigned)simrand_below(&d->rand, 101);
    return c;
}

static void count_links(struct simdisk *d)
{
    for (size_t i = 0; i < d->n_nodes; i++)
        d->nodes[i]->links = 0;
    for (size_t i = 0; i < d->n_nodes; i++)
        for (size_t k = 0; k < d->nodes[i]->cached_names.n; k++)
            d->nodes[i]->cached_names.v[k].node->links++;
}

static void die(struct simdisk *d, enum death how)
{
    d->is_down = true;
    if (how == DEATH_KILL)
        return;
    struct cut c = draw_cut(d);
    for (size_t i = 0; i < d->n_nodes; i++)
        simnode_cut(d->nodes[i], &c);
    count_links(d);
}

/* What a call may do: all, a part and then an error, or nothing but the error. */
struct verdict {
    enum err err;
    bool is_last; /* then it dies */
};

static struct verdict judge(struct simdisk *d, enum fault_op op, enum err ordered)
{
    struct verdict v = {.err = ordered};

    if (d->is_down)
        return (struct verdict){.err = ERR_IO};
    d->tick++;
    if (d->die_left && (d->die_ops & (unsigned)op) && --d->die_left == 0)
        v = (struct verdict){.err = ERR_IO, .is_last = true};
    return v;
}

/* The beginning of each call; `leave` is its end. */
static struct verdict enter(struct simdisk *d, enum fault_op op, const char *path)
{
    enum err ordered = faults_enter(&d->faults, op, path); /* a hook may wait: not under our lock */

    pthread_mutex_lock(&d->lock);
    return judge(d, op, ordered);
}

static enum err leave(struct simdisk *d, struct verdict v, enum err err)
{
    if (v.is_last)
        die(d, d->death);
    pthread_mutex_unlock(&d->lock);
    return v.err != ERR_OK ? v.err : err;
}

/* Whether a call that has no halves takes place: the last one of a process may or may not. */
static bool takes_place(struct simdisk *d, struct verdict v)
{
    return v.err == ERR_OK || (v.is_last && simrand_percent(&d->rand, 50));
}

/* How many of n bytes a call writes. */
static uint64_t written(struct simdisk *d, struct verdict v, uint64_t n)
{
    if (v.err == ERR_OK)
        return n;
    bool has_part = !d->is_down && simrand_percent(&d->rand, 50);
    return has_part ? simrand_below(&d->rand, n + 1) : 0;
}

/* --- paths --- */

/* Walks to the folder that holds the last part of path, which is *name. */
static enum err resolve(struct simdisk *d, const char *path, struct simnode **folder, struct str *name)
{
    struct simnode *at = d->root;

    assert(path[0] == '/');
    *name = (struct str){0};
    for (const char *p = path + 1; *p;) {
        size_t n = strcspn(p, "/");
        if (n && name->len) {
            at = simnode_find(at, *name);
            if (!at || !at->is_folder)
                return ERR_NOT_FOUND;
        }
        if (n)
            *name = str_of(p, n);
        p += n + (p[n] == '/');
    }
    *folder = at;
    return ERR_OK;
}

static struct simnode *find_path(struct simdisk *d, const char *path)
{
    struct simnode *folder;
    struct str name;

    if (resolve(d, path, &folder, &name) != ERR_OK)
        return NULL;
    return name.len ? simnode_find(folder, name) : folder;
}

static struct simnode *find_folder(struct simdisk *d, const char *path)
{
    struct simnode *n = find_path(d, path);
    return n && n->is_folder ? n : NULL;
}

/* --- files --- */

static enum err open_node(struct simdisk *d, const char *path, enum fs_mode mode, struct simnode **out)
{
    struct simnode *folder, *n;
    struct str name;
    enum err err;

    TRY(resolve(d, path, &folder, &name));
    n = simnode_find(folder, name);
    TRY(n && mode == FS_CREATE_NEW ? ERR_EXISTS : ERR_OK);
    TRY(!n && mode <= FS_WRITE ? ERR_NOT_FOUND : ERR_OK);
    TRY(n && n->is_folder ? ERR_IO : ERR_OK);
    if (!n) {
        n = new_node(d, false);
        simnode_name(folder, d->tick, name, n, (struct str){0}, NULL);
    }
    *out = n;
out:
    return err;
}

static enum err sim_open(struct fs *s, const char *path, enum fs_mode mode, struct file **out)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_OPEN, path);
    struct simnode *n = NULL;
    enum err err = ERR_OK;

    if (takes_place(d, v))
        err = open_node(d, path, mode, &n);
    if (n && v.err == ERR_OK) {
        struct sim_file *f = mem_new(struct sim_file);
        *f = (struct sim_file){{s->ops}, d, n, false};
        n->handles++;
        d->handles++;
        *out = &f->file;
    }
    return leave(d, v, err);
}

static void sim_close(struct file *file)
{
    struct sim_file *f = of_file(file);

    pthread_mutex_lock(&f->disk->lock);
    if (f->has_lock)
        f->node->is_locked = false;
    f->node->handles--;
    f->disk->handles--;
    pthread_mutex_unlock(&f->disk->lock);
    mem_free(f);
}

static void maybe_flip(struct simdisk *d, uint8_t *p, size_t n)
{
    if (!d->flip_times)
        return;
    if (d->flip_left) {
        d->flip_left--;
        return;
    }
    d->flip_times--;
    if (n) {
        p[simrand_below(&d->rand, n)] ^= (uint8_t)(1u << simrand_below(&d->rand, 8));
        d->flipped++;
    }
}

static enum err sim_read(struct file *file, void *p, size_t n, uint64_t at, size_t *got)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_READ, NULL);
    const struct image *im = &f->node->cache;

    if (v.err == ERR_OK) {
        *got = at >= im->len ? 0 : im->len - at < n ? im->len - at : n;
        if (*got)
            memcpy(p, im->p + at, *got);
        maybe_flip(f->disk, p, *got);
    }
    return leave(f->disk, v, ERR_OK);
}

/* What still fits; a file that doesn't grow needs no space. */
static uint64_t room_for(struct simdisk *d, const struct simnode *n, uint64_t end)
{
    uint64_t used = 0;

    if (d->capacity == UINT64_MAX || end <= n->cache.len)
        return end;
    for (size_t i = 0; i < d->n_nodes; i++)
        used += d->nodes[i]->links || d->nodes[i]->handles ? d->nodes[i]->cache.len : 0;
    uint64_t room = used < d->capacity ? d->capacity - used : 0;
    return room < end - n->cache.len ? n->cache.len + room : end;
}

/* Writes what the verdict and the space allow. */
static enum err write_bytes(struct simdisk *d, struct simnode *n, struct verdict v, const uint8_t *p, uint64_t len,
                            uint64_t at)
{
    uint64_t fits = room_for(d, n, at + len), done = written(d, v, len);

    if (done > (fits > at ? fits - at : 0))
        done = fits > at ? fits - at : 0;
    if (done)
        simnode_write(n, d->tick, p, done, at);
    return done < len ? ERR_FULL : ERR_OK;
}

static enum err sim_writev(struct file *file, struct iovec *iov, int n, uint64_t at)
{
    struct sim_file *f = of_file(file);
    uint64_t len = 0, filled = 0;

    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    uint8_t *all = mem_alloc(len + 1); /* one call is one write: it is torn as a whole */
    for (int i = 0; i < n; filled += iov[i].iov_len, i++)
        if (iov[i].iov_len)
            memcpy(all + filled, iov[i].iov_base, iov[i].iov_len);
    struct verdict v = enter(f->disk, FAULT_WRITE, NULL);
    enum err err = write_bytes(f->disk, f->node, v, all, len, at);
    mem_free(all);
    return leave(f->disk, v, err);
}

static void sync_node(struct simdisk *d, struct simnode *n, struct verdict v)
{
    if (d->is_down)
        return;
    if (takes_place(d, v)) {
        simnode_sync(n);
    } else if (!v.is_last) { /* of one that dies meanwhile, the cut decides */
        struct cut c = draw_cut(d);
        simnode_sync_failed(n, &c);
    }
}

static enum err sim_sync(struct file *file)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_SYNC, NULL);

    sync_node(f->disk, f->node, v);
    return leave(f->disk, v, ERR_OK);
}

static enum err sim_truncate(struct file *file, uint64_t size)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_TRUNCATE, NULL);
    enum err err = room_for(f->disk, f->node, size) < size ? ERR_FULL : ERR_OK;

    if (err == ERR_OK && takes_place(f->disk, v))
        simnode_resize(f->node, f->disk->tick, size);
    return leave(f->disk, v, err);
}

static enum err sim_fill(struct file *file, uint64_t size)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_FILL, NULL);
    enum err err = write_bytes(f->disk, f->node, v, NULL, size, 0);

    if (err == ERR_OK && v.err == ERR_OK)
        simnode_sync(f->node);
    return leave(f->disk, v, err);
}

static enum err sim_size(struct file *file, uint64_t *out)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_SIZE, NULL);

    if (v.err == ERR_OK)
        *out = f->node->cache.len;
    return leave(f->disk, v, ERR_OK);
}

static enum err sim_lock(struct file *file)
{
    struct sim_file *f = of_file(file);
    struct verdict v = enter(f->disk, FAULT_LOCK, NULL);
    enum err err = f->node->is_locked && !f->has_lock ? ERR_LOCKED : ERR_OK;

    if (err == ERR_OK && v.err == ERR_OK)
        f->node->is_locked = f->has_lock = true;
    return leave(f->disk, v, err);
}

/* --- folders --- */

static enum err rename_node(struct simdisk *d, const char *from, const char *to)
{
    struct simnode *a, *b, *n;
    struct str name_a, name_b;
    enum err err;

    TRY(resolve(d, from, &a, &name_a));
    TRY(resolve(d, to, &b, &name_b));
    n = simnode_find(a, name_a);
    TRY(n ? ERR_OK : ERR_NOT_FOUND);
    if (simnode_find(b, name_b) == n) /* two names of one file: POSIX does nothing */
        goto out;
    if (a == b) {
        simnode_name(a, d->tick, name_b, n, name_a, NULL);
    } else {
        simnode_name(b, d->tick, name_b, n, (struct str){0}, NULL);
        simnode_name(a, d->tick, name_a, NULL, (struct str){0}, NULL);
    }
out:
    return err;
}

static enum err sim_rename(struct fs *s, const char *from, const char *to)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_RENAME, from);
    return leave(d, v, takes_place(d, v) ? rename_node(d, from, to) : ERR_OK);
}

static enum err link_node(struct simdisk *d, const char *from, const char *to)
{
    struct simnode *n = find_path(d, from), *folder;
    struct str name;
    enum err err;

    TRY(n ? ERR_OK : ERR_NOT_FOUND);
    TRY(resolve(d, to, &folder, &name));
    TRY(simnode_find(folder, name) ? ERR_EXISTS : ERR_OK);
    simnode_name(folder, d->tick, name, n, (struct str){0}, NULL);
out:
    return err;
}

static enum err sim_link(struct fs *s, const char *from, const char *to)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_LINK, from);
    return leave(d, v, takes_place(d, v) ? link_node(d, from, to) : ERR_OK);
}

static enum err remove_node(struct simdisk *d, const char *path)
{
    struct simnode *folder, *n;
    struct str name;
    enum err err;

    TRY(resolve(d, path, &folder, &name));
    n = simnode_find(folder, name);
    TRY(n ? ERR_OK : ERR_NOT_FOUND);
    TRY(n->cached_names.n ? ERR_IO : ERR_OK); /* a folder that is not empty */
    simnode_name(folder, d->tick, name, NULL, (struct str){0}, NULL);
out:
    return err;
}

static enum err sim_remove(struct fs *s, const char *path)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_REMOVE, path);
    return leave(d, v, takes_place(d, v) ? remove_node(d, path) : ERR_OK);
}

static enum err make_folder(struct simdisk *d, const char *path)
{
    struct simnode *folder, *n;
    struct str name;
    enum err err;

    TRY(resolve(d, path, &folder, &name));
    n = name.len ? simnode_find(folder, name) : d->root;
    TRY(n && !n->is_folder ? ERR_EXISTS : ERR_OK);
    if (!n)
        simnode_name(folder, d->tick, name, new_node(d, true), (struct str){0}, NULL);
out:
    return err;
}

static enum err sim_mkdir(struct fs *s, const char *path)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_MKDIR, path);
    return leave(d, v, takes_place(d, v) ? make_folder(d, path) : ERR_OK);
}

static enum err sim_sync_dir(struct fs *s, const char *path)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_SYNC_DIR, path);
    struct simnode *n = find_folder(d, path);

    if (n)
        sync_node(d, n, v);
    return leave(d, v, n ? ERR_OK : ERR_NOT_FOUND);
}

static enum err sim_list(struct fs *s, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_LIST, path);
    const struct simnode *n = find_folder(d, path);

    for (size_t i = 0; v.err == ERR_OK && n && i < n->cached_names.n; i++)
        each(arg, n->cached_names.v[i].name);
    return leave(d, v, n ? ERR_OK : ERR_NOT_FOUND);
}

static enum err sim_space(struct fs *s, const char *path, uint64_t *free_bytes)
{
    struct simdisk *d = of_fs(s);
    struct verdict v = enter(d, FAULT_SPACE, path);
    static const struct simnode none;

    if (v.err == ERR_OK)
        *free_bytes = room_for(d, &none, UINT64_MAX);
    return leave(d, v, ERR_OK);
}

static const struct fs_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .writev = sim_writev,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .fill = sim_fill,
    .size = sim_size,
    .lock = sim_lock,
    .rename = sim_rename,
    .link = sim_link,
    .remove = sim_remove,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .space = sim_space,
};

/* --- the disk --- */

void simdisk_create(uint64_t seed, struct simdisk **out)
{
    struct simdisk *d = mem_new(struct simdisk);

    d->fs.ops = &sim_ops;
    faults_init(&d->faults);
    pthread_mutex_init(&d->lock, NULL);
    d->rand.state = seed;
    d->capacity = UINT64_MAX;
    d->root = new_node(d, true);
    *out = d;
}

void simdisk_destroy(struct simdisk *d)
{
    if (!d)
        return;
    assert(d->handles == 0);
    for (size_t i = 0; i < d->n_nodes; i++)
        simnode_free(d->nodes[i]);
    mem_free(d->nodes);
    pthread_mutex_destroy(&d->lock);
    faults_deinit(&d->faults);
    mem_free(d);
}

struct fs *simdisk_fs(struct simdisk *d) { return &d->fs; }

struct faults *simdisk_faults(struct simdisk *d) { return &d->faults; }

void simdisk_die(struct simdisk *d, enum death how)
{
    pthread_mutex_lock(&d->lock);
    if (!d->is_down)
        die(d, how);
    pthread_mutex_unlock(&d->lock);
}

void simdisk_die_at(struct simdisk *d, unsigned ops, uint64_t n, enum death how)
{
    pthread_mutex_lock(&d->lock);
    d->die_ops = ops;
    d->die_left = n;
    d->death = how;
    pthread_mutex_unlock(&d->lock);
}

bool simdisk_is_down(struct simdisk *d)
{
    pthread_mutex_lock(&d->lock);
    bool is = d->is_down;
    pthread_mutex_unlock(&d->lock);
    return is;
}

static void mark(struct simnode *n)
{
    if (n->is_marked)
        return;
    n->is_marked = true;
    for (size_t i = 0; i < n->cached_names.n; i++)
        mark(n->cached_names.v[i].node);
    for (size_t i = 0; i < n->disk_names.n; i++)
        mark(n->disk_names.v[i].node);
    for (size_t i = 0; i < n->n_namings; i++)
        for (size_t k = 0; k < n->namings[i].n; k++)
            if (n->namings[i].names[k].node)
                mark(n->namings[i].names[k].node);
}

/* Frees what has no name, and after no cut can have one. */
static void sweep(struct simdisk *d)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->n_nodes; i++)
        d->nodes[i]->is_marked = false;
    mark(d->root);
    for (size_t i = 0; i < d->n_nodes; i++) {
        if (d->nodes[i]->is_marked)
            d->nodes[kept++] = d->nodes[i];
        else
            simnode_free(d->nodes[i]);
    }
    d->n_nodes = kept;
}

void simdisk_boot(struct simdisk *d)
{
    pthread_mutex_lock(&d->lock);
    assert(d->handles == 0);
    sweep(d);
    d->is_down = false;
    d->die_left = 0;
    d->flip_times = 0;
    pthread_mutex_unlock(&d->lock);
    faults_heal(&d->faults);
}

void simdisk_set_capacity(struct simdisk *d, uint64_t bytes)
{
    pthread_mutex_lock(&d->lock);
    d->capacity = bytes;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_flip(struct simdisk *d, uint64_t n, uint64_t times)
{
    pthread_mutex_lock(&d->lock);
    d->flip_left = n - 1;
    d->flip_times = times;
    pthread_mutex_unlock(&d->lock);
}

uint64_t simdisk_flipped(struct simdisk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t n = d->flipped;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static uint64_t sum_of(const struct simnode *n, uint64_t seed)
{
    uint64_t sum = n->cache.len ? hash_sum(n->cache.p, n->cache.len, seed) : seed;

    for (size_t i = 0; i < n->cached_names.n; i++) {
        const struct named *at = &n->cached_names.v[i];
        sum = hash_sum(at->name, strlen(at->name), sum_of(at->node, sum + i));
    }
    return sum;
}

uint64_t simdisk_sum(struct simdisk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t sum = sum_of(d->root, 1);
    pthread_mutex_unlock(&d->lock);
    return sum;
}
