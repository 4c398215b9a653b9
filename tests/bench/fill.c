/* fill: a data folder with many entries, made by the storage code itself and without a log: what a server would have
 * after it wrote them and stopped.
 *
 *   fill -d DIR -u USERS [-n ENTRIES] [-p PAIRS] [-h HUBS -s SPOKES]
 *
 * USERS is the file of `parley users seed`, whose accounts the tables of DIR have (a server ran since). Users 1 and 2,
 * 3 and 4, … of the first PAIRS pairs share ENTRIES evenly, as parley-load pairs them, in an order in which chats go on
 * at the same time: each round each of them has its next. The HUBS users behind them have a chat with each of the first
 * SPOKES, of which they wrote every entry, so that their devices have all; these are spread over the rounds.
 *
 * Texts of 64 bytes in words, so LZ4 finds as much as in people's. Prints entries, seconds and CPU an entry. */
#include "base/enc.h"
#include "base/loop.h"
#include "cmd/parley_load_users.h"
#include "proto/id.h"
#include "services/world.h"
#include "services/tables.h"
#include "storage/authority.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 2, BATCH = 1000, HUB_ENTRIES = 16, TEXT = 64, CID = 22 };

struct chat {
    user_id a, b;
    device_id of_a, of_b;
    struct conv_id id;
    uint16_t shard;
    bool is_hub;
    struct arena arena;
    struct authority now;
};

struct fill {
    const char *dir, *users_file;
    uint64_t entries, pairs, hubs, spokes;
    struct data_dir data;
    struct users users;
    struct loop *loop;
    struct pool *pool;
    struct block_cache *cache;
    struct lsm *stores[STORES_MAX];
    struct tables *tables;
    struct chat *chats;
    size_t n_chats;
    uint64_t log_id, pos, random, made;
};

static void must(enum err err, const char *why)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "fill: %s: %s\n", err_text(err), why ? why : "");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(struct fill *f)
{
    f->random = f->random * 6364136223846793005u + 1442695040888963407u;
    return f->random >> 33;
}

/* --- the folder --- */

static void open_stores(struct fill *f)
{
    char dir[4096], *why = NULL;

    must(loop_create(&f->loop), "loop");
    must(pool_create("fill", THREADS, 1000, &f->pool), "pool");
    block_cache_create(64 << 20, &f->cache);
    for (unsigned i = 0; i < f->data.n_stores; i++) {
        struct lsm_conf c = {.env = env_posix(),
                             .dir = dir,
                             .pool = f->pool,
                             .home = loop_mailbox(f->loop),
                             .cache = f->cache,
                             .filter_prefix = CONVLOG_FILTER_PREFIX};
        snprintf(dir, sizeof dir, "%s/stores/%s", f->dir, f->data.stores[i]);
        must(lsm_open(&c, &f->stores[i], &why), why);
    }
    snprintf(dir, sizeof dir, "%s/tables.db", f->dir);
    must(tables_open(env_posix(), dir, &f->tables, &why), why);
}

static void come_home(struct fill *f)
{
    mailbox_drain(loop_mailbox(f->loop));
    usleep(200);
}

static void flush_stores(struct fill *f)
{
    for (unsigned i = 0; i < f->data.n_stores; i++) {
        while (!lsm_is_clean(f->stores[i])) {
            enum err err = lsm_flush(f->stores[i]);
            must(err == ERR_AGAIN ? ERR_OK : err, "flush");
            come_home(f);
        }
    }
}

/* As a server that had the time would have left them. */
static void merge_stores(struct fill *f)
{
    for (unsigned i = 0; i < f->data.n_stores; i++) {
        struct lsm_stats s;
        do {
            come_home(f);
            lsm_stats(f->stores[i], &s);
        } while (s.merges || s.merge_debt);
    }
}

