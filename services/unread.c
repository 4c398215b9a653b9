#include "services/unread.h"

/* The ordinal of the entry `seq`: how many messages there are up to it. Where everything so far is a message, as in any
 * chat of two, it is known without reading. */
static enum err ordinal_at(const struct reactor *r, const struct conv *c, uint64_t seq, struct lsm_need *need,
                           uint64_t *out)
{
    const struct authority *a = conv_committed(c);
    struct arena arena = {0};
    struct entry e;
    enum err err;

    if (seq + 1 == a->first_seq) { /* what is below is no more */
        *out = a->first_ordinal;
        return ERR_OK;
    }
    if (seq == 0 || a->ordinal == a->head || seq >= a->head) {
        *out = seq >= a->head ? a->ordinal : seq;
        return ERR_OK;
    }
    err = convlog_entry(conv_store(r, c), conv_shard(c), conv_id(c), seq, need, &arena, &e);
    if (err == ERR_OK)
        *out = e.ordinal;
    arena_deinit(&arena);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* seqs have no gaps */
}

enum err unread_count(const struct reactor *r, const struct conv *c, const struct member *m, struct lsm_need *need,
                      uint64_t *out)
{
    uint64_t head = conv_committed(c)->head, first = conv_committed(c)->first_seq, n = 0;

    for (size_t i = 0; i < m->n_ranges; i++) {
        uint64_t to = m->ranges[i].to && m->ranges[i].to < head ? m->ranges[i].to : head;
        uint64_t before = m->ranges[i].from > m->read + 1 ? m->ranges[i].from - 1 : m->read;
        uint64_t upto = 0, already = 0;
        enum err err;

        if (before + 1 < first)
            before = first - 1;
        if (to <= before)
            continue;
        err = ordinal_at(r, c, to, need, &upto);
        if (err == ERR_OK)
            err = ordinal_at(r, c, before, need, &already);
        if (err != ERR_OK)
            return err;
        n += upto - already;
    }
    *out = n;
    return ERR_OK;
}
