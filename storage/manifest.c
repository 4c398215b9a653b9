/* DIR/MANIFEST, little endian:
 *
 *   u64 magic "PRLYMANI"   u32 version   u64 generation   u64 next table id   u64 erased, ms since 1970
 *   u32 tables, then each, newest first:  u64 id   u64 bytes of its file
 *   u32 logs, then each:                  u64 log id   u64 durable position
 *   u64 XXH3 of all before
 *
 * It is small (16 bytes a table) and written whole, never appended to: no torn tail to tell from damage. It is switched
 * by fs_replace (write aside, sync, rename, sync the folder), and only when every table that it names has been synced,
 * and so has the folder. Hence the invariant: whichever manifest a crash leaves, its tables are whole. Files that it
 * does not name are leftovers and removed at the next opening. */
#include "storage/manifest.h"
#include "base/enc.h"
#include "base/hash.h"

#define MAGIC 0x494e414d594c5250u
enum { VERSION = 2, FILE_MAX = 64 << 20, TABLES_MAX = 1 << 20, LOGS_MAX = 1 << 20 };

void positions_deinit(struct positions *p)
{
    mem_free(p->v);
    *p = (struct positions){0};
}

static struct log_position *find(const struct positions *p, uint64_t log_id)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].log_id == log_id)
            return &p->v[i];
    return NULL;
}

uint64_t positions_get(const struct positions *p, uint64_t log_id)
{
    const struct log_position *at = find(p, log_id);
    return at ? at->pos : 0;
}

void positions_set(struct positions *p, uint64_t log_id, uint64_t pos)
{
    struct log_position *at = find(p, log_id);
    if (!at) {
        p->v = mem_realloc(p->v, (p->n + 1) * sizeof(p->v[0])); /* a new log is rare */
        at = &p->v[p->n++];
    }
    *at = (struct log_position){log_id, pos};
}

void positions_forget(struct positions *p, uint64_t log_id)
{
    struct log_position *at = find(p, log_id);
    if (at)
        *at = p->v[--p->n];
}

void positions_copy(const struct positions *from, struct positions *out)
{
    positions_deinit(out);
    for (size_t i = 0; i < from->n; i++)
        positions_set(out, from->v[i].log_id, from->v[i].pos);
}

bool positions_eq(const struct positions *a, const struct positions *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct log_position *other = find(b, a->v[i].log_id);
        if (!other || other->pos != a->v[i].pos)
            return false;
    }
    return true;
}

void manifest_deinit(struct manifest *m)
{
    mem_free(m->tables);
    positions_deinit(&m->durable);
    *m = (struct manifest){0};
}

void manifest_encode(const struct manifest *m, struct buf *out)
{
    size_t start = out->len;
    enc_add_u64(out, MAGIC);
    enc_add_u32(out, VERSION);
    enc_add_u64(out, m->generation);
    enc_add_u64(out, m->next_table);
    enc_add_u64(out, (uint64_t)m->erased_ms);
    enc_add_u32(out, (uint32_t)m->n_tables);
    for (size_t i = 0; i < m->n_tables; i++) {
        enc_add_u64(out, m->tables[i].id);
        enc_add_u64(out, m->tables[i].bytes);
    }
    enc_add_u32(out, (uint32_t)m->durable.n);
    for (size_t i = 0; i < m->durable.n; i++) {
        enc_add_u64(out, m->durable.v[i].log_id);
        enc_add_u64(out, m->durable.v[i].pos);
    }
    enc_add_u64(out, hash_sum(out->p + start, out->len - start, MAGIC));
}

static enum err decode_lists(struct dec *d, struct manifest *m)
{
    uint32_t n = dec_get_u32(d);
    if (n > TABLES_MAX)
        return ERR_CORRUPT;
    m->tables = mem_new_array(struct manifest_table, n);
    for (m->n_tables = 0; m->n_tables < n && dec_ok(d); m->n_tables++) {
        uint64_t id = dec_get_u64(d), bytes = dec_get_u64(d);
        m->tables[m->n_tables] = (struct manifest_table){id, bytes};
    }
    n = dec_get_u32(d);
    if (n > LOGS_MAX)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < n && dec_ok(d); i++) {
        uint64_t log_id = dec_get_u64(d), pos = dec_get_u64(d);
        positions_set(&m->durable, log_id, pos);
    }
    return dec_done(d) ? ERR_OK : ERR_CORRUPT;
}

enum err manifest_decode(struct str bytes, struct manifest *out)
{
    struct manifest m = {0};
    enum err err;

    TRY(bytes.len >= 8 && dec_u64(bytes.p + bytes.len - 8) == hash_sum(bytes.p, bytes.len - 8, MAGIC) ? ERR_OK
                                                                                                      : ERR_CORRUPT);
    struct dec d = dec_of(str_of(bytes.p, bytes.len - 8));
    TRY(dec_get_u64(&d) == MAGIC ? ERR_OK : ERR_CORRUPT);
    TRY(dec_get_u32(&d) == VERSION ? ERR_OK : ERR_UNSUPPORTED);
    m.generation = dec_get_u64(&d);
    m.next_table = dec_get_u64(&d);
    m.erased_ms = (int64_t)dec_get_u64(&d);
    TRY(decode_lists(&d, &m));
    *out = m;
    m = (struct manifest){0};
out:
    manifest_deinit(&m);
    return err;
}

static char *path_of(const char *dir)
{
    struct buf b = {0};
    buf_printf(&b, "%s/MANIFEST", dir);
    buf_char(&b, 0);
    return b.p;
}

enum err manifest_read(struct fs *fs, const char *dir, struct manifest *out)
{
    struct str bytes = {0};
    char *path = path_of(dir);
    enum err err;

    TRY(fs_read_all(fs, path, FILE_MAX, &bytes));
    TRY(manifest_decode(bytes, out));
out:
    mem_free((char *)(uintptr_t)bytes.p); /* fs_read_all gave it to us */
    mem_free(path);
    return err;
}

enum err manifest_switch(struct fs *fs, const char *dir, struct str encoded)
{
    char *path = path_of(dir);
    enum err err = fs_replace(fs, path, encoded);
    mem_free(path);
    return err;
}
