#include "storage/store_verify.h"
#include "storage/merge.h"
#include "storage/sst_read.h"
#include <inttypes.h>
#include <stdlib.h>

/* A walk over what is whole of a table: it steps over blocks that are not, and says so. */
struct walk {
    struct iter it;
    const struct store_verify *v;
    struct store_counts *counts;
    struct sst *table;
    struct block_iter index, data;
    struct block *block;
    struct buf before; /* the last key of the block before; of the entry before while in a block */
    struct buf sealed;
    uint64_t entries, block_at;
    bool is_damaged;
};

static void found(struct walk *w, uint64_t at, const char *what)
{
    damage_found(w->v->sink, w->table->path, at, what);
    w->is_damaged = true;
}

static void lose_block(struct walk *w, uint64_t at, const char *what)
{
    struct buf text = {0};

    buf_str(&text, str_c(what));
    if (w->v->lost)
        w->v->lost(w->v->arg, buf_get(&w->before), block_iter_key(&w->index), &text);
    buf_char(&text, '\0');
    found(w, at, text.p);
    buf_deinit(&text);
}

static enum err read_block(struct walk *w, uint64_t at, uint32_t len)
{
    enum err err;

    buf_clear(&w->sealed);
    TRY(file_read_exact(w->table->file, buf_reserve(&w->sealed, len), len, at));
    TRY(block_unseal(str_of(w->sealed.p, len), w->table->id, at, &w->block));
out:
    return err;
}

/* Opens the next block that is whole; the index stands on the one to try. */
static bool enter_block(struct walk *w)
{
    for (; w->index.is_valid; block_iter_next(&w->index)) {
        uint64_t at = w->table->data_end;
        uint32_t len = 0;
        enum err err = ERR_CORRUPT;

        if (sst_index_place(w->table, &w->index, &at, &len))
            err = read_block(w, at, len);
        w->counts->blocks++;
        w->block_at = at;
        if (err == ERR_OK) {
            block_iter_init(&w->data, str_of(w->block->bytes, w->block->len));
            return true;
        }
        lose_block(w, at, err == ERR_CORRUPT ? "a block is not what was written" : "a block cannot be read");
        buf_clear(&w->before);
        buf_str(&w->before, block_iter_key(&w->index));
    }
    if (w->index.err != ERR_OK)
        found(w, w->table->data_end, "the index is not what was written");
    return false;
}

static void leave_block(struct walk *w)
{
    if (w->data.err != ERR_OK)
        lose_block(w, w->block_at, "a block is whole and holds no entries that can be read");
    block_unref(w->block);
    w->block = NULL;
    buf_clear(&w->before);
    buf_str(&w->before, block_iter_key(&w->index));
    block_iter_next(&w->index);
}

/* Makes the walk stand on the data's entry, or on the next block's first. */
static void stand(struct walk *w)
{
    while (!w->data.is_valid) {
        leave_block(w);
        if (!enter_block(w)) {
            iter_end(&w->it, ERR_OK);
            return;
        }
    }
    w->it.key = block_iter_key(&w->data);
    if (w->before.len && str_cmp(buf_get(&w->before), w->it.key) >= 0)
        found(w, w->block_at, "keys are not in order");
    buf_clear(&w->before);
    buf_str(&w->before, w->it.key);
    w->it.value = w->data.value;
    w->it.is_tombstone = w->data.is_tombstone;
    w->it.is_valid = true;
    w->entries++;
}

static void step(struct iter *it)
{
    struct walk *w = container_of(it, struct walk, it);

    block_iter_next(&w->data);
    stand(w);
}

static void walk_init(struct walk *w, const struct store_verify *v, struct sst *t, struct store_counts *counts)
{
    *w = (struct walk){.it = {.next = step}, .v = v, .table = t, .counts = counts};
    block_iter_init(&w->index, t->index);
    if (enter_block(w))
        stand(w);
    else
        iter_end(&w->it, ERR_OK);
}

static void walk_deinit(struct walk *w)
{
    if (!w->is_damaged && w->entries != w->table->entries)
        found(w, w->table->data_end, "it does not hold as many entries as it says");
    block_unref(w->block);
    buf_deinit(&w->before);
    buf_deinit(&w->sealed);
    sst_close(w->table);
}

/* --- which tables --- */

static void note_table(void *arg, const char *name)
{
    struct manifest *m = arg;
    char *end;
    uint64_t id = strtoull(name, &end, 16);

    if (end != name + 16 || strcmp(end, ".sst") != 0)
        return;
    m->tables = mem_realloc(m->tables, (m->n_tables + 1) * sizeof m->tables[0]);
    m->tables[m->n_tables++] = (struct manifest_table){id, 0};
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct manifest_table *)a)->id, y = ((const struct manifest_table *)b)->id;
    return (x < y) - (x > y);
}

static enum err read_manifest(const struct store_verify *v, struct manifest *m)
{
    struct buf path = {0};
    enum err err = manifest_read(v->fs, v->dir, m);

    if (err == ERR_OK)
        return err;
    bool is_missing = err == ERR_NOT_FOUND;
    const char *what = is_missing ? "it is missing; all tables that are there are read" : err_text(err);
    TRY(fs_list(v->fs, v->dir, note_table, m));
    if (is_missing && m->n_tables == 0) /* a store that was never opened */
        goto out;
    buf_printf(&path, "%s/MANIFEST%c", v->dir, 0);
    damage_found(v->sink, path.p, 0, what);
    if (m->n_tables)
        qsort(m->tables, m->n_tables, sizeof m->tables[0], newest_first);
out:
    buf_deinit(&path);
    return err;
}

static void open_tables(const struct store_verify *v, const struct manifest *m, struct walk *walks, size_t *n,
                        struct store_counts *counts)
{
    for (size_t i = 0; i < m->n_tables; i++) {
        struct buf why = {0};
        struct sst *t = NULL;

        if (sst_open(v->fs, v->dir, m->tables[i].id, m->tables[i].bytes, &t, &why) == ERR_OK) {
            counts->tables++;
            counts->bytes += t->bytes;
            walk_init(&walks[(*n)++], v, t, counts);
        } else {
            char *path = sst_path(v->dir, m->tables[i].id);
            buf_char(&why, '\0');
            damage_found(v->sink, path, 0, why.p);
            mem_free(path);
        }
        buf_deinit(&why);
    }
}

enum err store_verify(const struct store_verify *v, struct store_counts *counts)
{
    struct manifest m = {0};
    struct walk *walks = NULL;
    struct iter **inputs = NULL;
    struct merge merge = {0};
    size_t n = 0;
    enum err err;

    TRY(read_manifest(v, &m));
    walks = mem_new_array(struct walk, m.n_tables + 1);
    inputs = mem_new_array(struct iter *, m.n_tables + 1);
    open_tables(v, &m, walks, &n, counts);
    for (size_t i = 0; i < n; i++)
        inputs[i] = &walks[i].it;
    merge_init(&merge, inputs, n);
    for (struct iter *it = &merge.it; it->is_valid; it->next(it)) {
        counts->entries += !it->is_tombstone;
        if (!it->is_tombstone)
            v->key(v->arg, it->key, it->value);
    }
out:
    merge_deinit(&merge);
    for (size_t i = 0; i < n; i++)
        walk_deinit(&walks[i]);
    mem_free(walks);
    mem_free(inputs);
    manifest_deinit(&m);
    return err;
}
