/* block: a sorted run of keys and values in a few KiB, in memory and as it is sealed on the disk.
 *
 * Thread: a builder or an iterator belongs to one thread; a finished block is immutable. */
#pragma once
#include "base/buf.h"
#include "storage/cache.h"
#include "storage/iter.h"

enum {
    BLOCK_RESTART_EVERY = 4,
    BLOCK_KEY_MAX = 255,
    BLOCK_VALUE_MAX = 16 << 20,
    BLOCK_BYTES_MAX = 1 << 30,
    SEAL_BYTES = 13
};

/* Building: keys strictly ascending. A zeroed builder is empty and valid. */
struct block_builder {
    struct buf out, restarts;
    unsigned since_restart;
    size_t last_len;
    char last[BLOCK_KEY_MAX];
};
void block_builder_deinit(struct block_builder *b);
void block_builder_add(struct block_builder *b, struct str key, struct str value, bool is_tombstone);
bool block_builder_is_empty(const struct block_builder *b);
size_t block_builder_bytes(const struct block_builder *b);
struct str block_builder_last(const struct block_builder *b); /* the last key; borrowed until the next add */
struct str block_builder_finish(struct block_builder *b);     /* borrowed until block_builder_clear */
void block_builder_clear(struct block_builder *b);

/* Walking. `bytes` must outlive it; values are borrowed from them. Bytes that are no block end the walk with CORRUPT.
 * It may be copied at any time: a copy walks by itself. */
struct block_iter {
    const uint8_t *begin, *at, *end; /* the entries; `at` is the next one's */
    const uint8_t *restarts;
    uint32_t n_restarts;
    bool is_valid, is_tombstone;
    enum err err;
    struct str value;
    size_t key_len;
    char key[BLOCK_KEY_MAX];
};
void block_iter_init(struct block_iter *w, struct str bytes); /* stands on the first key */
void block_iter_seek(struct block_iter *w, struct str key);   /* to the first key at or after it */
/* The same when the caller knows more: the answer stands at restart point `lo` or behind it, and before `hi` or at it.
 */
void block_iter_seek_between(struct block_iter *w, struct str key, uint32_t lo, uint32_t hi);
/* The head (str_head) of the key at a restart point; 0 where the bytes are no entry. */
uint64_t block_iter_restart_head(const struct block_iter *w, uint32_t i);
void block_iter_next(struct block_iter *w);
static inline struct str block_iter_key(const struct block_iter *w) { return str_of(w->key, w->key_len); }

/* Sealing: payload (LZ4 where that makes it at least an eighth smaller and `compress`), kind, length, checksum. The
 * checksum covers where the block lies too, so a block in a wrong place is a damaged block. Appends to `out`. */
void block_seal(struct str raw, uint64_t table, uint64_t at, bool compress, struct buf *out);
/* The reverse, into a new block with one reference. CORRUPT, NOMEM. */
MUST_CHECK enum err block_unseal(struct str sealed, uint64_t table, uint64_t at, struct block **out);
