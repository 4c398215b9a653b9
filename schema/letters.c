#include "schema/letters.h"
#include "base/hash.h"
#include "base/log.h"
#include <inttypes.h>

/* Where it stood goes into the sum: a body that belongs to another letter is damage, too. */
static uint64_t sum_of(const struct letter *l)
{
    return hash_sum(l->body.p ? l->body.p : "", l->body.len, l->log_id ^ hash_u64(l->pos + 1));
}

enum err letters_put(struct db *d, const struct letter *l, struct letters_total *total)
{
    struct letters_total before = *total;
    enum err err;

    if (total->n >= LETTERS_MAX || total->bytes + l->body.len > LETTERS_BYTES_MAX)
        return ERR_LIMIT;
    TRY(db_run(d,
               "INSERT INTO letters (log_id, pos, kind, shard, subject, kept, attempts, why, sum, body)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log_id, pos) DO NOTHING",
               "uuiixiitux", l->log_id, l->pos, (int64_t)l->kind, (int64_t)l->shard, record_subject(l->kind, l->body),
               l->kept_ms, (int64_t)l->attempts, l->why, sum_of(l), l->body));
    *total = (struct letters_total){before.n + 1, before.bytes + l->body.len, before.n ? before.oldest_ms : l->kept_ms};
out:
    return err;
}

enum err letters_total(struct db *d, struct letters_total *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT count(*), ifnull(sum(length(body)), 0), ifnull(min(kept), 0) FROM letters", ""));
    TRY(rows_next(&q));
    *out = (struct letters_total){rows_u64(&q, 0), rows_u64(&q, 1), rows_i64(&q, 2)};
out:
    rows_end(&q);
    return err;
}

enum err letters_hold(struct db *d, struct str subject, bool *out)
{
    struct rows q = {0};
    enum err err = ERR_OK;

    *out = false;
    if (subject.len == 0)
        return ERR_OK;
    TRY(rows_begin(&q, d, "SELECT 1 FROM letters WHERE subject = ? LIMIT 1", "x", subject));
    err = rows_next(&q);
    *out = err == ERR_OK;
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

enum err letters_get(struct db *d, uint64_t id, struct arena *a, struct letter *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT log_id, pos, kind, shard, kept, attempts, why, body, sum FROM letters WHERE id = ?",
                   "u", id));
    TRY(rows_next(&q));
    *out = (struct letter){
        .id = id,
        .log_id = rows_u64(&q, 0),
        .pos = rows_u64(&q, 1),
        .kind = (unsigned)rows_i64(&q, 2),
        .shard = (uint16_t)rows_i64(&q, 3),
        .kept_ms = rows_i64(&q, 4),
        .attempts = (uint32_t)rows_i64(&q, 5),
        .why = arena_dup(a, rows_str(&q, 6)),
        .body = arena_dup(a, rows_str(&q, 7)),
    };
    TRY(sum_of(out) == rows_u64(&q, 8) ? ERR_OK : ERR_CORRUPT);
out:
    rows_end(&q);
    return err;
}

enum err letters_first(struct db *d, uint64_t id, uint64_t *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT iif(subject = x'', ?1, (SELECT min(id) FROM letters o WHERE o.subject = l.subject))"
                   " FROM letters l WHERE id = ?1",
                   "u", id));
    TRY(rows_next(&q));
    *out = rows_u64(&q, 0);
out:
    rows_end(&q);
    return err;
}

enum err letters_drop(struct db *d, uint64_t id) { return db_run(d, "DELETE FROM letters WHERE id = ?", "u", id); }

enum err letters_tried(struct db *d, uint64_t id, struct str why)
{
    return db_run(d, "UPDATE letters SET attempts = attempts + 1, why = ? WHERE id = ?", "tu", why, id);
}