static void close_stores(struct fill *f)
{
    flush_stores(f);
    merge_stores(f);
    for (unsigned i = 0; i < f->data.n_stores; i++)
        lsm_close(f->stores[i]);
    tables_close(f->tables);
    pool_destroy(f->pool);
    mailbox_drain(loop_mailbox(f->loop));
    loop_destroy(f->loop);
    block_cache_destroy(f->cache);
}

/* --- who writes to whom --- */

static void make_chat(struct fill *f, size_t a, size_t b, bool is_hub)
{
    struct chat *c = &f->chats[f->n_chats++];
    bool ok = user_parse(f->users.v[a].id, &c->a) && user_parse(f->users.v[b].id, &c->b) &&
              device_parse(f->users.v[a].device, &c->of_a) && device_parse(f->users.v[b].device, &c->of_b);

    must(ok ? ERR_OK : ERR_INVALID, "a user's id");
    pair_conv(&f->data.keys, c->a, c->b, &c->id);
    c->shard = shard_of(&f->data, &c->id);
    c->is_hub = is_hub;
    c->now.id = c->id;
}

static void make_chats(struct fill *f)
{
    if (f->users.n < 2 * f->pairs + f->hubs || f->spokes > 2 * f->pairs)
        must(ERR_INVALID, "too few users");
    f->chats = mem_new_array(struct chat, f->pairs + f->hubs * f->spokes);
    for (size_t i = 0; i < f->pairs; i++)
        make_chat(f, 2 * i, 2 * i + 1, false);
    for (size_t h = 0; h < f->hubs; h++)
        for (size_t s = 0; s < f->spokes; s++)
            make_chat(f, 2 * f->pairs + h, s, true);
}

/* --- entries --- */

static struct str text_of(struct fill *f, char *out)
{
    static const char *const words[] = {"the ",  "of ",   "and ",    "tomorrow ", "what ", "I ",    "you ",  "is ",
                                        "it ",   "no ",   "maybe ",  "see ",      "at ",   "home ", "late ", "was ",
                                        "well ", "good ", "really ", "there ",    "we ",   "are ",  "on ",   "time "};
    static const char head[] = "{\"type\":\"text\",\"text\":\"";
    size_t n = sizeof head - 1, end = n + TEXT;

    memcpy(out, head, n);
    while (n < end) {
        struct str w = str_c(words[next_random(f) % (sizeof words / sizeof words[0])]);
        size_t fit = w.len < end - n ? w.len : end - n;
        memcpy(out + n, w.p, fit);
        n += fit;
    }
    memcpy(out + n, "\"}", 2);
    return str_of(out, n + 2);
}

static struct str cid_of(struct fill *f, char *out)
{
    for (size_t i = 0; i < CID; i++)
        out[i] = (char)('a' + next_random(f) % 26);
    return str_of(out, CID);
}

/* The first entry of each is what the tables know of it. */
static void tell_tables(struct fill *f, const struct chat *c, const struct record *r)
{
    struct buf body = {0};
    bool is_kept = false;

    record_encode(r, &body);
    must(tables_apply(f->tables,
                      &(struct log_record){.log_id = f->log_id,
                                           .pos = f->pos,
                                           .next = f->pos + 1,
                                           .kind = RECORD_ENTRY,
                                           .topics = TOPIC_TABLES,
                                           .shard = c->shard,
                                           .body = buf_get(&body)},
                      &is_kept),
         "tables");
    must(is_kept ? ERR_INVALID : ERR_OK, "tables: a letter");
    buf_deinit(&body);
}

