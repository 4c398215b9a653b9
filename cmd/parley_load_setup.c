/* setup: which user is in which room, and the first entry of each room, from which all its members learn of it. */
#include "base/hash.h"
#include "cmd/parley_load_run.h"
#include "cmd/parley_load_sizes.h"

/* A frame of the server's standard size holds the names, however long, and what each step tells the members stays
 * small. */
enum { NAMED_AT_ONCE = 1000 };

static bool all_have_begun(const struct run *r) { return r->n_begun == r->n; }

static size_t size_of_room(const struct run *r, size_t at)
{
    size_t left = r->n - at, size = (size_t)r->o->group_size;

    if (r->crowd.n)
        return crowd_share(r->crowd.group, r->crowd.n, r->crowd.at);
    switch (r->o->scenario) {
    case SCENARIO_PAIRS:
    case SCENARIO_HISTORY:
    case SCENARIO_CHURN:
        size = 2;
        break;
    case SCENARIO_RECONNECT:
        size = at < run_staying(r->o, r->n) ? 2 : size;
        break;
    case SCENARIO_MIXED:
        size = sizes_draw((uint32_t)hash_u64(at + (uint64_t)r->o->seed), size);
        break;
    default:
        if (r->o->spread)
            size = sizes_draw((uint32_t)hash_u64(at + (uint64_t)r->o->seed), size);
    }
    return size + 1 >= left ? left : size; /* nobody is left alone */
}

static bool sends(const struct run *r, size_t place, const struct room *room)
{
    if (r->crowd.n) /* in turns of the workers */
        place = place * r->crowd.n + r->crowd.at;
    switch (r->o->scenario) {
    case SCENARIO_CHURN:
        return false;
    case SCENARIO_RECONNECT:
        return room->is_live || place == 0;
    case SCENARIO_SLOW:
        return place < room->members / 2 && place < (size_t)r->o->senders;
    default:
        return place < (size_t)r->o->senders;
    }
}

/* Users in the file's order: pairs 1 and 2, 3 and 4, …; groups in the same way. */
static void place_peers(struct run *r)
{
    r->rooms = mem_new_array(struct room, (r->crowd.n ? r->crowd.rooms : r->n / 2) + 1);
    r->senders = mem_new_array(struct peer *, r->n);
    for (size_t at = 0; at < r->n; at += r->rooms[r->n_rooms++].members) {
        struct room *room = &r->rooms[r->n_rooms];
        room->members = size_of_room(r, at);
        room->peer_first = at;
        room->is_live = r->o->scenario != SCENARIO_RECONNECT || at < run_staying(r->o, r->n);
        for (size_t i = 0; i < room->members; i++) {
            struct peer *p = &r->peers[at + i];
            p->room = room;
            p->is_first = i == 0 && r->crowd.at == 0;
            p->is_sender = sends(r, i, room);
            if (p->is_sender)
                r->senders[r->n_senders++] = p;
            if (p->is_sender || p->is_first)
                p->slots = mem_new_array(struct slot, r->slots);
        }
    }
}

/* An open loop must not walk through the rooms in the file's order, which the server may have in memory in a row. */
static void shuffle_senders(struct run *r)
{
    uint64_t random = (uint64_t)r->o->seed * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = r->n_senders; i > 1; i--) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t j = (size_t)((random >> 33) % i);
        struct peer *p = r->senders[i - 1];
        r->senders[i - 1] = r->senders[j];
        r->senders[j] = p;
    }
    for (size_t i = 0; i < r->n_senders; i++)
        r->senders[i]->place = (uint32_t)i;
}

/* The i-th member of the group that p makes, itself the first. */
static struct str member_id(const struct run *r, const struct peer *p, size_t i)
{
    if (r->crowd.n)
        return r->crowd.ids[crowd_member(&r->crowd, (size_t)(p->room - r->rooms), i)];
    return r->users.v[p->index + i].id;
}

