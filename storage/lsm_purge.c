/* Erasing for good. An overwritten or deleted version lives on in older tables until a merge meets it beside what made
 * it dead, which for the largest tables may take for ever. So the moment of the oldest erasing is kept: of the active
 * memtable, of each frozen one, and of the tables, this in the manifest, where it stands from the flush on that brings
 * the newer version. A purge merges all tables there are into one; what was flushed meanwhile is newer than it and
 * keeps a mark of its own, `newer_ms`.
 *
 * What always holds: as long as a table may have a version that was erased, the manifest names a moment not later than
 * that erasing, or the version that erased it is in memory, and then in the caller's log. A mark may stand too long,
 * which costs a merge; it never goes too early: only the manifest that names the merged table drops it. A crash in the
 * middle leaves the mark, and the purge begins anew.
 *
 * It waits for merges that run, and none begins before it: they would take its tables away. While it runs, newer tables
 * merge as ever. Without space for one more copy of the store it waits like any merge. */
#include "storage/lsm_store.h"

void lsm_erased(struct lsm *l, int64_t at_ms)
{
    l->purge.active_ms = lsm_older(l->purge.active_ms, at_ms > 0 ? at_ms : 1);
}

static int64_t in_memory(const struct lsm *l)
{
    int64_t at = l->purge.active_ms;

    for (size_t i = 0; i < l->n_frozen; i++)
        at = lsm_older(at, l->frozen[i].erased_ms);
    return at;
}

int64_t lsm_erased_since(const struct lsm *l) { return lsm_older(in_memory(l), lsm_purge_installed(l)); }

void lsm_purge(struct lsm *l, int64_t until_ms)
{
    int64_t memory = in_memory(l);

    if (l->failed != ERR_OK)
        return;
    if (memory && memory <= until_ms)
        (void)!lsm_flush(l); /* AGAIN: it runs, or will behind this batch; what fails the store says itself */
    memory = in_memory(l);
    if ((memory && memory <= until_ms) || !l->purge.tables_ms || l->purge.tables_ms > until_ms)
        return;
    l->purge.is_wanted = true;
    lsm_poke(l);
}

bool lsm_purge_pick(struct lsm *l, size_t *first, size_t *n)
{
    if (l->is_merge_off || (l->merge_at_us && env_mono_us(l->conf.env) < l->merge_at_us))
        return false;
    for (const struct lsm_task *t = &l->task[1]; t < l->task + TASKS; t++)
        if (t->state != TASK_IDLE)
            return false;
    if (l->n_tables == 0)
        return false;
    l->merge_at_us = 0;
    *first = 0;
    *n = l->n_tables;
    return true;
}

int64_t lsm_purge_installed(const struct lsm *l) { return lsm_older(l->purge.tables_ms, l->purge.newer_ms); }

int64_t lsm_purge_next(const struct lsm *l)
{
    bool is_done = l->purge.task && l->purge.task->state == TASK_COMMITTING;
    int64_t at = lsm_older(is_done ? 0 : l->purge.tables_ms, l->purge.newer_ms);

    return l->task[0].state == TASK_COMMITTING ? lsm_older(at, l->frozen[0].erased_ms) : at;
}

void lsm_purge_frozen(struct lsm *l, struct lsm_frozen *f)
{
    f->erased_ms = l->purge.active_ms;
    l->purge.active_ms = 0;
}

void lsm_purge_flushed(struct lsm *l, const struct lsm_frozen *f)
{
    int64_t *mark = l->purge.task ? &l->purge.newer_ms : &l->purge.tables_ms;

    *mark = lsm_older(*mark, f->erased_ms);
}

void lsm_purge_ended(struct lsm *l, const struct lsm_task *t, bool is_installed)
{
    struct lsm_purge *p = &l->purge;

    if (p->task != t)
        return;
    p->tables_ms = lsm_older(is_installed ? 0 : p->tables_ms, p->newer_ms);
    p->newer_ms = 0;
    p->task = NULL;
    p->is_wanted &= !is_installed; /* one that failed is tried again as merges are */
}
