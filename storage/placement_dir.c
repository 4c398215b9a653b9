/* The data folder, made in an order in which a crash at any point leaves something that the next start completes:
 *
 *   1. DIR and DIR/lock, locked   2. DIR/secret.key   3. DIR/placement   4. DIR/parley.json
 *   5. DIR/log, DIR/stores/<name>
 *
 * parley.json says that the folder is made; without it nothing may be in DIR/stores or DIR/log, and with it the key
 * and the placement must be there: without its key a folder's conversations cannot be found, without its placement
 * nobody knows in which store they are; so a lost one is damage, never replaced.
 * DIR/log/next is the next log id as decimal text; it is missing only as long as there is no log. */
#include "storage/placement.h"
#include <jansson.h>
#include <sodium.h>
#include <stdarg.h>

enum { VERSION = 2, SECRET_BYTES = 32, EPOCH_BYTES = 10, FILE_MAX = 64 * 1024, NEXT_MAX = 32 };
_Static_assert(SECRET_BYTES == crypto_kdf_KEYBYTES, "what crypto_kdf wants");

struct opening {
    struct env *env;
    const char *path;
    char **why;
};

static PRINTF_LIKE(3, 4) enum err refuse(const struct opening *o, enum err err, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mem_free(*o->why);
    *o->why = mem_dup(str_c(text));
    return err;
}

/* For errors of the system: says which file. */
static enum err check(const struct opening *o, enum err err, const char *name)
{
    return err == ERR_OK ? err : refuse(o, err, "%s/%s: %s", o->path, name, err_text(err));
}

/* DIR/name; mem_free it. */
static char *join(const char *dir, const char *name)
{
    struct buf b = {0};

    buf_printf(&b, "%s/%s%c", dir, name, 0);
    return b.p;
}

static enum err lock(const struct opening *o, struct file **out)
{
    char *path = join(o->path, "lock");
    enum err err;

    TRY(check(o, fs_open(o->env->fs, path, FS_CREATE, out), "lock"));
    err = file_lock(*out);
    if (err == ERR_LOCKED)
        TRY(refuse(o, err, "%s: a server or a tool is using this data folder", path));
    TRY(check(o, err, "lock"));
out:
    mem_free(path);
    return err;
}

/* NOT_FOUND is left to the caller, without a sentence. */
static enum err read_file(const struct opening *o, const char *name, size_t max, struct str *out)
{
    char *path = join(o->path, name);
    enum err err = fs_read_all(o->env->fs, path, max, out);

    mem_free(path);
    return err == ERR_NOT_FOUND ? err : check(o, err, name);
}

static enum err write_file(const struct opening *o, const char *name, struct str bytes)
{
    char *path = join(o->path, name);
    enum err err = check(o, fs_replace(o->env->fs, path, bytes), name);

    mem_free(path);
    return err;
}

static void count_name(void *arg, const char *name)
{
    size_t *n = arg;

    struct str s = str_c(name);

    if (!str_starts(s, STR(".")) && !str_starts(s, STR("next")) && !str_eq(s, STR("ready")))
        ++*n;
}

/* How many logs a folder has (beside `next` and the ready segments); 0 when it is not there. */
static enum err count_files(struct env *env, const char *dir, const char *name, size_t *out)
{
    char *path = join(dir, name);
    size_t n = 0;
    enum err err = fs_list(env->fs, path, count_name, &n);

    mem_free(path);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    *out = n;
    return ERR_OK;
}

static void derive(const uint8_t secret[SECRET_BYTES], uint64_t id, void *out, size_t n)
{
    crypto_kdf_derive_from_key(out, n, id, "parley.1", secret);
}

/* The numbers are for ever: a key is what it was when the folder was made. */
static void derive_keys(const uint8_t secret[SECRET_BYTES], struct data_keys *k)
{
    derive(secret, 1, k->conv.b, sizeof k->conv.b);
    derive(secret, 2, k->shard.b, sizeof k->shard.b);
    derive(secret, 3, k->cid.b, sizeof k->cid.b);
    derive(secret, 4, k->print.b, sizeof k->print.b);
    derive(secret, 5, k->ring.b, sizeof k->ring.b);
    derive(secret, 6, k->bus.b, sizeof k->bus.b);
    derive(secret, 7, k->token, sizeof k->token);
}

