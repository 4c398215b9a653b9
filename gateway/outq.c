#include "gateway/outq.h"
#include <assert.h>

enum { ITEM_COST = 64 }; /* of the queue and the allocator */

enum { CAP_MIN = 8, KIND_REPLY = 0, KIND_ENTRY, KIND_EPHEMERAL };

static uint32_t room(const struct outq *q) { return q->cap ? q->cap : OUTQ_FEW; }

static struct out_item *at(struct outq *q, uint32_t i)
{
    struct out_item *ring = q->cap ? q->ring : q->few;

    return &ring[(q->head + i) & (room(q) - 1)];
}

static const char *bytes_of(const struct out_item *it) { return it->is_shared ? it->shared->bytes : it->own; }

static void release(struct out_item *it)
{
    if (it->is_shared)
        frame_unref(it->shared);
    else
        mem_free(it->own);
}

static void grow(struct outq *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : CAP_MIN;
    struct out_item *ring = mem_realloc(NULL, cap * sizeof *ring);

    for (uint32_t i = 0; i < q->n; i++)
        ring[i] = *at(q, i);
    mem_free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
}

static void push(struct outq *q, struct out_item it)
{
    if (q->n == room(q))
        grow(q);
    *at(q, q->n) = it;
    q->n++;
}

static void free_if_empty(struct outq *q)
{
    if (q->n || !q->cap)
        return;
    mem_free(q->ring);
    q->ring = NULL;
    q->cap = q->head = 0;
}

/* The counters, when an item comes (+1) or goes (-1). A reply counts with what it costs beside its bytes, or pongs of
 * two bytes, which a stranger can have, would be half a million before they are too much. */
static void count(struct outq *q, const struct out_item *it, int sign)
{
    size_t bytes = sign > 0 ? it->len : (size_t)0 - it->len;

    switch (it->kind) {
    case KIND_ENTRY:
        q->entries += (uint32_t)sign;
        q->entry_bytes += bytes;
        break;
    case KIND_EPHEMERAL:
        q->ephemerals += (uint32_t)sign;
        break;
    default:
        q->reply_bytes += sign > 0 ? it->len + ITEM_COST : (size_t)0 - it->len - ITEM_COST;
        break;
    }
}

static void add(struct outq *q, struct out_item it)
{
    push(q, it);
    count(q, &it, 1);
}

void outq_deinit(struct outq *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        release(at(q, i));
    mem_free(q->ring);
    *q = (struct outq){0};
}

void outq_reply(struct outq *q, char *bytes, size_t len)
{
    add(q, (struct out_item){.own = bytes, .len = (uint32_t)len, .kind = KIND_REPLY});
}

void outq_notice(struct outq *q, struct frame *f)
{
    add(q, (struct out_item){.shared = frame_ref(f), .len = f->len, .kind = KIND_REPLY, .is_shared = true});
}

enum err outq_entry(struct outq *q, struct frame *f)
{
    if (q->entries >= OUTQ_ENTRIES_MAX || q->entry_bytes + f->len > OUTQ_BYTES_MAX)
        return ERR_LIMIT;
    add(q, (struct out_item){.shared = frame_ref(f), .len = f->len, .kind = KIND_ENTRY, .is_shared = true});
    return ERR_OK;
}

static struct out_item *find_slot(struct outq *q, uint64_t slot)
{
    if (!slot || !q->ephemerals)
        return NULL;
    for (uint32_t i = q->n; i-- > 0;) {
        struct out_item *it = at(q, i);

        if (it->kind == KIND_EPHEMERAL && it->slot == slot)
            return it;
    }
    return NULL;
}

void outq_ephemeral(struct outq *q, struct frame *f, uint64_t slot)
{
    struct out_item *old = find_slot(q, slot);

    if (old) {
        frame_unref(old->shared);
        old->shared = frame_ref(f);
        old->len = f->len;
    } else if (q->ephemerals < OUTQ_EPHEMERALS_MAX) {
        struct frame *mine = frame_ref(f);

        add(q,
            (struct out_item){.shared = mine, .slot = slot, .len = f->len, .kind = KIND_EPHEMERAL, .is_shared = true});
    }
}

void outq_drop_events(struct outq *q)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < q->n; i++) {
        struct out_item it = *at(q, i);

        if (it.kind == KIND_REPLY) {
            *at(q, kept++) = it;
        } else {
            count(q, &it, -1);
            release(&it);
        }
    }
    q->n = kept;
    free_if_empty(q);
}

/* Nothing is to be saved by copying. */
static bool is_alone(struct outq *q, size_t max) { return q->n == 1 || (size_t)at(q, 0)->len + at(q, 1)->len > max; }

bool outq_peek(struct outq *q, char *scratch, size_t max, struct out_batch *out)
{
    const struct out_item *it = at(q, 0);
    uint32_t i = 0;
    size_t len = 0;

    if (q->n == 0)
        return false;
    if (is_alone(q, max)) {
        *out = (struct out_batch){bytes_of(it), it->len, 1};
        return true;
    }
    for (; i < q->n && (it = at(q, i))->len <= max - len; i++) {
        memcpy(scratch + len, bytes_of(it), it->len);
        len += it->len;
    }
    *out = (struct out_batch){scratch, len, i};
    return true;
}

void outq_pop(struct outq *q, unsigned items)
{
    assert(items <= q->n);
    for (; items; items--) {
        struct out_item *it = at(q, 0);

        count(q, it, -1);
        release(it);
        q->head = (q->head + 1) & (room(q) - 1);
        q->n--;
    }
    free_if_empty(q);
}