/* The steps before the last have cids that are no entry of the run: a view begins when all are members. */
static void put_setup_cid(struct run *r, struct peer *p, bool is_last)
{
    uint32_t step = (uint32_t)(p->room->named / NAMED_AT_ONCE);
    char cid[SCRIPT_CID_MAX];
    size_t len = script_cid(&r->script, cid, run_number(r, p), is_last ? 0 : step);

    buf_printf(&p->conn.out, "\"cid\":\"%.*s%s\"", (int)len, cid, is_last ? "" : ".step");
}

void setup_name(struct run *r, struct peer *p)
{
    size_t mark = net_begin(&p->conn), all = r->crowd.n ? r->crowd.group : p->room->members;
    size_t from = p->room->named ? p->room->named : 1, to = from + NAMED_AT_ONCE < all ? from + NAMED_AT_ONCE : all;
    struct buf *out = &p->conn.out;

    if (!p->room->named)
        buf_printf(out, "{\"id\":%d,\"op\":\"group.create\",\"title\":\"load %u\",", ID_ENTRY, run_number(r, p));
    else
        buf_printf(out, "{\"id\":%d,\"op\":\"group.add\",\"conv\":\"%.*s\",", ID_ENTRY, (int)p->room->conv_len,
                   p->room->conv);
    put_setup_cid(r, p, to == all);
    buf_printf(out, ",\"%s\":[", p->room->named ? "users" : "members");
    for (size_t i = from; i < to; i++)
        buf_printf(out, "%s\"" STR_FMT "\"", i > from ? "," : "", STR_ARG(member_id(r, p, i)));
    buf_str(out, STR("]}"));
    p->room->named = to;
    net_end(&r->net, &p->conn, mark);
}

static void begin_rooms(struct run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct peer *p = &r->peers[i];
        if (!p->is_first)
            continue;
        if (p->room->members > 2 || r->crowd.n)
            setup_name(r, p);
        else
            talk_send(r, p, r->users.v[i + 1].id);
    }
}

/* The setup's entries are not traffic: all counters begin at 1. */
static void forget_setup(struct run *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->peers[i].sent = r->peers[i].done = r->peers[i].first = 1;
    r->tally = (struct tally){0};
    r->open_acks = 0;
}

static bool is_filled(const struct run *r)
{
    return r->tally.sent >= r->fill && r->open_acks == 0 && r->open_notes == 0;
}

static void end_writing(struct run *r)
{
    r->is_sending = false;
    r->is_quiet = true;
    r->fill = r->n_senders = 0;
    for (size_t i = 0; i < r->n; i++)
        r->peers[i].is_sender = false;
}

/* history: conversations get their length before anything is measured, and nobody writes after. */
static enum err fill_rooms(struct run *r)
{
    if (r->o->depth == 0) {
        end_writing(r);
        return ERR_OK;
    }
    r->fill = (uint64_t)r->o->depth * r->n_rooms;
    r->is_sending = r->is_quiet = true;
    for (size_t i = 0; i < r->n_senders; i++)
        talk_refill(r, r->senders[i]);
    if (!run_wait(r, is_filled, NULL)) {
        run_fault(r, NULL, "only %llu of %llu entries could be written", (unsigned long long)r->tally.acked,
                  (unsigned long long)r->fill);
        return ERR_INVALID;
    }
    end_writing(r);
    return ERR_OK;
}

static bool has_rooms(const struct run *r)
{
    return r->o->scenario != SCENARIO_IDLE && r->o->scenario != SCENARIO_LOGIN;
}

void setup_places(struct run *r)
{
    if (!has_rooms(r))
        return;
    place_peers(r);
    shuffle_senders(r);
}

enum err setup_rooms(struct run *r)
{
    if (!has_rooms(r))
        return ERR_OK;
    begin_rooms(r);
    if (!run_wait(r, all_have_begun, NULL)) {
        run_fault(r, NULL, "only %zu of %zu users learned of their conversation", r->n_begun, r->n);
        return ERR_INVALID;
    }
    forget_setup(r);
    return r->o->scenario == SCENARIO_HISTORY ? fill_rooms(r) : ERR_OK;
}
