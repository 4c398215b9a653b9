/* sst_read: an open sorted table: finds blocks, loads them, walks them.
 *
 * In memory while open: the filter (10 to 16 bits a key), the index (one short key a block: about a byte an entry of
 * 200 bytes), a file handle. Thread: sst_load from any; everything else is pure and shared; `refs` and `is_merging` are
 * the store owner's. */
#pragma once
#include "base/fs.h"
#include "storage/block.h"

struct sst {
    uint64_t id, cache_id; /* cache_id: the table's number in the block cache */
    uint64_t bytes, entries, tombstones, blocks;
    struct str first, last; /* the least and the greatest key */
    size_t filter_prefix;
    struct str filter; /* aligned to its lines */
    struct str index;
    uint64_t *heads; /* of the keys at the index's restart points: side by side, where a search begins */
    char *filter_memory, *index_memory, *path; /* the first two: mem_pages */
    struct fs *fs;
    struct file *file;
    uint64_t data_end;
    _Atomic bool is_damage_said;
    unsigned refs;
    bool is_merging;
};
/* The file's name for an id: 16 hex digits and .sst; mem_free it. */
char *sst_path(const char *dir, uint64_t id);
/* Opens DIR/<id>.sst, which must have `bytes` bytes (0: any); one reference. CORRUPT (missing, too short, damaged), IO,
 * NOMEM, UNSUPPORTED, with a sentence naming the file appended to *why. */
MUST_CHECK enum err sst_open(struct fs *fs, const char *dir, uint64_t id, uint64_t bytes, struct sst **out,
                             struct buf *why);
void sst_close(struct sst *t);
/* Reads and checks a block. CORRUPT and IO are logged once a table, naming the file. */
MUST_CHECK enum err sst_load(struct sst *t, uint64_t at, uint32_t len, struct block **out);
/* The same from bytes that were read already. */
MUST_CHECK enum err sst_unseal(struct sst *t, struct str sealed, uint64_t at, struct block **out);
/* Tells the disk that a block will be loaded soon. */
void sst_ahead(struct sst *t, uint64_t at, uint32_t len);
/* Could the table hold this key, or any key that starts with this prefix of filter_prefix bytes? */
bool sst_may_have(const struct sst *t, struct str key, uint64_t hash);
/* Could it hold a key in [from, to)? An empty `to` has no end. */
bool sst_may_have_range(const struct sst *t, struct str from, struct str to);

/* Puts `out` on the index entry of the first block whose last key is at or after a key. */
void sst_index_seek(const struct sst *t, struct str key, struct block_iter *out);
/* The block that an index entry names; false when it is no place in this table. */
bool sst_index_place(const struct sst *t, const struct block_iter *index, uint64_t *at, uint32_t *len);

/* Where a walk gets its blocks: the cache, or the file in large pieces. */
struct sst_source {
    /* A reference to the block that `index` stands on. AGAIN when it is not in memory and may not be waited for. */
    enum err (*get)(struct sst_source *s, struct sst *t, const struct block_iter *index, struct block **out);
};
struct sst_iter {
    struct iter it;
    struct sst *table;
    struct sst_source *source;
    struct block *block;
    struct block_iter index, data;
};
/* From the first key at or after `from`. */
void sst_iter_init(struct sst_iter *w, struct sst *t, struct sst_source *source, struct str from);
void sst_iter_deinit(struct sst_iter *w);
