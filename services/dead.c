#include "services/dead.h"
#include <inttypes.h>

struct listing {
    struct buf *out;
    size_t n;
};

static bool list_one(void *arg, const struct letter *l, size_t bytes)
{
    struct listing *p = arg;

    buf_printf(p->out, "%" PRIu64 " %016" PRIx64 " %" PRIu64 " %u %zu %u %" PRId64 " " STR_FMT "\n", l->id, l->log_id,
               l->pos, l->kind, bytes, l->attempts, l->kept_ms, STR_ARG(l->why));
    return ++p->n < DEAD_LIST;
}

static enum err show(struct tables *t, uint64_t id, struct buf *out)
{
    struct arena arena = {0};
    struct letter l;
    enum err err;

    TRY(letters_get(tables_db(t), id, &arena, &l));
    buf_printf(out,
               "log %016" PRIx64 "\noffset %" PRIu64 "\nkind %u\nshard %u\nkept %" PRId64 "\nattempts %u\nwhy " STR_FMT
               "\nbody ",
               l.log_id, l.pos, l.kind, l.shard, l.kept_ms, l.attempts, STR_ARG(l.why));
    for (size_t i = 0; i < l.body.len; i++)
        buf_printf(out, "%02x", (unsigned char)l.body.p[i]);
    buf_char(out, '\n');
out:
    arena_deinit(&arena);
    return err;
}

static enum code answer(enum err err, uint64_t id, uint64_t first, struct buf *why)
{
    enum code code = CODE_OK;

    switch (err) {
    case ERR_OK:
        break;
    case ERR_NOT_FOUND:
        code = CODE_NOT_FOUND;
        buf_printf(why, "there is no letter %" PRIu64, id);
        break;
    case ERR_AGAIN:
        code = CODE_CONFLICT;
        if (first != id)
            buf_printf(why, "letter %" PRIu64 " is about the same and goes first", first);
        else
            buf_printf(why, "the tables are busy; try again");
        break;
    case ERR_INVALID:
        code = CODE_CONFLICT;
        buf_printf(why, "letter %" PRIu64 " still does not fit; it stays", id);
        break;
    default:
        code = err == ERR_FULL ? CODE_UNAVAILABLE : CODE_INTERNAL;
        buf_printf(why, "letter %" PRIu64 ": %s", id, err_text(err));
        break;
    }
    buf_char(why, '\0');
    return code;
}

enum code dead_obey(struct tables *t, struct str line, struct buf *out, struct buf *why)
{
    struct str verb, rest;
    struct listing listing = {.out = out};
    int64_t n;
    uint64_t id, first;
    enum err err = ERR_OK;

    if (!str_cut(line, ' ', &verb, &rest) || !str_to_i64(rest, 0, INT64_MAX, &n)) {
        buf_printf(why, "what is understood: dead list AFTER, dead show ID, dead replay ID, dead drop ID%c", 0);
        return CODE_BAD_REQUEST;
    }
    first = id = (uint64_t)n;
    if (str_eq(verb, STR("list"))) {
        err = letters_each(tables_db(t), id, list_one, &listing);
    } else if (str_eq(verb, STR("show"))) {
        err = show(t, id, out);
    } else if (str_eq(verb, STR("replay"))) {
        err = tables_letter_replay(t, id, &first);
    } else if (str_eq(verb, STR("drop"))) {
        err = tables_letter_drop(t, id);
    } else {
        buf_printf(why, "there is no such command%c", 0);
        return CODE_BAD_REQUEST;
    }
    return answer(err, id, first, why);
}
