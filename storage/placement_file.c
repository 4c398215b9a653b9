/* DIR/placement, little endian:
 *
 *   u64 magic "PRLYPLAC"   u32 version, now 1   u64 generation
 *   u8 stores, then each:     u8 state (1 new, 2 active, 3 draining)   field name
 *   256 times:                u8 the number of the shard's store
 *   u8 moves (0 or 1):        u8 shard   u8 from   u8 to
 *   u32 clean-ups, then each: u8 shard   u8 store
 *   u32 floors, then each:    u8 shard   u64 log id   u64 position
 *   u8 dropped, then each:    field name
 *   u64 XXH3 of all before
 *
 * What always holds: each shard has one store, which is active or draining and holds all of the shard; a move's `from`
 * is the shard's store and its `to` is another; no clean-up is owed of a shard in its own store. So whatever else a
 * crash leaves in a store, of a shard that is not its own, is thrown away, and nothing is missing.
 *
 * It is written whole, by fs_replace: no torn tail to tell from damage. A damaged or missing one is never made anew,
 * for nothing else says where the shards are. */
#include "storage/placement_file.h"
#include "base/enc.h"
#include "base/hash.h"
#include <assert.h>

#define MAGIC 0x43414c50594c5250u
enum { VERSION = 1, FILE_MAX = 4 << 20, FLOORS_MAX = 1 << 17, NAME_FIRST = 1 };

void placement_deinit(struct placement *p)
{
    mem_free(p->floors);
    *p = (struct placement){0};
}

void placement_copy(const struct placement *from, struct placement *out)
{
    struct placement_floor *floors = mem_new_array(struct placement_floor, from->n_floors + 1);

    if (from->n_floors)
        memcpy(floors, from->floors, from->n_floors * sizeof floors[0]);
    mem_free(out->floors);
    *out = *from;
    out->floors = floors;
}

bool store_name_is_fine(const char *name)
{
    struct str s = str_c(name);

    for (size_t i = 0; i < s.len; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", s.p[i]))
            return false;
    }
    return s.len >= NAME_FIRST && s.len <= STORE_NAME_MAX;
}

const char *store_state_text(enum store_state s)
{
    static const char *const texts[] = {"none", "new", "active", "draining"};

    return texts[s];
}

unsigned placement_find(const struct placement *p, const char *name)
{
    unsigned i = 0;

    while (i < p->n_stores && (p->stores[i].state == STORE_NONE || strcmp(p->stores[i].name, name) != 0))
        i++;
    return i;
}

unsigned placement_shards_of(const struct placement *p, unsigned store)
{
    unsigned n = 0;

    for (unsigned s = 0; s < SHARD_COUNT; s++)
        n += p->store_of[s] == store;
    return n;
}

/* --- floors --- */

static struct placement_floor *find_floor(const struct placement *p, uint16_t shard, uint64_t log_id)
{
    for (size_t i = 0; i < p->n_floors; i++) {
        if (p->floors[i].shard == shard && p->floors[i].log_id == log_id)
            return &p->floors[i];
    }
    return NULL;
}

void placement_raise_floor(struct placement *p, uint16_t shard, uint64_t log_id, uint64_t pos)
{
    struct placement_floor *f = find_floor(p, shard, log_id);

    if (!f) {
        p->floors = mem_realloc(p->floors, (p->n_floors + 1) * sizeof p->floors[0]); /* a move is rare */
        f = &p->floors[p->n_floors++];
        *f = (struct placement_floor){shard, log_id, 0};
    }
    if (pos > f->pos)
        f->pos = pos;
}

uint64_t placement_floor(const struct placement *p, uint16_t shard, uint64_t log_id)
{
    const struct placement_floor *f = find_floor(p, shard, log_id);

    return f ? f->pos : 0;
}

void placement_floors_of(const struct placement *p, uint64_t log_id, uint64_t out[SHARD_COUNT])
{
    memset(out, 0, SHARD_COUNT * sizeof out[0]);
    for (size_t i = 0; i < p->n_floors; i++) {
        if (p->floors[i].log_id == log_id)
            out[p->floors[i].shard] = p->floors[i].pos;
    }
}

static bool is_among(uint64_t id, const uint64_t *ids, size_t n)
{
    while (n > 0 && ids[n - 1] != id)
        n--;
    return n > 0;
}

void placement_keep_floors(struct placement *p, const uint64_t *log_ids, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->n_floors; i++) {
        if (is_among(p->floors[i].log_id, log_ids, n))
            p->floors[kept++] = p->floors[i];
    }
    p->n_floors = kept;
}

/* --- clean-ups --- */

