#include "services/tables_state.h"
#include "base/log.h"
#include "schema/apply.h"
#include "schema/applied.h"
#include "schema/letters.h"
#include "services/world.h"
#include <inttypes.h>

enum { CHECKPOINT_PAGES = 2048 /* 8 MiB */ };

static size_t find(const struct tables *t, uint64_t log_id)
{
    size_t i = 0;

    while (i < t->n && t->at[i].log_id != log_id)
        i++;
    return i;
}

static size_t find_or_add(struct tables *t, uint64_t log_id)
{
    size_t i = find(t, log_id);

    if (i < t->n)
        return i;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 8;
        t->at = mem_realloc(t->at, t->cap * sizeof *t->at);
        t->next = mem_realloc(t->next, t->cap * sizeof *t->next);
    }
    t->at[t->n] = (struct tables_position){.log_id = log_id};
    t->next[t->n] = (struct next){0};
    return t->n++;
}

static void load_applied(void *arg, uint64_t log_id, uint64_t pos)
{
    struct tables *t = arg;
    size_t i = find_or_add(t, log_id);

    t->at[i].applied = t->at[i].durable = t->next[i].applied = pos;
}

static void load_owed(void *arg, uint64_t log_id, uint64_t pos)
{
    struct tables *t = arg;
    size_t i = find_or_add(t, log_id);

    t->at[i].owed = t->at[i].owed_durable = t->next[i].owed = pos;
}

void tables_note_stale(struct tables *t)
{
    if (!t->stale_ms)
        t->stale_ms = env_now_ms(t->env);
}

/* A process that was killed leaves its write-ahead file. Somebody who reads may keep it from being emptied now. */
static enum err open_truncated(struct tables *t)
{
    enum err err;

    TRY(db_checkpoint(t->db));
    err = db_truncate(t->db);
    if (err == ERR_AGAIN) {
        tables_note_stale(t);
        err = ERR_OK;
    }
out:
    return err;
}

/* What a process left that ended without a checkpoint is durable only after one of ours. */
enum err tables_open(struct env *env, const char *path, struct tables **out, char **why)
{
    struct tables *t = mem_new(struct tables);
    struct buf text = {0};
    enum err err;

    t->env = env;
    TRY(db_open(path, &t->db));
    TRY(open_truncated(t));
    TRY(applied_each(t->db, load_applied, t));
    TRY(owed_rows_each_position(t->db, load_owed, t));
    TRY(letters_total(t->db, &t->letters));
    TRY(tables_rebuild_load(t));
    *out = t;
    return ERR_OK;
out:
    buf_printf(&text, "%s: %s%s%s", path, err_text(err), t->db ? ": " : "", t->db ? db_why(t->db) : "");
    buf_char(&text, '\0');
    *why = text.p;
    tables_close(t);
    return err;
}

void tables_close(struct tables *t)
{
    if (!t)
        return;
    if (t->db && tables_checkpoint(t) != ERR_OK)
        log_warn("tables_not_checkpointed", "effect=\"the logs are replayed at the next start\"");
    db_close(t->db);
    arena_deinit(&t->arena);
    mem_free(t->at);
    mem_free(t->next);
    mem_free(t);
}

struct db *tables_db(struct tables *t) { return t->db; }

struct tables_position tables_position(const struct tables *t, uint64_t log_id)
{
    size_t i = find(t, log_id);
    return i < t->n ? t->at[i] : (struct tables_position){.log_id = log_id};
}

const struct tables_position *tables_positions(const struct tables *t, size_t *n)
{
    *n = t->n;
    return t->at;
}

/* Transactions. */
enum err tables_begin(struct tables *t) { return db_begin(t->db); }

/* The record's own fault, which another try does not heal: its bytes, or a row that it contradicts. All else is the
 * world's, and of SQLite's file. */
static enum err fault_of(struct tables *t, enum err decoded, enum err applied)
{
    t->cause = decoded != ERR_OK ? decoded : applied;
    return decoded != ERR_OK || applied == ERR_EXISTS ? ERR_INVALID : applied;
}

