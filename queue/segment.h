/* segment: the bytes of a log's files, and their names. The essay on both stands in seglog.c.
 *
 * Thread: functions on the caller's memory. Paths are the caller's to mem_free. */
#pragma once
#include "queue/seglog.h"

enum {
    SEGMENT_HEADER = 64,
    BATCH_HEADER = 64,
    RECORD_HEADER = 16,
    BATCH_ALIGN = 64,    /* where batches start */
    BATCH_MAX = 1 << 20, /* records are put together up to this; a larger one is a batch alone */
    BODY_MAX = (1 << 20) + (64 << 10),
    SEGMENT_MIN = 4096,
    SEGMENT_MAX = 1 << 30,
};

struct segment_header {
    uint64_t log_id, generation, number, start;
};
struct batch {
    uint64_t log_id, generation, offset; /* of the file */
    uint64_t pos, durable;
    uint32_t bytes; /* of records */
    uint8_t topics;
};

static inline uint64_t batch_end(uint64_t offset, uint64_t bytes)
{
    return (offset + BATCH_HEADER + bytes + BATCH_ALIGN - 1) & ~(uint64_t)(BATCH_ALIGN - 1);
}

void segment_header_write(uint8_t out[SEGMENT_HEADER], const struct segment_header *h);
/* CORRUPT; UNSUPPORTED: whole, but of a version from the future. */
MUST_CHECK enum err segment_header_read(const uint8_t in[SEGMENT_HEADER], struct segment_header *h);

void batch_write(uint8_t out[BATCH_HEADER], const struct batch *b);
/* Whether a batch of this segment begins here. */
bool batch_read(const uint8_t in[BATCH_HEADER], const struct segment_header *of, uint64_t offset, struct batch *b);

/* Whether nothing stands where a batch would begin: zeros, as far as the file goes. There a log ends. */
bool segment_ends_at(const uint8_t *bytes, uint64_t size, uint64_t offset);

/* Writes a record of RECORD_HEADER + r->body.len bytes; log_id and pos of r are bound into its checksum. */
void record_write(uint8_t *out, const struct log_record *r);
/* Reads the record that begins at in[0] and should be the one of log_id and pos; false: it is not, or is damaged. */
bool record_read(const uint8_t *in, size_t n, uint64_t log_id, uint64_t pos, struct log_record *r);

char *segment_log_dir(const char *dir, uint64_t log_id);
char *segment_path(const char *dir, uint64_t log_id, uint64_t number);
char *segment_ready_dir(const char *dir);
char *segment_ready_path(const char *dir, uint64_t id, const char *suffix);
/* The number that a file's name says: 16 hexadecimal digits, then `suffix`. */
bool segment_name_parse(const char *name, const char *suffix, uint64_t *number);
/* The numbers so named in a folder, ascending (mem_free). NOT_FOUND: no such folder. */
MUST_CHECK enum err segment_list(struct fs *fs, const char *dir, const char *suffix, uint64_t **numbers, size_t *n);
