#include "storage/lsm_need.h"
#include "storage/lsm_store.h"

struct block *lsm_need_find(const struct lsm_need *n, const struct sst *t, uint64_t at)
{
    for (size_t i = 0; i < n->n_held; i++) {
        if (n->held[i].at != at || n->held[i].table != t->cache_id)
            continue;
        return block_ref(n->held[i].block);
    }
    return NULL;
}

void lsm_need_add(struct lsm_need *n, struct lsm *l, struct sst *t, uint64_t at, uint32_t len)
{
    n->lsm = l;
    for (size_t i = 0; i < n->n_missing; i++)
        if (n->missing[i].table == t && n->missing[i].at == at)
            return;
    if (n->n_missing == LSM_NEED_MISSING)
        return; /* the next round asks for it again */
    lsm_table_ref(t);
    n->missing[n->n_missing++] = (struct lsm_missing){.table = t, .at = at, .len = len};
}

static void load(struct job *j)
{
    struct lsm_need *n = container_of(j, struct lsm_need, job);
    for (size_t i = 1; i < n->n_missing; i++)
        sst_ahead(n->missing[i].table, n->missing[i].at, n->missing[i].len);
    for (size_t i = 0; i < n->n_missing && n->err == ERR_OK; i++) {
        struct lsm_missing *m = &n->missing[i];
        n->err = sst_load(m->table, m->at, m->len, &m->block);
        if (n->err == ERR_OK)
            block_cache_put(n->lsm->conf.cache, m->table->cache_id, m->at, m->block);
    }
    atomic_fetch_sub(&n->lsm->n_loading, 1); /* from here on the store may be closed */
}

static void hold(struct lsm_need *n)
{
    size_t all = n->n_held + n->n_missing;
    n->held = mem_realloc(n->held, all * sizeof(n->held[0]));
    for (size_t i = 0; i < n->n_missing; i++) {
        struct lsm_missing *m = &n->missing[i];
        if (m->block)
            n->held[n->n_held++] = (struct lsm_held){m->block, m->table->cache_id, m->at};
        lsm_table_unref(n->lsm, m->table);
    }
    n->n_missing = 0;
}

static void loaded(struct job *j)
{
    struct lsm_need *n = container_of(j, struct lsm_need, job);
    struct lsm *l = n->lsm;
    hold(n);
    l->n_needs--;
    if (l->n_dead > 0)
        lsm_poke(l);
    n->done(n); /* may free the need */
}

static void gone(struct job *j)
{
    struct lsm_need *n = container_of(j, struct lsm_need, job);
    hold(n);
    n->lsm->n_needs--;
    if (n->lost)
        n->lost(n);
}

void lsm_need_load(struct lsm_need *n)
{
    struct lsm *l = n->lsm;
    l->n_needs++;
    atomic_fetch_add(&l->n_loading, 1);
    n->job = (struct job){.home = l->conf.home, .run = load, .done = loaded, .lost = gone};
    if (!l->conf.home) {
        load(&n->job);
        loaded(&n->job);
    } else if (pool_submit(l->conf.pool, &n->job) != ERR_OK) {
        atomic_fetch_sub(&l->n_loading, 1);
        n->err = ERR_LIMIT;
        job_home(&n->job);
    }
}

void lsm_need_deinit(struct lsm_need *n)
{
    for (size_t i = 0; i < n->n_missing; i++)
        lsm_table_unref(n->lsm, n->missing[i].table);
    for (size_t i = 0; i < n->n_held; i++)
        block_unref(n->held[i].block);
    mem_free(n->held);
    n->held = NULL;
    n->n_held = n->n_missing = 0;
    n->err = ERR_OK;
}