/* As a whole or not at all; what is already in the transaction stays. */
static enum err apply_whole(struct tables *t, const struct record *r)
{
    enum err applied, err;

    TRY(db_run(t->db, "SAVEPOINT record", ""));
    applied = apply_record(t->db, r);
    if (applied == ERR_EXISTS)
        TRY(db_run(t->db, "ROLLBACK TO record", ""));
    else
        TRY(applied);
    TRY(db_run(t->db, "RELEASE record", ""));
    err = applied;
out:
    return err;
}

/* A record that is passed over counts as what it would have written: whoever measures how far the tables are behind
 * counted it when it was appended. */
static void count_rows(struct tables *t, const struct log_record *r)
{
    struct record record;

    if (record_decode(r->kind, r->body, &t->arena, &record) == ERR_OK)
        t->rows += record_table_rows(&record);
    arena_deinit(&t->arena);
    t->arena = (struct arena){0};
}

/* It needs no savepoint: it contradicts no row. */
static enum err erase(struct tables *t, const struct erase_record *e)
{
    size_t changed = 0;
    enum err err = ERR_OK;

    if (t->letters.n == 0)
        return ERR_OK;
    TRY(letters_erase(t->db, e, &changed));
    if (changed) {
        tables_note_stale(t);
        TRY(letters_total(t->db, &t->letters));
    }
out:
    return err;
}

static enum err apply_now(struct tables *t, const struct log_record *r)
{
    struct record record;
    enum err decoded = record_decode(r->kind, r->body, &t->arena, &record), applied = ERR_OK;

    if (decoded == ERR_OK) {
        t->rows += record_table_rows(&record);
        if (record.kind == RECORD_ERASE)
            applied = erase(t, &record.erase);
        else if (record_is_for_tables(&record))
            applied = apply_whole(t, &record);
        if (record.kind == RECORD_PROFILE)
            tables_note_stale(t);
    }
    arena_deinit(&t->arena);
    t->arena = (struct arena){0};
    return fault_of(t, decoded, applied);
}

static enum err keep(struct tables *t, const struct log_record *r, unsigned attempts, struct str why)
{
    struct letter l = {.log_id = r->log_id,
                       .pos = r->pos,
                       .kind = r->kind,
                       .shard = r->shard,
                       .kept_ms = env_now_ms(t->env),
                       .attempts = attempts,
                       .why = why,
                       .body = r->body};
    enum err err = letters_put(t->db, &l, &t->letters);

    if (err == ERR_OK)
        t->kept++;
    return err;
}

enum err tables_apply(struct tables *t, const struct log_record *r, bool *is_kept)
{
    enum err err = ERR_OK;

    *is_kept = false;
    if (tables_rebuild_skips(t, r)) {
        count_rows(t, r);
        return ERR_OK;
    }
    if (t->letters.n && r->kind != RECORD_ERASE)
        TRY(letters_hold(t->db, record_subject(r->kind, r->body), is_kept));
    if (*is_kept) {
        count_rows(t, r);
        return keep(t, r, 0, STR("an earlier record of the same subject is a letter"));
    }
    err = apply_now(t, r);
out:
    if (err != ERR_OK && err != ERR_LIMIT)
        log_warn("tables_apply_failed", "log=%016" PRIx64 " offset=%" PRIu64 " kind=%u err=%s", r->log_id, r->pos,
                 r->kind, err_name(err == ERR_INVALID ? t->cause : err));
    return err;
}

enum err tables_keep_letter(struct tables *t, const struct log_record *r, unsigned attempts)
{
    enum err cause = t->cause, err = keep(t, r, attempts, str_c(err_text(cause)));

    if (err == ERR_OK)
        log_error("letter_kept", "log=%016" PRIx64 " offset=%" PRIu64 " kind=%u attempts=%u err=%s", r->log_id, r->pos,
                  r->kind, attempts, err_name(cause));
    return err;
}

struct letters_total tables_letters(const struct tables *t) { return t->letters; }

uint64_t tables_letters_kept(const struct tables *t) { return t->kept; }