static enum err load_secret(const struct opening *o, bool may_create, struct data_keys *keys)
{
    uint8_t secret[SECRET_BYTES];
    struct str file = {0};
    enum err err = read_file(o, "secret.key", SECRET_BYTES, &file);

    if (err == ERR_NOT_FOUND && may_create) {
        env_random(o->env, secret, sizeof secret);
        TRY(write_file(o, "secret.key", str_of(secret, sizeof secret)));
    } else {
        if (err == ERR_NOT_FOUND)
            TRY(refuse(o, ERR_CORRUPT, "%s/secret.key is missing; restore it from a backup", o->path));
        TRY(err);
        if (file.len != SECRET_BYTES)
            TRY(refuse(o, ERR_CORRUPT, "%s/secret.key has %zu bytes instead of %d", o->path, file.len, SECRET_BYTES));
        memcpy(secret, file.p, sizeof secret);
    }
    derive_keys(secret, keys);
out:
    sodium_memzero(secret, sizeof secret);
    if (file.p)
        sodium_memzero((void *)(uintptr_t)file.p, file.len);
    mem_free((void *)(uintptr_t)file.p);
    return err;
}

static enum err write_description(const struct opening *o, const struct data_dir *d)
{
    json_t *root = json_pack("{s:i, s:s, s:i}", "version", VERSION, "epoch", d->epoch, "shards", SHARD_COUNT);
    char *text = json_dumps(root, JSON_INDENT(2));
    enum err err;

    json_decref(root);
    if (!text)
        return ERR_NOMEM;
    err = write_file(o, "parley.json", str_c(text));
    free(text); /* jansson's */
    return err;
}

static char *make_epoch(struct env *env)
{
    uint8_t random[EPOCH_BYTES];
    char text[EPOCH_BYTES * 2];

    env_random(env, random, sizeof random);
    return mem_dup(str_of(text, enc_base32(text, random, sizeof random)));
}

enum err data_dir_new_epoch(struct env *env, struct str description, struct buf *out)
{
    json_t *root = json_loadb(description.p, description.len, JSON_REJECT_DUPLICATES, NULL);
    char *epoch, *text;

    if (!json_is_string(json_object_get(root, "epoch"))) {
        json_decref(root);
        return ERR_CORRUPT;
    }
    epoch = make_epoch(env);
    json_object_set_new(root, "epoch", json_string(epoch));
    text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    mem_free(epoch);
    if (!text)
        return ERR_NOMEM;
    buf_str(out, str_c(text));
    free(text); /* jansson's */
    return ERR_OK;
}

/* The present for everybody, out of the file. */
static void take_placement(struct data_dir *d)
{
    d->stores = mem_new_array(char *, d->placement.n_stores);
    for (d->n_stores = 0; d->n_stores < d->placement.n_stores; d->n_stores++)
        d->stores[d->n_stores] = mem_dup(str_c(d->placement.stores[d->n_stores].name));
    memcpy(d->store_of, d->placement.store_of, sizeof d->store_of);
}

static enum err describe_new(const struct opening *o, unsigned n_stores, struct data_dir *d)
{
    struct placement *p = &d->placement;
    enum err err;

    d->epoch = make_epoch(o->env);
    for (p->n_stores = 0; p->n_stores < n_stores; p->n_stores++) {
        struct placement_store *s = &p->stores[p->n_stores];

        snprintf(s->name, sizeof s->name, "store%u", p->n_stores);
        s->state = STORE_ACTIVE;
    }
    TRY(placement_target(&d->keys.ring, p, p->store_of));
    TRY(check(o, placement_write(o->env->fs, o->path, p), "placement"));
    take_placement(d);
    TRY(write_description(o, d));
out:
    return err;
}

static enum err take_description(const struct opening *o, json_t *root, struct data_dir *d)
{
    int version = 0, shards = 0;
    const char *epoch = NULL;

    if (json_unpack(root, "{s:i, s:s, s:i}", "version", &version, "epoch", &epoch, "shards", &shards))
        return refuse(o, ERR_CORRUPT, "%s/parley.json does not have version, epoch and shards", o->path);
    if (version != VERSION)
        return refuse(o, ERR_UNSUPPORTED, "%s/parley.json has version %d; this program knows %d", o->path, version,
                      VERSION);
    if (shards != SHARD_COUNT || !*epoch)
        return refuse(o, ERR_CORRUPT, "%s/parley.json: epoch or shards are not what is ever written", o->path);
    d->epoch = mem_dup(str_c(epoch));
    return ERR_OK;
}

