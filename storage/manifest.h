/* manifest: which tables are live and how far each log is in them: the store's one root, switched as a whole.
 *
 * Thread: none of its own. Memory: a manifest owns its arrays; zeroed it is empty and valid. */
#pragma once
#include "base/buf.h"
#include "base/fs.h"

struct positions {
    struct log_position {
        uint64_t log_id, pos;
    } * v;
    size_t n;
};
void positions_deinit(struct positions *p);
uint64_t positions_get(const struct positions *p, uint64_t log_id); /* 0 when unknown */
void positions_set(struct positions *p, uint64_t log_id, uint64_t pos);
void positions_forget(struct positions *p, uint64_t log_id);
void positions_copy(const struct positions *from, struct positions *out); /* frees what *out had */
bool positions_eq(const struct positions *a, const struct positions *b);

struct manifest {
    uint64_t generation; /* how often it was switched */
    int64_t erased_ms;   /* the oldest erasing of which an older version may be in a table; 0: none */
    uint64_t next_table; /* ids below it were given away, to live tables or others */
    struct manifest_table {
        uint64_t id, bytes;
    } * tables; /* newest first */
    size_t n_tables;
    struct positions durable;
};
void manifest_deinit(struct manifest *m);
void manifest_encode(const struct manifest *m, struct buf *out);
/* CORRUPT, UNSUPPORTED. */
MUST_CHECK enum err manifest_decode(struct str bytes, struct manifest *out);
/* DIR/MANIFEST. NOT_FOUND, CORRUPT, UNSUPPORTED, IO. */
MUST_CHECK enum err manifest_read(struct fs *fs, const char *dir, struct manifest *out);
/* Replaces it: after a crash the old or the new one is there. */
MUST_CHECK enum err manifest_switch(struct fs *fs, const char *dir, struct str encoded);
