#include "services/tables_state.h"

static void load(void *arg, const struct rebuild_row *r)
{
    struct tables *t = arg;

    if (r->shard < SHARD_COUNT)
        t->rebuilt[r->shard] = *r;
}

enum err tables_rebuild_load(struct tables *t)
{
    enum err err;

    for (unsigned i = 0; i < SHARD_COUNT; i++)
        t->rebuilt[i].shard = (uint16_t)i;
    TRY(rebuild_rows_each(t->db, load, t));
    memcpy(t->rebuilt_next, t->rebuilt, sizeof t->rebuilt);
out:
    return err;
}

void tables_rebuild_end(struct tables *t, bool is_committed)
{
    if (t->is_rebuilt_changed && is_committed)
        memcpy(t->rebuilt, t->rebuilt_next, sizeof t->rebuilt);
    else if (t->is_rebuilt_changed)
        memcpy(t->rebuilt_next, t->rebuilt, sizeof t->rebuilt);
    t->is_rebuilt_changed = false;
}

bool tables_rebuild_skips(const struct tables *t, const struct log_record *r)
{
    const struct rebuild_row *at = r->shard < SHARD_COUNT ? &t->rebuilt_next[r->shard] : NULL;
    struct str conv;

    if (!at || !(at->what & REBUILD_TABLES))
        return false;
    conv = record_subject(r->kind, r->body);
    if (conv.len != sizeof at->conv)
        return !at->has_conv;
    return !at->has_conv || memcmp(conv.p, at->conv.b, sizeof at->conv) > 0;
}

static enum err put(struct tables *t, const struct rebuild_row *r)
{
    enum err err;

    TRY(rebuild_rows_put(t->db, r));
    t->rebuilt_next[r->shard] = *r;
    t->is_rebuilt_changed = true;
out:
    return err;
}

enum err tables_detach(struct tables *t, const uint8_t what[])
{
    enum err err = ERR_OK;

    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        if (what[i])
            TRY(put(t,
                    &(struct rebuild_row){.shard = (uint16_t)i, .what = (uint8_t)(what[i] | t->rebuilt_next[i].what)}));
    }
    if (t->letters.n == 0)
        return ERR_OK;
    TRY(letters_drop_rebuilt(t->db));
    tables_note_stale(t);
    TRY(letters_total(t->db, &t->letters));
out:
    return err;
}

enum err tables_rebuilt(struct tables *t, uint16_t shard, const struct conv_id *c)
{
    struct rebuild_row r = {.shard = shard};

    if (c)
        r = (struct rebuild_row){shard, t->rebuilt_next[shard].what, true, *c};
    return put(t, &r);
}

bool tables_rebuild_next(const struct tables *t, struct rebuild_row *out)
{
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        if (t->rebuilt[i].what) {
            *out = t->rebuilt[i];
            return true;
        }
    }
    return false;
}

unsigned tables_rebuild_left(const struct tables *t, uint8_t what)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SHARD_COUNT; i++)
        n += (t->rebuilt[i].what & what) != 0;
    return n;
}