static enum err load_description(const struct opening *o, struct str file, struct data_dir *d)
{
    json_error_t at;
    json_t *root = json_loadb(file.p, file.len, JSON_REJECT_DUPLICATES, &at);
    enum err err;

    if (!root)
        return refuse(o, ERR_CORRUPT, "%s/parley.json line %d: %s", o->path, at.line, at.text);
    err = take_description(o, root, d);
    json_decref(root);
    return err;
}

static enum err load_placement(const struct opening *o, unsigned n_stores, struct data_dir *d)
{
    enum err err = placement_read(o->env->fs, o->path, &d->placement);

    if (err == ERR_NOT_FOUND)
        TRY(refuse(o, ERR_CORRUPT, "%s/placement is missing; restore it from a backup", o->path));
    if (err == ERR_CORRUPT)
        TRY(refuse(o, err, "%s/placement is damaged; restore it from a backup", o->path));
    TRY(check(o, err, "placement"));
    take_placement(d);
    if (n_stores && n_stores != d->n_stores)
        TRY(refuse(o, ERR_INVALID, "%s was made with %u stores; it cannot be opened with %u", o->path, d->n_stores,
                   n_stores));
out:
    return err;
}

/* Without a description the folder must be new. */
static enum err check_is_new(const struct opening *o)
{
    size_t stores, logs;
    enum err err;

    TRY(check(o, count_files(o->env, o->path, "stores", &stores), "stores"));
    TRY(check(o, count_files(o->env, o->path, "log", &logs), "log"));
    if (stores || logs)
        TRY(refuse(o, ERR_CORRUPT, "%s/parley.json is missing, though there is data; restore it from a backup",
                   o->path));
out:
    return err;
}

static enum err make_folders(const struct opening *o, const struct data_dir *d)
{
    char *log = join(o->path, "log"), *stores = join(o->path, "stores");
    enum err err;

    TRY(check(o, fs_mkdirs(o->env->fs, log), "log"));
    TRY(check(o, fs_mkdirs(o->env->fs, stores), "stores"));
    for (unsigned i = 0; i < d->n_stores; i++) {
        char *store = join(stores, d->stores[i]);
        err = fs_mkdirs(o->env->fs, store);
        mem_free(store);
        TRY(check(o, err, "stores"));
    }
out:
    mem_free(log);
    mem_free(stores);
    return err;
}

enum err data_dir_open(struct env *env, const char *path, unsigned n_stores, struct data_dir *out, char **why)
{
    struct opening o = {env, path, why};
    struct data_dir d = {0};
    struct str description = {0};
    enum err err;
    bool is_new;

    *why = NULL;
    if (n_stores > STORES_MAX)
        return refuse(&o, ERR_INVALID, "%s: %u stores are too many; %d is the most", path, n_stores, STORES_MAX);
    d.path = mem_dup(str_c(path));
    TRY(check(&o, fs_mkdirs(env->fs, path), ""));
    TRY(lock(&o, &d.lock));
    err = read_file(&o, "parley.json", FILE_MAX, &description);
    is_new = err == ERR_NOT_FOUND;
    TRY(is_new ? check_is_new(&o) : err);
    if (is_new && n_stores == 0)
        TRY(refuse(&o, ERR_INVALID, "%s: there is no data in this folder", path));
    TRY(load_secret(&o, is_new, &d.keys));
    if (is_new) {
        TRY(describe_new(&o, n_stores, &d));
    } else {
        TRY(load_description(&o, description, &d));
        TRY(check(&o, fs_sync_dir(env->fs, path), "")); /* a killed process may have switched a file in memory only */
        TRY(load_placement(&o, n_stores, &d));
    }
    TRY(make_folders(&o, &d));
    *out = d;
    d = (struct data_dir){0};
out:
    mem_free((void *)(uintptr_t)description.p);
    data_dir_close(&d);
    return err;
}

static enum err must_be_there(const struct opening *o, const char *name)
{
    char *path = join(o->path, name);
    struct file *f = NULL;
    enum err err = fs_open(o->env->fs, path, FS_READ, &f);

