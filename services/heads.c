/* One block of memory a conversation: the numbers, then its members as they are in the authority, one after the other:
 *
 *   user 8    devices * 2 + is_in (varint)    [last seq seen, of who left (varint)]    each device: id 8, cursor
 * (varint)
 *
 * They are searched from the start: that is a few microseconds for a thousand, against a read from the disk. */
#include "services/heads.h"
#include "base/enc.h"
#include "base/list.h"
#include "base/map.h"

enum { SLOTS_BYTES = 32 /* in the map */, ALLOCATED = 16 /* the allocator's own */ };

struct head {
    struct link used;
    struct conv_id id;
    uint64_t hash, seq, first_seq;
    int64_t last_ts;
    uint32_t bytes; /* of members */
    uint16_t shard;
    uint8_t members[];
};

struct heads {
    struct map map;     /* struct head */
    struct link recent; /* the latest used first */
    uint64_t bytes, bytes_max;
    struct buf scratch;
};

void heads_create(uint64_t bytes_max, struct heads **out)
{
    struct heads *h = mem_new(struct heads);

    list_init(&h->recent);
    h->bytes_max = bytes_max;
    *out = h;
}

void heads_destroy(struct heads *h)
{
    if (!h)
        return;
    list_each (&h->recent, e, struct head, used)
        mem_free(e);
    map_deinit(&h->map);
    buf_deinit(&h->scratch);
    mem_free(h);
}

/* From an authority. */
static uint64_t cursor_of(const struct member *m, device_id device)
{
    for (size_t i = 0; i < m->n_devices; i++)
        if (m->devices[i].device == device)
            return m->devices[i].delivered;
    return 0;
}

void glance_at(const struct authority *a, user_id user, device_id device, struct glance *out)
{
    const struct member *m = a->head ? authority_member(a, user) : NULL;

    *out = (struct glance){0};
    if (!m)
        return;
    *out = (struct glance){
        .is_member = true,
        .is_in = m->is_in,
        .last = member_last_visible(m, a->head),
        .first_seq = a->first_seq,
        .delivered = cursor_of(m, device),
        .last_ts = a->last_ts,
    };
}

/* Keeping. */
static size_t weight(const struct head *e) { return sizeof *e + e->bytes + SLOTS_BYTES + ALLOCATED; }

static bool head_is(const void *value, const void *key) { return conv_eq(&((const struct head *)value)->id, key); }

static void discard(struct heads *h, struct head *e)
{
    map_take(&h->map, e->hash, head_is, &e->id);
    list_remove(&e->used);
    h->bytes -= weight(e);
    mem_free(e);
}

static void encode_member(const struct member *m, uint64_t head, struct buf *out)
{
    enc_add_u64(out, m->user);
    enc_add_varint(out, m->n_devices << 1 | m->is_in);
    if (!m->is_in)
        enc_add_varint(out, member_last_visible(m, head));
    for (size_t i = 0; i < m->n_devices; i++) {
        enc_add_u64(out, m->devices[i].device);
        enc_add_varint(out, m->devices[i].delivered);
    }
}

void heads_put(struct heads *h, uint64_t hash, uint16_t shard, const struct authority *a)
{
    struct buf *b = &h->scratch;
    struct head *e;

    buf_clear(b);
    for (size_t i = 0; i < a->n_members; i++)
        encode_member(&a->members[i], a->head, b);
    if (sizeof *e + b->len + SLOTS_BYTES + ALLOCATED > h->bytes_max)
        return;
    e = mem_alloc(sizeof *e + b->len);
    e->id = a->id;
    e->hash = hash;
    e->shard = shard;
    e->seq = a->head;
    e->first_seq = a->first_seq;
    e->last_ts = a->last_ts;
    e->bytes = (uint32_t)b->len;
    memcpy(e->members, b->p, b->len);
    map_add(&h->map, hash, e);
    list_push_front(&h->recent, &e->used);
    h->bytes += weight(e);
    while (h->bytes > h->bytes_max)
        discard(h, list_last(&h->recent, struct head, used));
}

void heads_drop(struct heads *h, uint64_t hash, const struct conv_id *id)
{
    struct head *e = map_get(&h->map, hash, head_is, id);

    if (e)
        discard(h, e);
}

void heads_drop_shard(struct heads *h, uint16_t shard)
{
    list_each (&h->recent, e, struct head, used)
        if (e->shard == shard)
            discard(h, e);
}

/* Looking. */
struct seen {
    uint64_t user, delivered, last;
    bool is_in;
};

static void next_member(struct dec *d, uint64_t head, device_id device, struct seen *out)
{
    uint64_t n;

    out->user = dec_get_u64(d);
    n = dec_get_varint(d);
    out->is_in = n & 1;
    out->last = out->is_in ? head : dec_get_varint(d);
    out->delivered = 0;
    for (n >>= 1; n > 0; n--) {
        uint64_t id = dec_get_u64(d), delivered = dec_get_varint(d);

        if (id == device)
            out->delivered = delivered;
    }
}

bool heads_has(const struct heads *h, uint64_t hash, const struct conv_id *id)
{
    return map_get(&h->map, hash, head_is, id) != NULL;
}

bool heads_glance(struct heads *h, uint64_t hash, const struct conv_id *id, user_id user, device_id device,
                  struct glance *out)
{
    struct head *e = map_get(&h->map, hash, head_is, id);
    struct seen m;
    struct dec d;

    if (!e)
        return false;
    list_remove(&e->used);
    list_push_front(&h->recent, &e->used);
    *out = (struct glance){0};
    for (d = dec_of(str_of((const char *)e->members, e->bytes)); !dec_done(&d);) {
        next_member(&d, e->seq, device, &m);
        if (m.user != user)
            continue;
        *out = (struct glance){true, m.is_in, m.last, e->first_seq, m.delivered, e->last_ts};
        break;
    }
    return true;
}

uint64_t heads_bytes(const struct heads *h) { return h->bytes; }
size_t heads_count(const struct heads *h) { return h->map.count; }
