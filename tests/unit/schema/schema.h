/* What the tests of the schema share: a database in a folder of its own. */
#pragma once
#include "base/mem.h"
#include "schema/apply.h"
#include "tests/lib/unit.h"
#include <sqlite3.h>
#include <unistd.h>

struct fixture {
    char folder[64], path[96];
    struct db *db;
    struct arena arena;
};

static inline void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.folder = "/tmp/parley-schema-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/tables.db", f->folder);
    assert_ok(db_open(f->path, &f->db));
}

static inline void fixture_deinit(struct fixture *f)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];

    db_close(f->db);
    arena_deinit(&f->arena);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", f->path, ends[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
}

/* Applies in a transaction of its own. */
static inline void apply(struct fixture *f, const struct record *r)
{
    assert_ok(db_begin(f->db));
    assert_ok(apply_record(f->db, r));
    assert_ok(db_commit(f->db));
}

/* Everything that the tables hold, as text. */
static inline struct str dump(struct fixture *f)
{
    static const char *const tables[] = {"users",         "devices",  "chats",  "groups",
                                         "group_members", "contacts", "blocks", "owed"};
    struct buf out = {0};

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        sqlite3 *h;
        sqlite3_stmt *s;
        char sql[64];

        snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY 1, 2", tables[t]);
        assert_ok(sqlite3_open(f->path, &h));
        assert_ok(sqlite3_prepare_v2(h, sql, -1, &s, NULL));
        while (sqlite3_step(s) == SQLITE_ROW) {
            buf_printf(&out, "%s", tables[t]);
            for (int i = 0; i < sqlite3_column_count(s); i++) {
                const unsigned char *p = sqlite3_column_blob(s, i);
                buf_char(&out, '|');
                for (int j = 0; j < sqlite3_column_bytes(s, i); j++)
                    buf_printf(&out, "%02x", p[j]);
            }
            buf_char(&out, '\n');
        }
        sqlite3_finalize(s);
        sqlite3_close(h);
    }
    struct str kept = arena_dup(&f->arena, buf_get(&out));
    buf_deinit(&out);
    return kept;
}

static inline struct conv_id conv(uint8_t n)
{
    struct conv_id c = {{n, 1, 2, 3}};
    return c;
}
