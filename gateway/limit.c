#include "gateway/limit.h"

struct bucket {
    struct link link;
    uint64_t key, full_at_us;
};

static bool is_key(const void *value, const void *key)
{
    return ((const struct bucket *)value)->key == *(const uint64_t *)key;
}

void limiter_init(struct limiter *l, size_t max)
{
    *l = (struct limiter){.max = max};
    list_init(&l->used);
}

void limiter_deinit(struct limiter *l)
{
    if (!l->max)
        return;
    list_each (&l->used, b, struct bucket, link)
        mem_free(b);
    map_deinit(&l->buckets);
}

/* A new bucket, or the oldest one emptied of its past. */
static struct bucket *take_bucket(struct limiter *l)
{
    struct bucket *b;

    if (l->buckets.count < l->max)
        return mem_new(struct bucket);
    b = list_first(&l->used, struct bucket, link);
    map_take(&l->buckets, b->key, is_key, &b->key);
    list_remove(&b->link);
    *b = (struct bucket){0};
    return b;
}

static struct bucket *touch(struct limiter *l, uint64_t key)
{
    struct bucket *b = map_get(&l->buckets, key, is_key, &key);

    if (b) {
        list_remove(&b->link);
    } else {
        b = take_bucket(l);
        b->key = key;
        map_add(&l->buckets, key, b);
    }
    list_push(&l->used, &b->link);
    return b;
}

int64_t limiter_take(struct limiter *l, uint64_t key, struct limit_rate rate, uint64_t n, uint64_t now_us)
{
    struct bucket *b = touch(l, key);
    uint64_t one = 60000000u / rate.per_minute, window = one * rate.burst, cost = n < rate.burst ? n * one : window;
    uint64_t from = b->full_at_us > now_us ? b->full_at_us : now_us;

    if (from + cost > now_us + window)
        return (int64_t)((from + cost - now_us - window + 999) / 1000);
    b->full_at_us = from + cost;
    return 0;
}
