/* sst_write: writes a sorted table: immutable, ordered, with an index and a filter. The format stands in sst_write.c.
 *
 * Thread: one at a time. Memory: the index, and for the filter 8 bytes a hash until it is finished, or,
 * where it was said how many may come, the filter itself. */
#pragma once
#include "base/fs.h"
#include "storage/block.h"
#include "storage/bloom.h"

enum { SST_VERSION = 1, SST_FOOTER_BYTES = 40, SST_BLOCK_BYTES = 4 << 10, SST_BITS_LEAST = 10, SST_BITS_MOST = 16 };
#define SST_MAGIC 0x31545353594c5250u /* "PRLYSST1" */

struct sst_writer {
    struct file *file; /* borrowed, empty */
    uint64_t table;
    size_t filter_prefix;
    bool compress;
    uint64_t written, synced; /* bytes of the file */
    struct buf pending;       /* sealed, not yet written */
    struct block_builder data, index;
    struct buf first;  /* the least key */
    struct buf hashes; /* uint64_t each: what goes into the filter, unless it is built as they come */
    struct bloom_builder bloom;
    uint64_t last_prefix; /* hash of the prefix that was added last */
    uint64_t entries, tombstones, blocks;
};
/* Bits a hash in the filter of a table of so many: 16 of up to 2^18, 10 of more than 2^22. A question for a key that is
 * nowhere, such as every new message's cid, goes to all tables, and nearly all of these are small, while nearly all
 * keys are in the large ones; so most wrong answers are spared where bits cost least (Dayan, Athanassoulis, Idreos:
 * Monkey, SIGMOD 2017). */
unsigned sst_filter_bits(uint64_t hashes);
/* How many hashes a filter holds, of a table of so many entries: at least, and as a rule just as many. Of one that is
 * older than the rule and has many prefixes for its entries it may be 6 tenths; a merge of such has fewer bits a hash.
 */
uint64_t sst_filter_hashes(uint64_t filter_bytes, uint64_t entries);
/* compress: data blocks that LZ4 makes smaller are stored so. */
void sst_writer_init(struct sst_writer *w, struct file *file, uint64_t table, size_t filter_prefix, bool compress);
/* At most so many hashes (keys and prefixes) will come: the filter is built as they do. Before the first key. NOMEM. */
MUST_CHECK enum err sst_writer_expect(struct sst_writer *w, size_t hashes);
void sst_writer_deinit(struct sst_writer *w);
/* Keys strictly ascending. IO, FULL: the file is worth nothing any more. */
MUST_CHECK enum err sst_writer_add(struct sst_writer *w, struct str key, struct str value, bool is_tombstone);
/* Writes what is left and syncs the file (its folder is the caller's). At least one key was added. */
MUST_CHECK enum err sst_writer_finish(struct sst_writer *w);
static inline uint64_t sst_writer_bytes(const struct sst_writer *w) { return w->written + w->pending.len; }
