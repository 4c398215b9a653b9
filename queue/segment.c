#include "queue/segment.h"
#include "base/enc.h"
#include "base/hash.h"
#include <assert.h>
#include <inttypes.h>

/* Every header begins with the checksum of what follows; so does every record. */
enum { SUM = 8, VERSION = 1 };
#define SEGMENT_MAGIC UINT64_C(0x31474f4c594c5250) /* "PRLYLOG1" */
#define BATCH_MAGIC 0x48435442u                    /* "BTCH" */

_Static_assert((int)SEGMENT_HEADER == (int)BATCH_ALIGN && (int)BATCH_HEADER == (int)BATCH_ALIGN,
               "all stand on one grid");

void segment_header_write(uint8_t out[SEGMENT_HEADER], const struct segment_header *h)
{
    memset(out, 0, SEGMENT_HEADER);
    enc_u64(out + 8, SEGMENT_MAGIC);
    enc_u32(out + 16, VERSION);
    enc_u64(out + 24, h->log_id);
    enc_u64(out + 32, h->generation);
    enc_u64(out + 40, h->number);
    enc_u64(out + 48, h->start);
    enc_u64(out, hash_sum(out + SUM, SEGMENT_HEADER - SUM, 0));
}

enum err segment_header_read(const uint8_t in[SEGMENT_HEADER], struct segment_header *h)
{
    if (dec_u64(in) != hash_sum(in + SUM, SEGMENT_HEADER - SUM, 0) || dec_u64(in + 8) != SEGMENT_MAGIC)
        return ERR_CORRUPT;
    if (dec_u32(in + 16) != VERSION)
        return ERR_UNSUPPORTED;
    *h = (struct segment_header){dec_u64(in + 24), dec_u64(in + 32), dec_u64(in + 40), dec_u64(in + 48)};
    return ERR_OK;
}

void batch_write(uint8_t out[BATCH_HEADER], const struct batch *b)
{
    memset(out, 0, BATCH_HEADER);
    enc_u32(out + 8, BATCH_MAGIC);
    enc_u32(out + 12, b->bytes);
    out[16] = b->topics;
    enc_u64(out + 24, b->log_id);
    enc_u64(out + 32, b->generation);
    enc_u64(out + 40, b->offset);
    enc_u64(out + 48, b->pos);
    enc_u64(out + 56, b->durable);
    enc_u64(out, hash_sum(out + SUM, BATCH_HEADER - SUM, 0));
}

bool batch_read(const uint8_t in[BATCH_HEADER], const struct segment_header *of, uint64_t offset, struct batch *b)
{
    if (dec_u32(in + 8) != BATCH_MAGIC || dec_u64(in) != hash_sum(in + SUM, BATCH_HEADER - SUM, 0))
        return false;
    *b = (struct batch){
        .log_id = dec_u64(in + 24),
        .generation = dec_u64(in + 32),
        .offset = dec_u64(in + 40),
        .pos = dec_u64(in + 48),
        .durable = dec_u64(in + 56),
        .bytes = dec_u32(in + 12),
        .topics = in[16],
    };
    return b->log_id == of->log_id && b->generation == of->generation && b->offset == offset;
}

bool segment_ends_at(const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    static const uint8_t zeros[BATCH_HEADER];
    uint64_t left = offset < size ? size - offset : 0;

    return left == 0 || memcmp(bytes + offset, zeros, left < BATCH_HEADER ? left : BATCH_HEADER) == 0;
}

/* Neighbouring logs and positions must not share seeds: ids and positions are often small numbers. */
static uint64_t record_sum(const uint8_t *record, size_t n, uint64_t log_id, uint64_t pos)
{
    return hash_sum(record + SUM, n - SUM, hash_u64(log_id + 1) ^ pos);
}

void record_write(uint8_t *out, const struct log_record *r)
{
    enc_u32(out + 8, (uint32_t)r->body.len);
    out[12] = r->kind;
    out[13] = r->topics;
    enc_u16(out + 14, r->shard);
    if (r->body.len)
        memcpy(out + RECORD_HEADER, r->body.p, r->body.len);
    enc_u64(out, record_sum(out, RECORD_HEADER + r->body.len, r->log_id, r->pos));
}

bool record_read(const uint8_t *in, size_t n, uint64_t log_id, uint64_t pos, struct log_record *r)
{
    if (n < RECORD_HEADER)
        return false;
    size_t len = dec_u32(in + 8);
    if (len > n - RECORD_HEADER || dec_u64(in) != record_sum(in, RECORD_HEADER + len, log_id, pos))
        return false;
    *r = (struct log_record){
        .log_id = log_id,
        .pos = pos,
        .next = pos + RECORD_HEADER + len,
        .kind = in[12],
        .topics = in[13],
        .shard = dec_u16(in + 14),
        .body = str_of(in + RECORD_HEADER, len),
    };
    return true;
}

char *segment_log_dir(const char *dir, uint64_t log_id)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%016" PRIx64 "%c", dir, log_id, 0);
    return b.p;
}

char *segment_path(const char *dir, uint64_t log_id, uint64_t number)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%016" PRIx64 "/%016" PRIx64 ".seg%c", dir, log_id, number, 0);
    return b.p;
}

char *segment_ready_dir(const char *dir)
{
    struct buf b = {0};
    buf_printf(&b, "%s/ready%c", dir, 0);
    return b.p;
}

char *segment_ready_path(const char *dir, uint64_t id, const char *suffix)
{
    struct buf b = {0};
    buf_printf(&b, "%s/ready/%016" PRIx64 "%s%c", dir, id, suffix, 0);
    return b.p;
}

bool segment_name_parse(const char *name, const char *suffix, uint64_t *number)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++, name++) {
        const char *digits = "0123456789abcdef", *d = *name ? strchr(digits, *name) : NULL;
        if (!d)
            return false;
        v = v << 4 | (uint64_t)(d - digits);
    }
    *number = v;
    return strcmp(name, suffix) == 0;
}

struct listing {
    const char *suffix;
    uint64_t *numbers;
    size_t n, cap;
};

static void list_one(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t number;

    if (!segment_name_parse(name, l->suffix, &number))
        return;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->numbers = mem_realloc(l->numbers, l->cap * sizeof l->numbers[0]);
    }
    l->numbers[l->n++] = number;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

enum err segment_list(struct fs *fs, const char *dir, const char *suffix, uint64_t **numbers, size_t *n)
{
    struct listing l = {.suffix = suffix};
    enum err err = fs_list(fs, dir, list_one, &l);

    if (err != ERR_OK) {
        mem_free(l.numbers);
        return err;
    }
    if (l.n)
        qsort(l.numbers, l.n, sizeof l.numbers[0], by_value);
    *numbers = l.numbers;
    *n = l.n;
    return ERR_OK;
}
