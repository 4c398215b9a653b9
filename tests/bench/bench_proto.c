/* What a message costs in proto/: microseconds of one core, best of five. `make bench-proto`. */
#include "proto/args_internal.h"
#include "proto/jsonw.h"
#include "proto/record.h"
#include <time.h>

enum { ROUNDS = 200000, TRIES = 5 };

static const char frame[] =
    "{\"id\":1234,\"op\":\"message.send\",\"conv\":\"c6x2m9k4tq0r8z3n5w7v1b2d4fh\",\"cid\":\"3f9a1c5e7b2d4f60\","
    "\"content\":{\"type\":\"text\",\"text\":\"The quick brown fox jumps over the lazy dog, and then some more.\"}}";
static const char receipt[] =
    "{\"id\":1234,\"op\":\"receipt\",\"conv\":\"c6x2m9k4tq0r8z3n5w7v1b2d4fh\",\"delivered\":123456,\"read\":123456}";

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct record record;
static struct buf out;

static void run_scan(struct str text)
{
    struct scan s;

    must(scan_text(&s, text));
}

/* With the arena in place, as in the server, where the frame is copied into it anyway. */
static void parse(struct str text, bool slowly)
{
    struct request r = {0};
    struct frame_head head = {0};
    char *first = arena_alloc(&r.arena, 1);

    must(first && (slowly ? args_slow(text, &r, &head) : args_parse_frame(text, &r, &head)) == CODE_OK);
    arena_deinit(&r.arena);
}
static void run_parse(struct str text) { parse(text, false); }
static void run_slow(struct str text) { parse(text, true); }

static void run_print(struct str text)
{
    (void)text;
    buf_clear(&out);
    entry_print(&record.entry, &out);
}
static void run_encode(struct str text)
{
    (void)text;
    buf_clear(&out);
    record_encode(&record, &out);
}
static void run_decode(struct str text)
{
    struct record r;

    must(record_decode(RECORD_ENTRY, text, NULL, &r) == ERR_OK);
}

static void measure(const char *name, void (*fn)(struct str), struct str text)
{
    double best = 1e9;

    for (int t = 0; t < TRIES; t++) {
        double start = now_us(), each;

        for (int i = 0; i < ROUNDS; i++)
            fn(text);
        each = (now_us() - start) / ROUNDS;
        best = each < best ? each : best;
    }
    printf("%-34s %4zu bytes  %6.3f us\n", name, text.len, best);
}

int main(void)
{
    struct str send = str_of(frame, sizeof frame - 1);
    struct buf bytes = {0}, event = {0};

    record = (struct record){.kind = RECORD_ENTRY};
    record.entry = (struct entry){
        .kind = ENTRY_MESSAGE,
        .conv_kind = CONV_PAIR,
        .seq = 123456,
        .from = 0x123456789abcdef0,
        .device = 7,
        .ts = 1764000000000,
        .ordinal = 123456,
        .cid = STR("3f9a1c5e7b2d4f60"),
        .peer = 9,
        .content =
            STR("{\"type\":\"text\",\"text\":\"The quick brown fox jumps over the lazy dog, and then some more.\"}"),
    };
    record_encode(&record, &bytes);
    entry_print(&record.entry, &event);
    measure("message.send: scanner alone", run_scan, send);
    measure("message.send: args_parse_frame", run_parse, send);
    measure("message.send: by jansson", run_slow, send);
    measure("receipt: args_parse_frame", run_parse, str_of(receipt, sizeof receipt - 1));
    measure("message: record_encode", run_encode, buf_get(&bytes));
    measure("message: record_decode", run_decode, buf_get(&bytes));
    measure("message: entry_print", run_print, buf_get(&event));
    buf_deinit(&bytes);
    buf_deinit(&event);
    buf_deinit(&out);
    return 0;
}
