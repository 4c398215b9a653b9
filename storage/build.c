#include "storage/build.h"
#include "base/log.h"
#include "storage/merge.h"
#include "storage/sst_write.h"
#include <assert.h>

enum { READ_AHEAD = 256 << 10 };

/* A table read from front to back in large pieces, past the cache: a merge reads everything once. */
struct reader {
    struct sst_source source;
    struct sst_iter iter;
    char *piece;
    uint64_t from, to; /* what of the file is in the piece */
};

struct build {
    struct build_conf conf;
    char *path;
    struct file *file;
    struct sst_writer writer;
    struct memtable_iter memtable;
    struct reader *readers;
    struct sst **tables;
    struct merge merge;
    bool is_started, is_taken, cannot_read;
    struct sst *result;
};

static enum err fill_piece(struct reader *r, struct sst *t, uint64_t at, uint32_t len)
{
    uint64_t n = t->data_end - at < READ_AHEAD ? t->data_end - at : READ_AHEAD;
    if (n < len)
        n = len;
    char *piece = mem_try(n);
    if (!piece)
        return ERR_NOMEM;
    mem_free(r->piece);
    r->piece = piece;
    r->from = r->to = at;
    enum err err = file_read_exact(t->file, piece, n, at);
    if (err == ERR_OK)
        r->to = at + n;
    else
        log_error("table_unreadable", "file=%s at=%llu error=%s", t->path, (unsigned long long)at, err_name(err));
    return err;
}

static enum err read_block(struct sst_source *s, struct sst *t, const struct block_iter *index, struct block **out)
{
    struct reader *r = container_of(s, struct reader, source);
    uint64_t at;
    uint32_t len;
    enum err err;

    TRY(sst_index_place(t, index, &at, &len) ? ERR_OK : ERR_CORRUPT);
    if (at < r->from || at + len > r->to)
        TRY(fill_piece(r, t, at, len));
    TRY(sst_unseal(t, str_of(r->piece + (at - r->from), len), at, out));
out:
    return err;
}

void build_create(const struct build_conf *c, struct build **out)
{
    struct build *b = mem_new(struct build);
    b->conf = *c;
    b->path = sst_path(c->dir, c->table);
    b->tables = mem_new_array(struct sst *, c->n_tables);
    if (c->n_tables)
        memcpy(b->tables, c->tables, c->n_tables * sizeof(c->tables[0]));
    *out = b;
}

static void open_inputs(struct build *b)
{
    size_t n = b->conf.n_tables;
    struct iter **inputs = mem_new_array(struct iter *, n + 1);
    if (b->conf.memtable) {
        memtable_iter_init(&b->memtable, b->conf.memtable, (struct str){0});
        inputs[n++] = &b->memtable.it;
    } else {
        b->readers = mem_new_array(struct reader, n);
        for (size_t i = 0; i < n; i++) {
            b->readers[i].source.get = read_block;
            sst_iter_init(&b->readers[i].iter, b->tables[i], &b->readers[i].source, (struct str){0});
            inputs[i] = &b->readers[i].iter.it;
        }
    }
    merge_init(&b->merge, inputs, n);
    mem_free(inputs);
}

/* How many hashes the inputs' filters hold, at most: so many the merged one as a rule can't pass. */
static size_t hashes_of(const struct build *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->conf.n_tables; i++)
        n += sst_filter_hashes(b->tables[i]->filter.len, b->tables[i]->entries);
    return n;
}

static enum err start(struct build *b)
{
    assert(!b->conf.memtable == (b->conf.n_tables > 0));
    uint64_t free_bytes = b->conf.room;
    enum err err;

    if (b->conf.room)
        TRY(fs_space(b->conf.fs, b->conf.dir, &free_bytes));
    TRY(free_bytes < b->conf.room ? ERR_FULL : ERR_OK);
    TRY(fs_open(b->conf.fs, b->path, FS_CREATE_NEW, &b->file));
    b->is_started = true;
    /* A flush's table is read a few times and soon merged: compressing it would be as dear as all else of the flush. */
    sst_writer_init(&b->writer, b->file, b->conf.table, b->conf.filter_prefix, !b->conf.memtable);
    if (b->conf.n_tables)
        TRY(sst_writer_expect(&b->writer, hashes_of(b)));
    open_inputs(b);
out:
    return err;
}

static enum err copy_some(struct build *b, size_t budget)
{
    struct iter *it = &b->merge.it;
    enum err err = ERR_OK;
    size_t done = 0;

    for (; it->is_valid && done < budget; it->next(it)) {
        done += it->key.len + it->value.len;
        if (!it->is_tombstone || !b->conf.drop_tombstones)
            TRY(sst_writer_add(&b->writer, it->key, it->value, it->is_tombstone));
    }
    b->cannot_read = it->err != ERR_OK;
    TRY(it->err);
    err = it->is_valid ? ERR_AGAIN : ERR_OK;
out:
    return err;
}

/* A table is opened as any other is, before the manifest may name it: so that it is known to be readable. */
static enum err finish(struct build *b)
{
    struct buf why = {0};
    enum err err;

    TRY(sst_writer_finish(&b->writer));
    TRY(fs_sync_dir(b->conf.fs, b->conf.dir));
    err = sst_open(b->conf.fs, b->conf.dir, b->conf.table, sst_writer_bytes(&b->writer), &b->result, &why);
    if (err != ERR_OK && err != ERR_SCARCE)
        log_error("table_bad_after_write", STR_FMT, STR_ARG(buf_get(&why)));
    TRY(err);
out:
    buf_deinit(&why);
    return err;
}

enum err build_step(struct build *b, size_t budget)
{
    enum err err;
    if (!b->is_started)
        TRY(start(b));
    TRY(copy_some(b, budget));
    if (b->writer.entries > 0)
        TRY(finish(b));
out:
    return err;
}

struct sst *build_take(struct build *b)
{
    struct sst *t = b->result;
    b->result = NULL;
    if (t)
        b->is_taken = true;
    return t;
}

uint64_t build_written(const struct build *b) { return sst_writer_bytes(&b->writer); }

bool build_cannot_read(const struct build *b) { return b->cannot_read; }

void build_destroy(struct build *b)
{
    if (!b)
        return;
    sst_close(b->result);
    file_close(b->file);
    if (b->is_started && !b->is_taken)
        (void)!fs_remove(b->conf.fs, b->path); /* if that fails too, the next opening removes it */
    if (b->is_started)
        merge_deinit(&b->merge);
    for (size_t i = 0; b->readers && i < b->conf.n_tables; i++) {
        sst_iter_deinit(&b->readers[i].iter);
        mem_free(b->readers[i].piece);
    }
    sst_writer_deinit(&b->writer);
    mem_free(b->readers);
    mem_free(b->tables);
    mem_free(b->path);
    mem_free(b);
}
