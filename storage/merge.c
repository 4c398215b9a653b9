/* A binary heap. Stepping replaces the top in place and lets it sink, instead of a removal and an insertion. An input
 * that ended with an error ends the whole walk: going on without it would show what it hides. */
#include "storage/merge.h"

struct merge_item {
    struct iter *it;
    size_t age; /* 0 is the newest */
};

static bool is_before(const struct merge_item *a, const struct merge_item *b)
{
    int c = str_cmp(a->it->key, b->it->key);
    return c < 0 || (c == 0 && a->age < b->age);
}

static void sink(struct merge *m, size_t i)
{
    struct merge_item moving = m->heap[i];
    for (size_t child; (child = 2 * i + 1) < m->n; i = child) {
        if (child + 1 < m->n && is_before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!is_before(&m->heap[child], &moving))
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = moving;
}

/* The top's walk has moved: puts it where it belongs, or out. False when it ended with an error. */
static bool settle_top(struct merge *m)
{
    struct iter *top = m->heap[0].it;
    if (!top->is_valid) {
        if (top->err != ERR_OK) {
            iter_end(&m->it, top->err);
            return false;
        }
        m->heap[0] = m->heap[--m->n];
    }
    if (m->n > 1)
        sink(m, 0);
    return true;
}

static void stand(struct merge *m)
{
    m->it.is_valid = m->n > 0;
    if (m->n == 0)
        return;
    const struct iter *top = m->heap[0].it;
    m->it.key = top->key;
    m->it.value = top->value;
    m->it.is_tombstone = top->is_tombstone;
}

static void step(struct iter *it)
{
    struct merge *m = container_of(it, struct merge, it);
    size_t len = m->it.key.len; /* the walk's key changes as soon as it moves */
    memcpy(m->last_bytes, m->it.key.p, len);
    m->last = str_of(m->last_bytes, len);
    do {
        struct iter *top = m->heap[0].it;
        top->next(top);
        if (!settle_top(m))
            return;
    } while (m->n > 0 && str_eq(m->heap[0].it->key, m->last));
    stand(m);
}

void merge_init(struct merge *m, struct iter *const inputs[], size_t n)
{
    *m = (struct merge){.it.next = step, .heap = mem_new_array(struct merge_item, n)};
    for (size_t i = 0; i < n; i++) {
        if (inputs[i]->is_valid)
            m->heap[m->n++] = (struct merge_item){inputs[i], i};
        else if (m->it.err == ERR_OK || m->it.err == ERR_AGAIN) /* damage is told before what may be waited for */
            m->it.err = inputs[i]->err != ERR_OK ? inputs[i]->err : m->it.err;
    }
    if (m->it.err != ERR_OK)
        return;
    for (size_t i = m->n / 2; i-- > 0;)
        sink(m, i);
    stand(m);
}

void merge_deinit(struct merge *m) { mem_free(m->heap); }