enum err letters_each(struct db *d, uint64_t after, letters_each_fn *fn, void *arg)
{
    struct rows q = {0};
    bool more = true;
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT id, log_id, pos, kind, shard, kept, attempts, why, length(body) FROM letters"
                   " WHERE id > ? ORDER BY id",
                   "u", after));
    while (more && (err = rows_next(&q)) == ERR_OK) {
        struct letter l = {.id = rows_u64(&q, 0),
                           .log_id = rows_u64(&q, 1),
                           .pos = rows_u64(&q, 2),
                           .kind = (unsigned)rows_i64(&q, 3),
                           .shard = (uint16_t)rows_i64(&q, 4),
                           .kept_ms = rows_i64(&q, 5),
                           .attempts = (uint32_t)rows_i64(&q, 6),
                           .why = rows_str(&q, 7)};
        more = fn(arg, &l, (size_t)rows_u64(&q, 8));
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

/* The next letter of an entry behind `id`. Its body goes into the arena. */
static enum err next_entry(struct db *d, const struct conv_id *c, uint64_t id, struct arena *a, struct letter *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT id, log_id, pos, body FROM letters WHERE subject = ? AND id > ? AND kind = ?"
                   " ORDER BY id LIMIT 1",
                   "xui", str_of(c->b, sizeof c->b), id, (int64_t)RECORD_ENTRY));
    TRY(rows_next(&q));
    *out = (struct letter){.id = rows_u64(&q, 0),
                           .log_id = rows_u64(&q, 1),
                           .pos = rows_u64(&q, 2),
                           .body = arena_dup(a, rows_str(&q, 3))};
out:
    rows_end(&q);
    return err;
}

static const struct entry *stub_of(const struct erase_record *e, uint64_t seq)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->stubs[i].seq == seq)
            return &e->stubs[i];
    return NULL;
}

static enum err put_stub(struct db *d, struct letter *l, const struct entry *stub, size_t *changed)
{
    struct buf bytes = {0};
    enum err err = ERR_OK;

    record_encode(&(struct record){.kind = RECORD_ENTRY, .entry = *stub}, &bytes);
    if (!str_eq(buf_get(&bytes), l->body)) {
        l->body = buf_get(&bytes);
        TRY(db_run(d, "UPDATE letters SET body = ?, sum = ? WHERE id = ?", "xuu", l->body, sum_of(l), l->id));
        ++*changed;
    }
out:
    buf_deinit(&bytes);
    return err;
}

static enum err erase_one(struct db *d, const struct erase_record *e, struct letter *l, struct arena *a,
                          size_t *changed)
{
    const struct entry *stub;
    struct record r;
    enum err err = ERR_OK;

    if (record_decode(RECORD_ENTRY, l->body, a, &r) != ERR_OK) {
        log_warn("letter_dropped", "id=%" PRIu64 " why=\"its conversation had an erasing, and it cannot be read\"",
                 l->id);
        TRY(letters_drop(d, l->id));
        ++*changed;
    } else if ((stub = stub_of(e, r.entry.seq)) != NULL) {
        TRY(put_stub(d, l, stub, changed));
    }
out:
    return err;
}

enum err letters_erase(struct db *d, const struct erase_record *e, size_t *changed)
{
    struct arena arena = {0};
    struct letter l = {0};
    enum err err;

    *changed = 0;
    while ((err = next_entry(d, &e->conv, l.id, &arena, &l)) == ERR_OK) {
        TRY(erase_one(d, e, &l, &arena, changed));
        arena_deinit(&arena);
        arena = (struct arena){0};
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    arena_deinit(&arena);
    return err;
}

enum err letters_erase_before(struct db *d, int64_t ms)
{
    return db_run(d, "DELETE FROM letters WHERE kept < ?", "i", ms);
}

enum err letters_erase_subject(struct db *d, struct str subject)
{
    return db_run(d, "DELETE FROM letters WHERE subject = ?", "x", subject);
}

enum err letters_drop_rebuilt(struct db *d)
{
    return db_run(d, "DELETE FROM letters WHERE shard IN (SELECT shard FROM rebuild WHERE what & 1 AND conv IS NULL)",
                  "");
}