/* What a letter was made from, applied in its transaction. */
static enum err deliver(struct tables *t, uint64_t id, const struct letter *l)
{
    struct log_record r = {
        .log_id = l->log_id, .pos = l->pos, .kind = (uint8_t)l->kind, .shard = l->shard, .body = l->body};
    enum err err;

    TRY(tables_begin(t));
    TRY(apply_now(t, &r));
    TRY(letters_drop(t->db, id));
    tables_note_stale(t);
    TRY(tables_end(t));
out:
    if (err != ERR_OK)
        tables_abandon(t);
    return err;
}

static enum err note_try(struct tables *t, uint64_t id)
{
    enum err err;

    TRY(tables_begin(t));
    TRY(letters_tried(t->db, id, str_c(err_text(t->cause))));
    TRY(tables_end(t));
out:
    if (err != ERR_OK)
        tables_abandon(t);
    return err;
}

enum err tables_letter_replay(struct tables *t, uint64_t id, uint64_t *first)
{
    struct arena arena = {0};
    struct letter l;
    enum err err, noted;

    TRY(letters_first(t->db, id, first));
    TRY(*first == id ? ERR_OK : ERR_AGAIN);
    TRY(letters_get(t->db, id, &arena, &l));
    err = deliver(t, id, &l);
    if (err == ERR_INVALID) {
        noted = note_try(t, id);
        err = noted == ERR_OK ? ERR_INVALID : noted;
    }
    TRY(err);
    log_info("letter_replayed", "id=%" PRIu64 " log=%016" PRIx64 " offset=%" PRIu64, id, l.log_id, l.pos);
    err = letters_total(t->db, &t->letters);
out:
    arena_deinit(&arena);
    return err;
}

enum err tables_letter_drop(struct tables *t, uint64_t id)
{
    uint64_t first;
    enum err err;

    TRY(letters_first(t->db, id, &first)); /* NOT_FOUND */
    TRY(tables_begin(t));
    TRY(letters_drop(t->db, id));
    tables_note_stale(t);
    TRY(tables_end(t));
    log_warn("letter_dropped", "id=%" PRIu64, id);
    err = letters_total(t->db, &t->letters);
out:
    if (err != ERR_OK)
        tables_abandon(t);
    return err;
}

uint64_t tables_rows(const struct tables *t) { return t->rows; }

enum err tables_reached(struct tables *t, uint64_t log_id, uint64_t pos)
{
    size_t i = find_or_add(t, log_id);
    enum err err;

    TRY(applied_put(t->db, log_id, pos));
    t->next[i].applied = pos;
out:
    return err;
}

enum err tables_owe(struct tables *t, const struct owed_row *o)
{
    return o->clear ? owed_rows_clear(t->db, o->user, &o->conv, o->last_seq) : owed_rows_add(t->db, o);
}

enum err tables_owed_reached(struct tables *t, uint64_t log_id, uint64_t pos)
{
    size_t i = find_or_add(t, log_id);
    enum err err;

    TRY(owed_rows_reached(t->db, log_id, pos));
    if (pos > t->next[i].owed) /* what was owed may have been detached meanwhile */
        t->next[i].owed = pos;
out:
    return err;
}

void tables_abandon(struct tables *t)
{
    db_rollback(t->db);
    tables_rebuild_end(t, false);
    for (size_t i = 0; i < t->n; i++)
        t->next[i] = (struct next){t->at[i].applied, t->at[i].owed};
    if (letters_total(t->db, &t->letters) !=
        ERR_OK) /* SQLite reads nothing now: whatever comes next is asked about letters */
        t->letters = (struct letters_total){.n = LETTERS_MAX};
}

enum err tables_end(struct tables *t)
{
    enum err err = db_commit(t->db);

    if (err != ERR_OK) {
        tables_abandon(t);
        return err;
    }
    t->is_dirty = true;
    tables_rebuild_end(t, true);
    for (size_t i = 0; i < t->n; i++) {
        t->at[i].applied = t->next[i].applied;
        t->at[i].owed = t->next[i].owed;
    }
    return ERR_OK;
}

static void all_is_durable(struct tables *t)
{
    for (size_t i = 0; i < t->n; i++) {
        t->at[i].durable = t->at[i].applied;
        t->at[i].owed_durable = t->at[i].owed;
    }
}

