/* The circle is a sorted array of points; a look-up is a binary search and, for successors, a walk from there. Points
 * are made from names alone, and two at the same place are ordered by name, so the order of the nodes given does not
 * matter. */
#include "storage/ring.h"
#include "base/buf.h"
#include "base/enc.h"
#include <stdlib.h>

struct point {
    uint64_t at;
    unsigned node;
};
struct ring {
    struct hash_key key;
    struct point *points;
    size_t n_points, n_nodes;
};
struct named_point { /* while the ring is made: sorting asks for the name */
    struct point point;
    struct str name;
};

static int by_place(const void *x, const void *y)
{
    const struct named_point *a = x, *b = y;

    if (a->point.at != b->point.at)
        return a->point.at < b->point.at ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static bool is_acceptable(const struct ring_node *nodes, size_t n)
{
    uint64_t weights = 0;

    for (size_t i = 0; i < n; i++) {
        weights += nodes[i].weight;
        if (nodes[i].name.len == 0 || nodes[i].weight == 0 || weights > RING_WEIGHT_MAX)
            return false;
        for (size_t k = 0; k < i; k++) {
            if (str_eq(nodes[i].name, nodes[k].name))
                return false;
        }
    }
    return n > 0;
}

/* Hashed: the name, then virtual node and hash as 4 bytes each, little endian. */
static struct named_point *add_points(struct named_point *p, const struct hash_key *key, const struct ring_node *node,
                                      unsigned index)
{
    struct buf text = {0};

    buf_str(&text, node->name);
    for (uint32_t v = 0; v < node->weight * RING_VNODES; v++) {
        for (uint32_t h = 0; h < RING_HASHES; h++) {
            text.len = node->name.len;
            enc_add_u32(&text, v);
            enc_add_u32(&text, h);
            *p++ = (struct named_point){{hash_keyed64(key, text.p, text.len), index}, node->name};
        }
    }
    buf_deinit(&text);
    return p;
}

enum err ring_create(const struct hash_key *key, const struct ring_node *nodes, size_t n, struct ring **out)
{
    struct named_point *named, *end;
    struct ring *r;
    size_t n_points = 0;

    if (!is_acceptable(nodes, n))
        return ERR_INVALID;
    for (size_t i = 0; i < n; i++)
        n_points += (size_t)nodes[i].weight * RING_VNODES * RING_HASHES;
    named = mem_new_array(struct named_point, n_points);
    end = named;
    for (size_t i = 0; i < n; i++)
        end = add_points(end, key, &nodes[i], (unsigned)i);
    qsort(named, n_points, sizeof *named, by_place);

    r = mem_new(struct ring);
    *r = (struct ring){*key, mem_new_array(struct point, n_points), n_points, n};
    for (size_t i = 0; i < n_points; i++)
        r->points[i] = named[i].point;
    mem_free(named);
    *out = r;
    return ERR_OK;
}

void ring_destroy(struct ring *r)
{
    if (!r)
        return;
    mem_free(r->points);
    mem_free(r);
}

size_t ring_size(const struct ring *r) { return r->n_nodes; }

/* The first point at or after `at`; behind the last comes the first. */
static size_t find_point(const struct ring *r, uint64_t at)
{
    size_t low = 0, high = r->n_points;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->points[mid].at < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low < r->n_points ? low : 0;
}

static bool is_among(const unsigned *v, size_t n, unsigned node)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] == node)
            return true;
    }
    return false;
}

size_t ring_owners(const struct ring *r, struct str key, unsigned out[], size_t max)
{
    size_t at = find_point(r, hash_keyed64(&r->key, key.p, key.len)), n = 0;

    if (max > r->n_nodes)
        max = r->n_nodes;
    for (; n < max; at = at + 1 < r->n_points ? at + 1 : 0) {
        if (!is_among(out, n, r->points[at].node))
            out[n++] = r->points[at].node;
    }
    return n;
}
