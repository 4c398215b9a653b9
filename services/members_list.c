/* Who is in, a page at a time, for those who are in themselves. */
#include "proto/jsonw.h"
#include "services/page.h"
#include "services/shard.h"

enum { PAGE_STANDARD = 100 };

static void print_member(const struct member *m, struct buf *out)
{
    jsonw_open(out, '{');
    jsonw_key_user(out, "user", m->user);
    jsonw_key_str(out, "role", str_c(role_text(m->role)));
    jsonw_key_int(out, "joined_at", m->joined_ts);
    jsonw_close(out, '}');
}

static void print_page(const struct authority *a, user_id after, size_t limit, struct buf *out)
{
    user_id cursor = 0;
    bool more = false;

    jsonw_open(out, '{');
    jsonw_key(out, "members");
    jsonw_open(out, '[');
    for (size_t i = 0; i < a->n_members; i++) {
        const struct member *m = &a->members[i];

        if (m->user <= after || !m->is_in)
            continue;
        more = limit == 0;
        if (more)
            break;
        limit--;
        print_member(m, out);
        cursor = m->user;
    }
    page_end(out, more, cursor);
}

static void members_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_members *a = &q->args->group_members;
    const struct member *viewer = shard_reader(r, c, q);
    user_id after;

    if (!viewer)
        return;
    if (!viewer->is_in) {
        reactor_fail(r, q, CODE_FORBIDDEN, "not a member any more");
        return;
    }
    if (!page_begin(r, q, a->has_cursor, a->cursor, &after))
        return;
    print_page(conv_committed(c), after, a->has_limit ? (size_t)a->limit : PAGE_STANDARD, &q->out);
    reactor_ok(r, q);
}

void op_group_members(void *service, struct request *q)
{
    shard_read(service, &q->args->group_members.conv, q, members_start);
}
