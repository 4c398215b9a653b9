#include "storage/convlog_expiry.h"

enum { SPACE = 'x', AT = 2, CONV = AT + 8, SEQ = CONV + 16 };
_Static_assert(SEQ + 8 == EXPIRY_KEY, "the key's parts");

void expiry_key(uint16_t shard, const struct expiring *x, char out[EXPIRY_KEY])
{
    out[0] = (char)shard;
    out[1] = SPACE;
    enc_be64(out + AT, (uint64_t)x->at);
    memcpy(out + CONV, x->conv.b, sizeof x->conv.b);
    enc_be64(out + SEQ, x->seq);
}

bool expiry_key_parse(struct str key, struct expiring *out)
{
    if (key.len != EXPIRY_KEY || key.p[1] != SPACE)
        return false;
    out->at = (int64_t)dec_be64(key.p + AT);
    memcpy(out->conv.b, key.p + CONV, sizeof out->conv.b);
    out->seq = dec_be64(key.p + SEQ);
    return true;
}

struct finding {
    struct expiring *v;
    size_t n, max;
    int64_t until, next;
    enum err err;
};

static bool on_key(void *arg, struct str key, struct str value)
{
    struct finding *f = arg;
    struct expiring x;

    (void)value;
    if (!expiry_key_parse(key, &x)) {
        f->err = ERR_CORRUPT;
        return false;
    }
    if (f->n == f->max || x.at > f->until) {
        f->next = x.at;
        return false;
    }
    f->v[f->n++] = x;
    return true;
}

enum err convlog_expiring(struct lsm *l, uint16_t shard, int64_t from, int64_t until, size_t max, struct lsm_need *need,
                          struct expiring *out, size_t *n, int64_t *next)
{
    struct finding f = {.v = out, .max = max, .until = until, .next = EXPIRY_NEVER};
    char least[EXPIRY_KEY] = {0}, end[2] = {(char)shard, SPACE + 1};
    enum err err;

    expiry_key(shard, &(struct expiring){.at = from}, least);
    TRY(lsm_scan(l, str_of(least, sizeof least), str_of(end, sizeof end), max + 1, need, on_key, &f));
    TRY(f.err);
    *n = f.n;
    *next = f.next;
out:
    return err;
}

enum err convlog_expiry_put(struct lsm *l, uint16_t shard, const struct entry *e)
{
    char key[EXPIRY_KEY];

    expiry_key(shard, &(struct expiring){e->expires_at, e->conv, e->seq}, key);
    return lsm_put(l, str_of(key, sizeof key), STR(""));
}

enum err convlog_expiry_delete(struct lsm *l, uint16_t shard, const struct expiring *x)
{
    char key[EXPIRY_KEY];

    expiry_key(shard, x, key);
    return lsm_delete(l, str_of(key, sizeof key));
}
