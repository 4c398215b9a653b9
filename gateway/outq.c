#include "gateway/outq.h"
#include "base/spare.h"
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
        spare_free(it->own, it->room);
}

static void grow(struct outq *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : CAP_MIN;
    struct out_item *ring = spare_alloc(cap * sizeof *ring);

    for (uint32_t i = 0; i < q->n; i++)
        ring[i] = *at(q, i);
    spare_free(q->ring, q->cap * sizeof *ring);
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
    spare_free(q->ring, q->cap * sizeof *q->ring);
    q->ring = NULL;
    q->cap = q->head = 0;
}

/* The counters, when an item comes (+1) or goes (-1). A reply counts with the memory that it costs, or pongs of two
 * bytes, which a stranger can have, would be half a million before they are too much. */
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
        q->reply_bytes += sign > 0 ? it->room + ITEM_COST : (size_t)0 - it->room - ITEM_COST;
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
    spare_free(q->ring, q->cap * sizeof *q->ring);
    *q = (struct outq){0};
}

/* The last item, if that is replies of ours. */
static struct out_item *last_replies(struct outq *q)
{
    struct out_item *it = q->n ? at(q, q->n - 1) : NULL;

    return it && it->kind == KIND_REPLY && !it->is_shared ? it : NULL;
}

/* One that follows another is a sign of more: a block has room for as many again as the one before. */
static struct out_item *add_replies(struct outq *q, const struct out_item *before, size_t len)
{
    size_t again = before ? before->room * 2 : 0, want = again < SPARE_MAX ? again : SPARE_MAX;
    size_t room = spare_room(len > want ? len : want);

    add(q, (struct out_item){.own = spare_alloc(room), .room = room, .kind = KIND_REPLY});
    return at(q, q->n - 1);
}

char *outq_reply(struct outq *q, size_t len)
{
    struct out_item *it = last_replies(q);

    if (!it || it->room - it->len < len)
        it = add_replies(q, it, len);
    it->len += (uint32_t)len;
    it->frames++;
    return it->own + it->len - len;
}

static struct out_item item_of(struct frame *f, uint8_t kind)
{
    return (struct out_item){.shared = frame_ref(f), .len = f->len, .kind = kind, .is_shared = true, .frames = 1};
}

void outq_notice(struct outq *q, struct frame *f)
{
    struct out_item it = item_of(f, KIND_REPLY);

    it.room = f->len;
    add(q, it);
}

enum err outq_entry(struct outq *q, struct frame *f)
{
    if (q->entries >= OUTQ_ENTRIES_MAX || q->entry_bytes + f->len > OUTQ_BYTES_MAX)
        return ERR_LIMIT;
    add(q, item_of(f, KIND_ENTRY));
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
        struct out_item it = item_of(f, KIND_EPHEMERAL);

        it.slot = slot;
        add(q, it);
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
    unsigned frames = 0;
    size_t len = 0;

    if (q->n == 0)
        return false;
    if (is_alone(q, max)) {
        *out = (struct out_batch){bytes_of(it), it->len, it->frames};
        return true;
    }
    for (uint32_t i = 0; i < q->n && (it = at(q, i))->len <= max - len; i++) {
        memcpy(scratch + len, bytes_of(it), it->len);
        len += it->len;
        frames += it->frames;
    }
    *out = (struct out_batch){scratch, len, frames};
    return true;
}

void outq_pop(struct outq *q, unsigned frames)
{
    while (frames) {
        struct out_item *it = at(q, 0);

        assert(q->n && it->frames <= frames);
        frames -= it->frames;
        count(q, it, -1);
        release(it);
        q->head = (q->head + 1) & (room(q) - 1);
        q->n--;
    }
    free_if_empty(q);
}
