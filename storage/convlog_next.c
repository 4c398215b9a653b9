/* Walking over the conversations of a shard: from each key to the first behind all that the conversation may have, so
 * what it costs is a seek for each, however much it has. */
#include "storage/convlog_codec.h"

enum { BEHIND = 255 /* all that a conversation has */, SWEPT_VERSION = 1 };

struct seeking {
    struct arena arena;
    struct convlog_state state;
    bool is_there, has_state;
    enum err err;
};

static void take_state(struct seeking *s, struct str value)
{
    struct authority a = {.id = s->state.id};

    s->err = state_decode(value, &s->arena, &a);
    s->has_state = s->err == ERR_OK;
    s->state = (struct convlog_state){a.id, a.head, a.first_seq, a.retention_ms};
}

static bool on_key(void *arg, struct str key, struct str value)
{
    struct seeking *s = arg;
    enum what what;
    uint64_t number;

    memcpy(s->state.id.b, key.p + 2, sizeof s->state.id.b);
    s->is_there = true;
    if (key_parse(key, &what, &number) && what == WHAT_STATE)
        take_state(s, value);
    return false;
}

/* One with a retention of its own has a state, beside the key that says so. */
static enum err read_state(struct lsm *l, uint16_t shard, struct lsm_need *need, struct seeking *s)
{
    struct key key = key_of(shard, &s->state.id, WHAT_STATE);
    struct buf value = {0};
    enum err err;

    err = lsm_get(l, key_str(&key), need, &value);
    if (err == ERR_OK)
        take_state(s, buf_get(&value));
    buf_deinit(&value);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

static struct key first_key(uint16_t shard, const struct conv_id *after, bool own)
{
    struct conv_id none = {{0}};
    struct key k =
        own ? key_of_retention(shard, after ? after : &none) : key_of(shard, after ? after : &none, (enum what)BEHIND);

    if (!after)
        k.len = 2;
    else if (own)
        k.b[k.len++] = 0;
    return k;
}

enum err convlog_next(struct lsm *l, uint16_t shard, const struct conv_id *after, bool own, struct lsm_need *need,
                      struct convlog_state *out)
{
    struct key from = first_key(shard, after, own), to = from;
    struct seeking s = {.err = ERR_OK};
    enum err err;

    to.len = 2;
    to.b[1]++;
    TRY(lsm_scan(l, key_str(&from), key_str(&to), 1, need, on_key, &s));
    TRY(s.is_there ? ERR_OK : ERR_NOT_FOUND);
    if (own)
        TRY(read_state(l, shard, need, &s));
    *out = s.has_state ? s.state : (struct convlog_state){.id = s.state.id}; /* damage is others' to say */
out:
    arena_deinit(&s.arena);
    return err;
}

enum err convlog_swept(struct lsm *l, uint16_t shard, struct lsm_need *need, int64_t *ms)
{
    struct key key = key_of_swept(shard);
    struct buf value = {0};
    struct dec d;
    enum err err = lsm_get(l, key_str(&key), need, &value);

    if (err == ERR_OK) {
        d = dec_of(buf_get(&value));
        *ms = dec_get_u8(&d) == SWEPT_VERSION ? (int64_t)dec_get_u64(&d) : 0;
    } else if (err == ERR_NOT_FOUND) {
        *ms = 0;
        err = ERR_OK;
    }
    buf_deinit(&value);
    return err;
}

enum err convlog_put_swept(struct lsm *l, uint16_t shard, int64_t ms)
{
    struct key key = key_of_swept(shard);
    struct buf value = {0};
    enum err err;

    enc_add_u8(&value, SWEPT_VERSION);
    enc_add_u64(&value, (uint64_t)ms);
    err = lsm_put(l, key_str(&key), buf_get(&value));
    buf_deinit(&value);
    return err;
}
