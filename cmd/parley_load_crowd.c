#include "cmd/parley_load_crowd.h"
#include "cmd/parley_load_hist.h"
#include <stdlib.h>

size_t crowd_share(size_t group, size_t n, size_t at) { return group / n + (at < group % n); }

size_t crowd_first(size_t group, size_t rooms, size_t n, size_t at)
{
    size_t more = group % n;

    return rooms * (at * (group / n) + (at < more ? at : more));
}

enum err crowd_init(struct crowd *c, struct str ids)
{
    size_t lines = 0;
    struct str id;

    for (size_t i = 0; i < ids.len; i++)
        lines += ids.p[i] == '\n';
    if (c->n == 0 || c->at >= c->n || c->group < c->n || lines == 0 || lines % c->group != 0 || lines > UINT32_MAX)
        return ERR_INVALID;
    c->users = lines;
    c->rooms = lines / c->group;
    c->ids = mem_new_array(struct str, lines);
    for (size_t i = 0; i < lines && str_cut(ids, '\n', &id, &ids); i++)
        c->ids[i] = id;
    return ERR_OK;
}

void crowd_deinit(struct crowd *c)
{
    mem_free(c->ids);
    *c = (struct crowd){0};
}

size_t crowd_room(const struct crowd *c, uint32_t number)
{
    size_t at = c->n;

    if (c->n == 0 || number >= c->users)
        return SIZE_MAX;
    do
        at--;
    while (crowd_first(c->group, c->rooms, c->n, at) > number);
    return (number - crowd_first(c->group, c->rooms, c->n, at)) / crowd_share(c->group, c->n, at);
}

uint32_t crowd_member(const struct crowd *c, size_t room, size_t i)
{
    size_t at = 0, share;

    while (i >= (share = crowd_share(c->group, c->n, at))) {
        i -= share;
        at++;
    }
    return (uint32_t)(crowd_first(c->group, c->rooms, c->n, at) + room * share + i);
}

void tops_encode(const uint64_t *v, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        enc_add_varint(out, v[i]);
}

bool tops_merge(struct str body, uint64_t *v, size_t n)
{
    struct dec d = dec_of(body);

    for (size_t i = 0; i < n; i++) {
        uint64_t top = dec_get_varint(&d);
        v[i] = top > v[i] ? top : v[i];
    }
    return dec_done(&d);
}

static int by_entry(const void *a, const void *b)
{
    const struct reach *x = a, *y = b;

    if (x->room != y->room)
        return x->room < y->room ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void reaches_merge(struct reach *v, size_t n, size_t workers, struct hist *out)
{
    size_t end;

    if (n)
        qsort(v, n, sizeof *v, by_entry);
    for (size_t at = 0; at < n; at = end) {
        uint64_t latest = 0;
        for (end = at; end < n && by_entry(&v[at], &v[end]) == 0; end++)
            latest = v[end].us > latest ? v[end].us : latest;
        if (end - at == workers)
            hist_add(out, latest);
    }
}
