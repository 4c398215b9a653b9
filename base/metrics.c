#include "base/metrics.h"
#include <pthread.h>
#include <stdlib.h>

enum { CACHE_LINE = 64 };

struct metrics {
    const struct metric_desc *descs;
    size_t n;
    pthread_mutex_t lock; /* guards the list of sets, not their numbers */
    struct metric_set *sets;
};

void metrics_create(const struct metric_desc *descs, size_t n, struct metrics **out)
{
    struct metrics *m = mem_new(struct metrics);
    m->descs = descs;
    m->n = n;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
}

void metrics_destroy(struct metrics *m)
{
    if (!m)
        return;
    for (struct metric_set *s = m->sets, *next; s; s = next) {
        next = s->next;
        mem_free(s);
    }
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

struct metric_set *metrics_set(struct metrics *m)
{
    size_t bytes = sizeof(struct metric_set) + m->n * sizeof(int64_t);
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct metric_set *s = aligned_alloc(CACHE_LINE, bytes); /* lines of its own: mem_alloc does not promise that */
    if (!s)
        abort();
    memset(s, 0, bytes);
    s->n = m->n;
    pthread_mutex_lock(&m->lock);
    s->next = m->sets;
    m->sets = s;
    pthread_mutex_unlock(&m->lock);
    return s;
}

static int64_t of_all(const struct metrics *m, size_t i)
{
    bool is_max = m->descs[i].kind == METRIC_GAUGE_MAX;
    int64_t all = 0;

    for (struct metric_set *s = m->sets; s; s = s->next) {
        int64_t v = atomic_load_explicit(&s->v[i], memory_order_relaxed);

        all = !is_max ? all + v : v > all ? v : all;
    }
    return all;
}

/* The name without its labels. */
static struct str family_of(const struct metric_desc *d) { return str_of(d->name, strcspn(d->name, "{")); }

static void print_family(const struct metric_desc *d, struct buf *out)
{
    struct str family = family_of(d);
    buf_printf(out, "# HELP " STR_FMT " %s\n", STR_ARG(family), d->help);
    buf_printf(out, "# TYPE " STR_FMT " %s\n", STR_ARG(family), d->kind == METRIC_COUNTER ? "counter" : "gauge");
}

void metrics_print(struct metrics *m, struct buf *out)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        if (i == 0 || !str_eq(family_of(&m->descs[i]), family_of(&m->descs[i - 1])))
            print_family(&m->descs[i], out); /* rows that differ in labels stand together in the table */
        buf_str(out, str_c(m->descs[i].name));
        buf_char(out, ' ');
        buf_i64(out, of_all(m, i));
        buf_char(out, '\n');
    }
    pthread_mutex_unlock(&m->lock);
}