static void add(struct fill *f, struct chat *c)
{
    char text[TEXT + 64], cid[CID];
    struct record r = {.kind = RECORD_ENTRY};
    struct entry *e = &r.entry;
    bool is_of_b = !c->is_hub && next_random(f) % 2;
    struct lsm *store = f->stores[f->data.store_of[c->shard]];
    enum err err;

    *e = (struct entry){.conv = c->id, .seq = c->now.head + 1, .kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR};
    e->ordinal = e->seq;
    e->from = is_of_b ? c->b : c->a;
    e->peer = is_of_b ? c->a : c->b;
    e->device = is_of_b ? c->of_b : c->of_a;
    e->ts = 1700000000000 + (int64_t)f->made;
    e->cid = cid_of(f, cid);
    e->content = text_of(f, text);
    e->fingerprint = next_random(f);
    cid_hash(&f->data.keys, &c->id, e->from, e->cid, e->cid_hash);
    authority_apply(&c->now, &r, &c->arena);
    while ((err = convlog_put(store, c->shard, &r, &c->now)) == ERR_LIMIT)
        come_home(f); /* the flushes are behind */
    must(err, "put");
    if (record_is_for_tables(&r))
        tell_tables(f, c, &r);
    f->pos++;
    f->made++;
}

static void applied(struct fill *f)
{
    for (unsigned i = 0; i < f->data.n_stores; i++)
        lsm_applied(f->stores[i], f->log_id, f->pos);
    mailbox_drain(loop_mailbox(f->loop));
}

static void one_more(struct fill *f, struct chat *c)
{
    add(f, c);
    if (f->made % BATCH == 0)
        applied(f);
}

/* All first entries are one transaction of the tables. */
static void begin_chats(struct fill *f)
{
    must(tables_begin(f->tables), "tables");
    for (size_t i = 0; i < f->n_chats; i++)
        one_more(f, &f->chats[i]);
    must(tables_reached(f->tables, f->log_id, f->pos), "tables");
    must(tables_end(f->tables), "tables");
}

static void go_on(struct fill *f)
{
    uint64_t depth = f->pairs ? f->entries / f->pairs : 0, hub_every = depth / HUB_ENTRIES + 1;

    for (uint64_t round = 1; round < depth; round++) {
        bool is_hubs_turn = round % hub_every == 0;
        for (size_t i = 0; i < (is_hubs_turn ? f->n_chats : f->pairs); i++)
            one_more(f, &f->chats[i]);
    }
    applied(f);
}

static void tables_know_all(struct fill *f)
{
    must(tables_begin(f->tables), "tables");
    must(tables_reached(f->tables, f->log_id, f->pos), "tables");
    must(tables_owed_reached(f->tables, f->log_id, f->pos), "tables");
    must(tables_end(f->tables), "tables");
}

int main(int argc, char **argv)
{
    struct fill f = {.entries = 1000000, .pairs = 250, .random = 42};
    struct buf text = {0};
    char *why = NULL;
    double wall = seconds(CLOCK_MONOTONIC);

    for (int c; (c = getopt(argc, argv, "d:u:n:p:h:s:")) != -1;) {
        if (c == 'd')
            f.dir = optarg;
        else if (c == 'u')
            f.users_file = optarg;
        else if (c == 'n' || c == 'p' || c == 'h' || c == 's')
            *(c == 'n'   ? &f.entries
              : c == 'p' ? &f.pairs
              : c == 'h' ? &f.hubs
                         : &f.spokes) = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (!f.dir || !f.users_file || f.pairs == 0)
        return 2;
    must(data_dir_open(env_posix(), f.dir, 0, &f.data, &why), why);
    must(users_load(f.users_file, &f.users, &text), text.p);
    must(data_dir_next_log_id(env_posix(), &f.data, &f.log_id), "log id");
    open_stores(&f);
    make_chats(&f);
    begin_chats(&f);
    go_on(&f);
    tables_know_all(&f);
    close_stores(&f);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("%llu entries in %zu chats: %.1f s, %.2f us of CPU an entry\n", (unsigned long long)f.made, f.n_chats, wall,
           seconds(CLOCK_PROCESS_CPUTIME_ID) * 1e6 / (double)f.made);
    for (size_t i = 0; i < f.n_chats; i++)
        arena_deinit(&f.chats[i].arena);
    mem_free(f.chats);
    users_deinit(&f.users);
    data_dir_close(&f.data);
    return 0;
}
