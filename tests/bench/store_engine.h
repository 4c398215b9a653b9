/* store_engine: what bench_store asks of an engine: the same questions to each, answered in the way that suits it best.
 *
 * Thread: one asks; an engine may have threads of its own, and their CPU is counted. */
#pragma once
#include "base/mem.h"

enum { ENGINE_PREFIX = 18, ENGINE_MEMTABLES_BYTES = 64 << 20 /* what memtables may take, all together */ };

struct engine_put {
    struct str key, value;
};
struct engine {
    const char *name;
    void *(*open)(const char *dir, size_t cache_bytes);
    void (*close)(void *e);
    /* One batch, atomic. Waits, asleep, while the engine is behind. */
    void (*write)(void *e, const struct engine_put *puts, size_t n);
    /* Until all is in tables and no compaction is left to do. */
    void (*settle)(void *e);
    /* Whether the key is there; its value is looked at. */
    bool (*get)(void *e, struct str key);
    /* The keys of [from, to), which are `max` at most: how many; values are looked at. */
    size_t (*scan)(void *e, struct str from, struct str to, size_t max);
    void (*describe)(void *e); /* prints what only this engine can say; may be NULL */
};
extern const struct engine engine_parley, engine_rocksdb, engine_leveldb;

/* Ends the program: a benchmark that failed has no figures. */
_Noreturn void engine_failed(const char *engine, const char *what);
/* So that reading a value can't be left out: its first and last bytes. */
void engine_look(struct str value);
