#include "storage/convlog_verify_expiry.h"
#include "base/hash.h"
#include "storage/convlog_expiry.h"
#include <stdlib.h>

static void add(struct expiry_hashes *h, struct str key)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->v = mem_realloc(h->v, h->cap * sizeof h->v[0]);
    }
    h->v[h->n++] = hash_sum(key.p, key.len, 0);
}

void expiry_check_entry(struct expiry_check *c, uint16_t shard, const struct entry *e)
{
    char key[EXPIRY_KEY];

    if (!e->expires_at || e->gone)
        return;
    expiry_key(shard, &(struct expiring){e->expires_at, e->conv, e->seq}, key);
    add(&c->wanted, str_of(key, sizeof key));
}

void expiry_check_key(struct expiry_check *c, struct str key) { add(&c->there, key); }

static int ascending(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return (a > b) - (a < b);
}

static void sort(struct expiry_hashes *h)
{
    if (h->n)
        qsort(h->v, h->n, sizeof h->v[0], ascending);
}

uint64_t expiry_check_end(struct expiry_check *c)
{
    uint64_t missing = 0;
    size_t at = 0;

    sort(&c->wanted);
    sort(&c->there);
    for (size_t i = 0; i < c->wanted.n; i++) {
        while (at < c->there.n && c->there.v[at] < c->wanted.v[i])
            at++;
        missing += at == c->there.n || c->there.v[at] != c->wanted.v[i];
    }
    c->wanted.n = c->there.n = 0;
    return missing;
}

void expiry_check_deinit(struct expiry_check *c)
{
    mem_free(c->wanted.v);
    mem_free(c->there.v);
    *c = (struct expiry_check){0};
}