static unsigned find_cleanup(const struct placement *p, uint16_t shard, uint16_t store)
{
    unsigned i = 0;

    while (i < p->n_cleanups && (p->cleanups[i].shard != shard || p->cleanups[i].store != store))
        i++;
    return i;
}

enum err placement_owe_cleanup(struct placement *p, uint16_t shard, uint16_t store)
{
    if (find_cleanup(p, shard, store) < p->n_cleanups)
        return ERR_OK;
    if (p->n_cleanups == PLACEMENT_CLEANUPS_MAX)
        return ERR_LIMIT;
    p->cleanups[p->n_cleanups++] = (struct placement_cleanup){shard, store};
    return ERR_OK;
}

static void strike(struct placement *p, unsigned i)
{
    p->n_cleanups--;
    memmove(&p->cleanups[i], &p->cleanups[i + 1], (p->n_cleanups - i) * sizeof p->cleanups[0]);
}

void placement_strike_cleanup(struct placement *p, uint16_t shard, uint16_t store)
{
    unsigned i = find_cleanup(p, shard, store);

    if (i < p->n_cleanups)
        strike(p, i);
}

void placement_strike_store(struct placement *p, unsigned store)
{
    for (unsigned i = p->n_cleanups; i-- > 0;) {
        if (p->cleanups[i].store == store)
            strike(p, i);
    }
    p->stores[store] = (struct placement_store){0};
}

/* --- bytes --- */

/* The number of each slot in the file. */
static unsigned number_slots(const struct placement *p, uint8_t numbers[STORES_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->n_stores; i++) {
        numbers[i] = (uint8_t)n;
        n += p->stores[i].state != STORE_NONE;
    }
    return n;
}

static void add_u16_as_u8(struct buf *out, unsigned v)
{
    assert(v <= UINT8_MAX);
    enc_add_u8(out, (uint8_t)v);
}

static void encode_under_way(const struct placement *p, const uint8_t numbers[STORES_MAX], struct buf *out)
{
    enc_add_u8(out, p->has_move);
    if (p->has_move) {
        add_u16_as_u8(out, p->move.shard);
        enc_add_u8(out, numbers[p->move.from]);
        enc_add_u8(out, numbers[p->move.to]);
    }
    enc_add_u32(out, p->n_cleanups);
    for (unsigned i = 0; i < p->n_cleanups; i++) {
        add_u16_as_u8(out, p->cleanups[i].shard);
        enc_add_u8(out, numbers[p->cleanups[i].store]);
    }
    enc_add_u32(out, (uint32_t)p->n_floors);
    for (size_t i = 0; i < p->n_floors; i++) {
        add_u16_as_u8(out, p->floors[i].shard);
        enc_add_u64(out, p->floors[i].log_id);
        enc_add_u64(out, p->floors[i].pos);
    }
    enc_add_u8(out, (uint8_t)p->n_dropped);
    for (unsigned i = 0; i < p->n_dropped; i++)
        enc_add_field(out, str_c(p->dropped[i]));
}

void placement_encode(const struct placement *p, struct buf *out)
{
    uint8_t numbers[STORES_MAX];
    size_t start = out->len;

    enc_add_u64(out, MAGIC);
    enc_add_u32(out, VERSION);
    enc_add_u64(out, p->generation);
    enc_add_u8(out, (uint8_t)number_slots(p, numbers));
    for (unsigned i = 0; i < p->n_stores; i++) {
        if (p->stores[i].state == STORE_NONE)
            continue;
        enc_add_u8(out, (uint8_t)p->stores[i].state);
        enc_add_field(out, str_c(p->stores[i].name));
    }
    for (unsigned s = 0; s < SHARD_COUNT; s++) {
        assert(p->stores[p->store_of[s]].state >= STORE_ACTIVE);
        enc_add_u8(out, numbers[p->store_of[s]]);
    }
    encode_under_way(p, numbers, out);
    enc_add_u64(out, hash_sum(out->p + start, out->len - start, MAGIC));
}

static bool get_name(struct dec *d, char out[STORE_NAME_MAX + 1])
{
    struct str s = dec_get_field(d);

    if (!dec_ok(d) || s.len > STORE_NAME_MAX)
        return false;
    memcpy(out, s.p, s.len);
    out[s.len] = '\0';
    return strlen(out) == s.len && store_name_is_fine(out);
}

static enum err decode_stores(struct dec *d, struct placement *p)
{
    unsigned n = dec_get_u8(d);

