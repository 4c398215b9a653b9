#include "services/views.h"
#include "base/mem.h"
#include <pthread.h>

/* A log that was heard of, and how far the views that the directory writes have it. */
struct seen {
    uint64_t log_id, tables, owed, wanted;
};

struct views {
    pthread_mutex_t lock;
    struct views_log *old;
    size_t n_old;
    unsigned reactors_left; /* whose stores don't have all old logs durably yet */
    bool removed;
    struct seen *seen;
    size_t n_seen;
    struct views_state states[VIEWS_STATES_MAX]; /* of live logs: one a reactor */
    size_t n_states;
};

void views_create(const struct views_log *old, size_t n, unsigned reactors, struct views **out)
{
    struct views *v = mem_new(struct views);

    pthread_mutex_init(&v->lock, NULL);
    v->old = mem_new_array(struct views_log, n);
    if (n)
        memcpy(v->old, old, n * sizeof *old);
    v->n_old = n;
    v->reactors_left = reactors;
    *out = v;
}

void views_destroy(struct views *v)
{
    if (!v)
        return;
    pthread_mutex_destroy(&v->lock);
    mem_free(v->old);
    mem_free(v->seen);
    mem_free(v);
}

/* Under the lock. There are as many logs as there were and are threads: few. */
static struct seen *get(struct views *v, uint64_t log_id)
{
    for (size_t i = 0; i < v->n_seen; i++) {
        if (v->seen[i].log_id == log_id)
            return &v->seen[i];
    }
    v->seen = mem_realloc(v->seen, (v->n_seen + 1) * sizeof *v->seen);
    v->seen[v->n_seen] = (struct seen){.log_id = log_id};
    return &v->seen[v->n_seen++];
}

void views_tables_durable(struct views *v, uint64_t log_id, uint64_t pos)
{
    pthread_mutex_lock(&v->lock);
    get(v, log_id)->tables = pos;
    pthread_mutex_unlock(&v->lock);
}

void views_owed_durable(struct views *v, uint64_t log_id, uint64_t pos)
{
    pthread_mutex_lock(&v->lock);
    get(v, log_id)->owed = pos;
    pthread_mutex_unlock(&v->lock);
}

void views_want(struct views *v, uint64_t log_id, uint64_t pos)
{
    pthread_mutex_lock(&v->lock);
    get(v, log_id)->wanted = pos;
    pthread_mutex_unlock(&v->lock);
}

uint64_t views_wanted(struct views *v, uint64_t log_id)
{
    uint64_t pos;

    pthread_mutex_lock(&v->lock);
    pos = get(v, log_id)->wanted;
    pthread_mutex_unlock(&v->lock);
    return pos;
}

void views_stores_durable(struct views *v)
{
    pthread_mutex_lock(&v->lock);
    v->reactors_left--;
    pthread_mutex_unlock(&v->lock);
}

void views_durable(struct views *v, uint64_t log_id, uint64_t *tables, uint64_t *owed)
{
    pthread_mutex_lock(&v->lock);
    *tables = get(v, log_id)->tables;
    *owed = get(v, log_id)->owed;
    pthread_mutex_unlock(&v->lock);
}

void views_put_state(struct views *v, const struct views_state *s)
{
    size_t i = 0;

    pthread_mutex_lock(&v->lock);
    while (i < v->n_states && v->states[i].log_id != s->log_id)
        i++;
    if (i < VIEWS_STATES_MAX) {
        v->states[i] = *s;
        v->n_states += i == v->n_states;
    }
    pthread_mutex_unlock(&v->lock);
}

size_t views_states(struct views *v, struct views_state out[VIEWS_STATES_MAX])
{
    size_t n;

    pthread_mutex_lock(&v->lock);
    n = v->n_states;
    memcpy(out, v->states, n * sizeof out[0]);
    pthread_mutex_unlock(&v->lock);
    return n;
}

size_t views_old(struct views *v, const struct views_log **logs)
{
    *logs = v->old;
    return v->n_old;
}

static bool tables_have_all(struct views *v)
{
    for (size_t i = 0; i < v->n_old; i++) {
        const struct seen *s = get(v, v->old[i].log_id);

        if (s->tables < v->old[i].end || (!v->old[i].is_directory && s->owed < v->old[i].end))
            return false;
    }
    return true;
}

bool views_old_are_done(struct views *v)
{
    bool done;

    pthread_mutex_lock(&v->lock);
    done = !v->removed && v->n_old > 0 && v->reactors_left == 0 && tables_have_all(v);
    pthread_mutex_unlock(&v->lock);
    return done;
}

void views_old_removed(struct views *v)
{
    pthread_mutex_lock(&v->lock);
    v->removed = true;
    pthread_mutex_unlock(&v->lock);
}

bool views_old_are_removed(struct views *v)
{
    bool removed;

    pthread_mutex_lock(&v->lock);
    removed = v->removed;
    pthread_mutex_unlock(&v->lock);
    return removed;
}
