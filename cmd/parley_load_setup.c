/* setup: which user is in which room, and the first entry of each room, from which all its members learn of it. */
#include "cmd/parley_load_run.h"

static bool all_have_begun(const struct run *r) { return r->n_begun == r->n; }

/* Users in the file's order: pairs 1 and 2, 3 and 4, …; groups in the same way. */
static void place_peers(struct run *r, size_t members, size_t senders)
{
    r->n_rooms = r->n / members;
    r->rooms = mem_new_array(struct room, r->n_rooms);
    r->senders = mem_new_array(struct peer *, r->n);
    for (size_t i = 0; i < r->n; i++) {
        struct peer *p = &r->peers[i];
        p->room = &r->rooms[i / members];
        p->room->members = members;
        p->is_first = i % members == 0;
        p->is_sender = i % members < senders;
        if (p->is_sender)
            r->senders[r->n_senders++] = p;
        if (p->is_sender || p->is_first)
            p->slots = mem_new_array(struct slot, r->slots);
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

static void create_group(struct run *r, struct peer *p)
{
    size_t mark = net_begin(&p->conn), len;
    struct buf *out = &p->conn.out;
    char cid[SCRIPT_CID_MAX];

    len = script_cid(&r->script, cid, p->index, 0);
    buf_printf(out, "{\"id\":%d,\"op\":\"group.create\",\"title\":\"load %u\",\"cid\":\"%.*s\",\"members\":[", ID_ENTRY,
               p->index, (int)len, cid);
    for (size_t i = 1; i < p->room->members; i++) {
        struct str id = r->users.v[p->index + i].id;
        buf_printf(out, "%s\"" STR_FMT "\"", i > 1 ? "," : "", STR_ARG(id));
    }
    buf_str(out, STR("]}"));
    net_end(&r->net, &p->conn, mark);
}

static void begin_rooms(struct run *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct peer *p = &r->peers[i];
        if (!p->is_first)
            continue;
        if (r->o->scenario == SCENARIO_GROUPS)
            create_group(r, p);
        else
            talk_send(r, p, r->users.v[i + 1].id);
    }
}

/* The setup's entries are not traffic: all counters begin at 1. */
static void forget_setup(struct run *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->peers[i].sent = r->peers[i].done = 1;
    r->tally = (struct tally){0};
    r->open_acks = 0;
}

enum err setup_rooms(struct run *r)
{
    bool is_groups = r->o->scenario == SCENARIO_GROUPS;

    if (r->o->scenario == SCENARIO_IDLE)
        return ERR_OK;
    place_peers(r, is_groups ? (size_t)r->o->group_size : 2, is_groups ? (size_t)r->o->senders : 2);
    shuffle_senders(r);
    begin_rooms(r);
    if (!run_wait(r, all_have_begun, NULL)) {
        run_fault(r, NULL, "only %zu of %zu users learned of their conversation", r->n_begun, r->n);
        return ERR_INVALID;
    }
    forget_setup(r);
    return ERR_OK;
}
