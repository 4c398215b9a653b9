#include "storage/shard_copy.h"
#include "base/enc.h"

enum { PUT = 1, DELETE = 2, SCAN_KEYS = 256, CLEAN_KEYS = 1024 };

/* The range behind a cursor, to the end of the shard. */
struct rest {
    char from[257], to[1];
    size_t from_len, to_len;
};

static void rest_of(struct rest *r, uint16_t shard, const char *cursor, size_t len)
{
    if (len) {
        memcpy(r->from, cursor, len);
        r->from[len] = '\0'; /* the next key there may be */
        r->from_len = len + 1;
    } else {
        r->from[0] = (char)shard;
        r->from_len = 1;
    }
    r->to[0] = (char)(shard + 1);
    r->to_len = shard < UINT8_MAX; /* behind the last there is nothing */
}

static void add(struct buf *out, uint8_t what, struct str key, struct str value)
{
    enc_add_u8(out, what);
    enc_add_field(out, key);
    enc_add_field(out, value);
}

static void on_change(void *arg, struct str key, const struct str *value)
{
    struct shard_copy *c = arg;

    if (!c->is_through && str_cmp(key, str_of(c->cursor, c->cursor_len)) > 0)
        return;
    add(&c->out, value ? PUT : DELETE, key, value ? *value : STR(""));
}

void shard_copy_begin(struct shard_copy *c, struct lsm *from, uint16_t shard)
{
    *c = (struct shard_copy){.from = from, .shard = shard};
    lsm_mirror(from, (uint8_t)shard, on_change, c);
}

void shard_copy_end(struct shard_copy *c)
{
    if (c->from)
        lsm_mirror(c->from, 0, NULL, NULL);
    buf_deinit(&c->out);
    *c = (struct shard_copy){0};
}

struct scanning {
    struct shard_copy *c;
    size_t until, n;
    bool is_full;
};

static bool on_key(void *arg, struct str key, struct str value)
{
    struct scanning *s = arg;
    struct shard_copy *c = s->c;

    add(&c->out, PUT, key, value);
    memcpy(c->cursor, key.p, key.len);
    c->cursor_len = key.len;
    c->keys++;
    s->n++;
    s->is_full = c->out.len >= s->until;
    return !s->is_full;
}

enum err shard_copy_scan(struct shard_copy *c, size_t max_bytes, struct lsm_need *need)
{
    struct scanning s = {.c = c, .until = c->out.len + max_bytes};
    struct rest r;
    enum err err;

    if (c->is_through)
        return ERR_OK;
    rest_of(&r, c->shard, c->cursor, c->cursor_len);
    err = lsm_scan(c->from, str_of(r.from, r.from_len), str_of(r.to, r.to_len), SCAN_KEYS, need, on_key, &s);
    if (err == ERR_OK)
        c->is_through = s.n < SCAN_KEYS && !s.is_full;
    return err;
}

enum err shard_copy_apply(struct lsm *to, struct str bytes, size_t *at)
{
    while (*at < bytes.len) {
        struct dec d = dec_of(str_of(bytes.p + *at, bytes.len - *at));
        uint8_t what = dec_get_u8(&d);
        struct str key = dec_get_field(&d), value = dec_get_field(&d);
        enum err err;

        if (!dec_ok(&d) || (what != PUT && what != DELETE))
            return ERR_CORRUPT;
        err = what == PUT ? lsm_put(to, key, value) : lsm_delete(to, key);
        if (err != ERR_OK)
            return err;
        *at = (size_t)((const char *)d.p - bytes.p);
    }
    return ERR_OK;
}

struct cleaning {
    struct lsm *l;
    struct shard_clean *c;
    size_t n;
    enum err err;
};

static bool on_left(void *arg, struct str key, struct str value)
{
    struct cleaning *w = arg;

    (void)value;
    w->err = lsm_delete(w->l, key);
    if (w->err != ERR_OK)
        return false;
    memcpy(w->c->cursor, key.p, key.len);
    w->c->cursor_len = key.len;
    w->c->keys++;
    w->n++;
    return true;
}

enum err shard_clean_some(struct lsm *l, struct shard_clean *c, struct lsm_need *need)
{
    struct cleaning w = {l, c, 0, ERR_OK};
    struct rest r;
    enum err err;

    rest_of(&r, c->shard, c->cursor, c->cursor_len);
    err = lsm_scan(l, str_of(r.from, r.from_len), str_of(r.to, r.to_len), CLEAN_KEYS, need, on_left, &w);
    if (err != ERR_OK || w.err != ERR_OK)
        return err != ERR_OK ? err : w.err;
    c->is_done = w.n < CLEAN_KEYS;
    return ERR_OK;
}