enum err tables_checkpoint(struct tables *t)
{
    enum err err;

    if (!t->is_dirty)
        return ERR_OK;
    TRY(db_checkpoint(t->db));
    t->is_dirty = false;
    all_is_durable(t);
out:
    return err;
}

enum err tables_sync(struct tables *t)
{
    enum err err;

    if (!t->is_dirty)
        return ERR_OK;
    TRY(db_sync(t->db));
    all_is_durable(t);
out:
    return err;
}

int64_t tables_stale_since(const struct tables *t) { return t->stale_ms; }

enum err tables_truncate(struct tables *t)
{
    enum err err;

    TRY(db_truncate(t->db));
    t->is_dirty = false;
    all_is_durable(t);
    t->stale_ms = 0;
out:
    return err;
}

bool tables_checkpoint_is_due(const struct tables *t) { return db_wal_pages(t->db) >= CHECKPOINT_PAGES; }

/* Recovery. The transactions are bounded, so that a long log does not make a write-ahead file as long. */
enum { REPLAY_BATCH = 20000 };

struct replay {
    struct tables *t;
    uint64_t log_id, failed_at, n;
};

static enum err replay_one(void *arg, const struct log_record *r)
{
    struct replay *p = arg;
    bool is_kept;
    enum err err;

    p->failed_at = r->pos;
    err = tables_apply(p->t, r, &is_kept);
    TRY(err == ERR_INVALID ? tables_keep_letter(p->t, r, 1) : err);
    if (++p->n % REPLAY_BATCH)
        return ERR_OK;
    TRY(tables_reached(p->t, p->log_id, r->next));
    TRY(tables_end(p->t));
    TRY(tables_checkpoint(p->t));
    TRY(tables_begin(p->t));
    p->failed_at = r->next;
out:
    return err;
}

enum err tables_replay(struct tables *t, const char *log_dir, uint64_t log_id, uint64_t end, char **why)
{
    uint64_t from = tables_position(t, log_id).applied;
    struct replay p = {t, log_id, from, 0};
    struct buf text = {0};
    enum err err;

    if (from >= end)
        return ERR_OK;
    TRY(tables_begin(t));
    TRY(seglog_replay(t->env, log_dir, log_id, from, TOPIC_TABLES, replay_one, &p));
    TRY(tables_reached(t, log_id, end));
    TRY(tables_end(t));
    if (p.n)
        log_info("tables_replayed", "log=%016" PRIx64 " from=%" PRIu64 " to=%" PRIu64 " records=%" PRIu64, log_id, from,
                 end, p.n);
    return ERR_OK;
out:
    tables_abandon(t);
    buf_printf(&text, "log %016" PRIx64 " at offset %" PRIu64 " cannot be applied to the tables: %s", log_id,
               p.failed_at,
               err == ERR_LIMIT ? "there are too many dead letters; see `parley dead list`, replay or drop some"
                                : err_text(err));
    buf_char(&text, '\0');
    *why = text.p;
    return err;
}

static bool is_among(uint64_t log_id, const uint64_t *log_ids, size_t n)
{
    while (n > 0 && log_ids[n - 1] != log_id)
        n--;
    return n > 0;
}

static enum err forget(struct tables *t, size_t i)
{
    enum err err;

    TRY(applied_forget(t->db, t->at[i].log_id));
    TRY(owed_rows_forget(t->db, t->at[i].log_id));
out:
    return err;
}

enum err tables_keep(struct tables *t, const uint64_t *log_ids, size_t n)
{
    size_t kept = 0;
    enum err err;

    TRY(tables_begin(t));
    for (size_t i = 0; i < t->n; i++) {
        if (!is_among(t->at[i].log_id, log_ids, n))
            TRY(forget(t, i));
    }
    TRY(tables_end(t));
    for (size_t i = 0; i < t->n; i++) {
        if (is_among(t->at[i].log_id, log_ids, n)) {
            t->at[kept] = t->at[i];
            t->next[kept++] = t->next[i];
        }
    }
    t->n = kept;
out:
    db_rollback(t->db);
    return err;
}