    if (err == ERR_NOT_FOUND)
        err = refuse(o, ERR_CORRUPT, "%s is missing, though it was made; restore it from a backup", path);
    else
        err = check(o, err, name);
    file_close(f);
    mem_free(path);
    return err;
}

static bool is_there(const struct opening *o, const char *name)
{
    char *path = join(o->path, name);
    struct file *f = NULL;
    bool is = fs_open(o->env->fs, path, FS_READ, &f) == ERR_OK;

    file_close(f);
    mem_free(path);
    return is;
}

enum err data_dir_check(struct env *env, const struct data_dir *d, char **why)
{
    const struct opening o = {env, d->path, why};
    enum err err = ERR_OK;

    if (is_there(&o, "log/next"))
        TRY(must_be_there(&o, "tables.db"));
    for (unsigned i = 0; i < d->n_stores && is_there(&o, "stores/made"); i++) {
        char name[2 * STORE_NAME_MAX];

        if (d->placement.stores[i].state == STORE_NEW)
            continue;
        snprintf(name, sizeof name, "stores/%s/MANIFEST", d->stores[i]);
        TRY(must_be_there(&o, name));
    }
out:
    return err;
}

enum err data_dir_made(struct env *env, const struct data_dir *d)
{
    char *path = join(d->path, "stores/made");
    const struct opening o = {env, d->path, NULL};
    enum err err = is_there(&o, "stores/made") ? ERR_OK : fs_replace(env->fs, path, STR(""));

    mem_free(path);
    return err;
}

enum err data_dir_lock(struct env *env, const char *path, struct file **out, char **why)
{
    struct opening o = {env, path, why};
    struct file *f = NULL;
    enum err err = lock(&o, &f);

    if (err == ERR_OK)
        *out = f;
    else
        file_close(f);
    return err;
}

enum err data_dir_look(struct env *env, const char *path, bool is_locked, struct data_dir *out, char **why)
{
    struct opening o = {env, path, why};
    struct data_dir d = {.path = mem_dup(str_c(path))};
    struct str description = {0};
    enum err err = read_file(&o, "parley.json", FILE_MAX, &description);

    if (err == ERR_NOT_FOUND)
        TRY(refuse(&o, err, "%s: there is no data in this folder", path));
    TRY(err);
    if (is_locked)
        TRY(lock(&o, &d.lock));
    TRY(load_secret(&o, false, &d.keys));
    TRY(load_description(&o, description, &d));
    TRY(load_placement(&o, 0, &d));
    *out = d;
    d = (struct data_dir){0};
out:
    mem_free((void *)(uintptr_t)description.p);
    data_dir_close(&d);
    return err;
}

void data_dir_close(struct data_dir *d)
{
    for (unsigned i = 0; i < d->n_stores; i++)
        mem_free(d->stores[i]);
    mem_free(d->stores);
    placement_deinit(&d->placement);
    mem_free(d->path);
    mem_free(d->epoch);
    file_close(d->lock);
    sodium_memzero(&d->keys, sizeof d->keys);
    *d = (struct data_dir){0};
}

static enum err read_next(struct env *env, const char *dir, const char *path, uint64_t *out)
{
    struct str file = {0};
    int64_t value = 0;
    size_t logs;
    enum err err = fs_read_all(env->fs, path, NEXT_MAX, &file);

    if (err == ERR_NOT_FOUND) {
        TRY(count_files(env, dir, "log", &logs));
        TRY(logs ? ERR_CORRUPT : ERR_OK); /* counting from 1 again would give an id twice */
        *out = 1;
    } else {
        TRY(err);
        TRY(str_to_i64(file, 1, INT64_MAX - 1, &value) ? ERR_OK : ERR_CORRUPT);
        *out = (uint64_t)value;
    }
out:
    mem_free((void *)(uintptr_t)file.p);
    return err;
}

enum err data_dir_next_log_id(struct env *env, struct data_dir *d, uint64_t *out)
{
    char *path = join(d->path, "log/next");
    struct buf text = {0};
    uint64_t next;
    enum err err;

    TRY(read_next(env, d->path, path, &next));
    buf_i64(&text, (int64_t)next + 1);
    TRY(fs_replace(env->fs, path, buf_get(&text)));
    *out = next;
out:
    buf_deinit(&text);
    mem_free(path);
    return err;
}