    if (n == 0 || n > STORES_MAX)
        return ERR_CORRUPT;
    for (; p->n_stores < n; p->n_stores++) {
        struct placement_store s = {.state = (enum store_state)dec_get_u8(d)};

        if (s.state < STORE_NEW || s.state > STORE_DRAINING || !get_name(d, s.name) ||
            placement_find(p, s.name) < p->n_stores)
            return ERR_CORRUPT;
        p->stores[p->n_stores] = s;
    }
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        p->store_of[i] = dec_get_u8(d);
        if (p->store_of[i] >= n || p->stores[p->store_of[i]].state < STORE_ACTIVE)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

static enum err decode_move(struct dec *d, struct placement *p)
{
    unsigned n = dec_get_u8(d);

    if (n > 1)
        return ERR_CORRUPT;
    if (n == 0)
        return ERR_OK;
    p->has_move = true;
    p->move.shard = dec_get_u8(d);
    p->move.from = dec_get_u8(d);
    p->move.to = dec_get_u8(d);
    return p->move.to < p->n_stores && p->move.from == p->store_of[p->move.shard] && p->move.to != p->move.from
               ? ERR_OK
               : ERR_CORRUPT;
}

static enum err decode_cleanups(struct dec *d, struct placement *p)
{
    uint32_t n = dec_get_u32(d);

    if (n > PLACEMENT_CLEANUPS_MAX)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < n && dec_ok(d); i++) {
        uint16_t shard = dec_get_u8(d), store = dec_get_u8(d);

        if (store >= p->n_stores || store == p->store_of[shard])
            return ERR_CORRUPT;
        p->cleanups[p->n_cleanups++] = (struct placement_cleanup){shard, store};
    }
    return ERR_OK;
}

static enum err decode_floors(struct dec *d, struct placement *p)
{
    uint32_t n = dec_get_u32(d);

    if (n > FLOORS_MAX)
        return ERR_CORRUPT;
    p->floors = mem_new_array(struct placement_floor, n + 1);
    for (; p->n_floors < n && dec_ok(d); p->n_floors++) {
        struct placement_floor *f = &p->floors[p->n_floors];

        f->shard = dec_get_u8(d);
        f->log_id = dec_get_u64(d);
        f->pos = dec_get_u64(d);
    }
    return ERR_OK;
}

static enum err decode_dropped(struct dec *d, struct placement *p)
{
    unsigned n = dec_get_u8(d);

    if (n > STORES_MAX)
        return ERR_CORRUPT;
    for (; p->n_dropped < n; p->n_dropped++) {
        if (!get_name(d, p->dropped[p->n_dropped]) || placement_find(p, p->dropped[p->n_dropped]) < p->n_stores)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum err placement_decode(struct str bytes, struct placement *out)
{
    struct placement p = {0};
    struct dec d = {0};
    enum err err;

    TRY(bytes.len >= 8 && dec_u64(bytes.p + bytes.len - 8) == hash_sum(bytes.p, bytes.len - 8, MAGIC) ? ERR_OK
                                                                                                      : ERR_CORRUPT);
    d = dec_of(str_of(bytes.p, bytes.len - 8));
    TRY(dec_get_u64(&d) == MAGIC ? ERR_OK : ERR_CORRUPT);
    TRY(dec_get_u32(&d) == VERSION ? ERR_OK : ERR_UNSUPPORTED);
    p.generation = dec_get_u64(&d);
    TRY(decode_stores(&d, &p));
    TRY(decode_move(&d, &p));
    TRY(decode_cleanups(&d, &p));
    TRY(decode_floors(&d, &p));
    TRY(decode_dropped(&d, &p));
    TRY(dec_done(&d) ? ERR_OK : ERR_CORRUPT);
    *out = p;
    p = (struct placement){0};
out:
    placement_deinit(&p);
    return err;
}

static char *path_of(const char *dir)
{
    struct buf b = {0};

    buf_printf(&b, "%s/placement%c", dir, 0);
    return b.p;
}

enum err placement_read(struct fs *fs, const char *dir, struct placement *out)
{
    struct str bytes = {0};
    char *path = path_of(dir);
    enum err err;

    TRY(fs_read_all(fs, path, FILE_MAX, &bytes));
    TRY(placement_decode(bytes, out));
out:
    mem_free((char *)(uintptr_t)bytes.p); /* fs_read_all gave it to us */
    mem_free(path);
    return err;
}

enum err placement_write(struct fs *fs, const char *dir, struct placement *p)
{
    struct buf bytes = {0};
    char *path = path_of(dir);
    enum err err;

    p->generation++;
    placement_encode(p, &bytes);
    err = fs_replace(fs, path, buf_get(&bytes));
    buf_deinit(&bytes);
    mem_free(path);
    return err;
}
