#include "cmd/parley_load_room.h"
#include "base/hash.h"

/* Farther ahead than this a seq is taken for nonsense, so that nonsense costs no memory. */
enum { AHEAD_MAX = 1 << 20, NOTES_MIN = 16 };

struct note {
    uint64_t start_us;
    uint32_t sender, counter;
    uint32_t seen; /* by how many members; 0: nothing is known yet */
};

uint64_t faults_sum(const struct faults *f)
{
    return f->missing + f->repeats + f->disorder + f->wrong + f->strays + f->resyncs + f->refused + f->unacked +
           f->lost + f->garbled + f->workers;
}

void room_deinit(struct room *r)
{
    mem_free(r->notes);
    *r = (struct room){0};
}

void view_deinit(struct view *v)
{
    mem_free(v->ahead);
    *v = (struct view){0};
}

bool room_name(struct room *r, struct str conv)
{
    if (r->conv_len)
        return str_eq(conv, str_of(r->conv, r->conv_len));
    if (conv.len == 0 || conv.len > ROOM_CONV_MAX)
        return false;
    memcpy(r->conv, conv.p, conv.len);
    r->conv_len = conv.len;
    return true;
}

bool room_begin(struct room *r, struct view *v, struct str conv, uint64_t seq)
{
    if (v->begun || seq == 0 || (r->first && r->first != seq + 1) || !room_name(r, conv))
        return false;
    if (r->first == 0)
        r->first = r->base = r->top = seq + 1;
    v->begun = true;
    v->next = seq + 1;
    v->last_event = v->last_own = seq;
    r->begun++;
    return true;
}

/* The view's bitmap. */

static bool bit_get(const struct view *v, uint64_t seq)
{
    return v->words && (v->ahead[seq / 64 & (v->words - 1)] >> (seq & 63) & 1);
}
static void bit_flip(struct view *v, uint64_t seq) { v->ahead[seq / 64 & (v->words - 1)] ^= (uint64_t)1 << (seq & 63); }

/* Room for the bits of [next, seq]; one word more than they fill, as the first and the last may be partial. */
static void view_grow(struct view *v, uint64_t seq)
{
    struct view wide = *v;

    if (v->words && (seq - v->next) / 64 + 2 <= v->words)
        return;
    wide.words = v->words ? v->words : 2;
    while (wide.words < (seq - v->next) / 64 + 2)
        wide.words *= 2;
    wide.ahead = mem_new_array(uint64_t, wide.words);
    for (uint64_t s = v->next; s < v->next + v->words * 64; s++) {
        if (bit_get(v, s))
            bit_flip(&wide, s);
    }
    mem_free(v->ahead);
    *v = wide;
}

/* Marks the seq as seen; false when it was, or lies absurdly far ahead. */
static bool view_mark(struct view *v, uint64_t seq, struct faults *f)
{
    if (seq < v->next || (seq > v->next && seq - v->next < v->words * 64 && bit_get(v, seq))) {
        f->repeats++;
        return false;
    }
    if (seq - v->next > AHEAD_MAX) {
        f->missing++;
        return false;
    }
    if (seq > v->next) {
        view_grow(v, seq);
        bit_flip(v, seq);
        return true;
    }
    for (v->next++; bit_get(v, v->next); v->next++)
        bit_flip(v, v->next);
    return true;
}

/* The room's notes. */

static struct note *note_at(const struct room *r, uint64_t seq) { return &r->notes[seq & (r->cap - 1)]; }

static void room_grow(struct room *r, uint64_t seq)
{
    struct room wide = *r;

    if (seq - r->base < r->cap)
        return;
    wide.cap = r->cap ? r->cap : NOTES_MIN;
    while (wide.cap <= seq - r->base)
        wide.cap *= 2;
    wide.notes = mem_new_array(struct note, wide.cap);
    for (uint64_t s = r->base; s < r->top; s++)
        *note_at(&wide, s) = *note_at(r, s);
    mem_free(r->notes);
    *r = wide;
}

/* Room for the notes up to below `top`; what nobody has told of is there and empty. */
static void room_reach(struct room *r, uint64_t top)
{
    if (top > r->top)
        room_grow(r, top - 1);
    for (; r->top < top; r->top++)
        *note_at(r, r->top) = (struct note){0};
}

static uint64_t digest_of(const struct sighting *s)
{
    return hash_u64(s->seq + hash_u64(((uint64_t)s->sender << 32 | s->counter) + hash_u64(s->start_us)));
}

/* False when this account of the entry differs from an earlier one. A seq below base was seen by every member, so no
 * sound view can come here with it. */
static bool note_take(struct room *r, const struct sighting *s)
{
    struct note *n;
    bool agrees;

    if (s->seq < r->base)
        return false;
    room_reach(r, s->seq + 1);
    n = note_at(r, s->seq);
    agrees = n->seen == 0 || (n->sender == s->sender && n->counter == s->counter && n->start_us == s->start_us);
    if (n->seen == 0) {
        *n = (struct note){s->start_us, s->sender, s->counter, 0};
        r->digest += digest_of(s);
    }
    n->seen++;
    while (r->base < r->top && note_at(r, r->base)->seen >= r->members)
        r->base++;
    return agrees;
}

static bool room_sight(struct room *r, struct view *v, const struct sighting *s, struct faults *f)
{
    if (!view_mark(v, s->seq, f))
        return false;
    if (!note_take(r, s)) {
        f->wrong++;
        return false;
    }
    return true;
}

bool view_has(const struct view *v, uint64_t seq)
{
    return seq < v->next || (seq > v->next && seq - v->next < v->words * 64 && bit_get(v, seq));
}

bool room_catch(struct room *r, struct view *v, const struct sighting *s, struct faults *f)
{
    return room_sight(r, v, s, f);
}

bool room_event(struct room *r, struct view *v, const struct sighting *s, struct faults *f)
{
    /* A repeat of the last one is a repeat, not disorder. */
    if (s->seq < v->last_event)
        f->disorder++;
    else
        v->last_event = s->seq;
    if (s->seq <= v->synced && view_has(v, s->seq))
        return false; /* committed while the device synced: it may come both ways */
    return room_sight(r, v, s, f);
}

bool room_ack(struct room *r, struct view *v, const struct sighting *s, struct faults *f)
{
    if (s->seq <= v->last_own)
        f->disorder++;
    else
        v->last_own = s->seq;
    return room_sight(r, v, s, f);
}

bool room_all_have(const struct room *r, uint64_t seq)
{
    return seq < r->base || (seq < r->top && note_at(r, seq)->seen >= r->members);
}

bool room_expect(struct room *r, uint64_t top)
{
    if (r->first == 0 || (top > r->base && top - r->base > AHEAD_MAX))
        return false;
    room_reach(r, top);
    return true;
}

void room_audit(const struct room *r, const struct view *v, struct faults *f)
{
    for (uint64_t s = v->next; v->begun && s < r->top; s++) {
        bool is_seen = s - v->next < v->words * 64 && s > v->next && bit_get(v, s);
        f->missing += !is_seen;
    }
}
