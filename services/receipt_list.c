/* receipt_list: how far everybody is, as one member may know it. */
#include "proto/jsonw.h"
#include "services/page.h"
#include "services/receipt.h"

enum { PAGE_STANDARD = 100 };

bool receipt_is_visible(const struct authority *a, user_id viewer, user_id of)
{
    return viewer == of || !authority_is_blocked(a);
}

static int64_t cut(uint64_t cursor, uint64_t last) { return (int64_t)(cursor < last ? cursor : last); }

void receipt_print(const struct member *m, uint64_t last_visible, struct buf *out)
{
    jsonw_open(out, '{');
    jsonw_key_user(out, "user", m->user);
    jsonw_key_int(out, "delivered", cut(m->delivered, last_visible));
    jsonw_key_int(out, "read", cut(m->read, last_visible));
    jsonw_close(out, '}');
}

bool receipt_is_listed(const struct member *viewer, const struct member *m, uint64_t last)
{
    if (viewer->is_in)
        return m->is_in;
    return m->joined_seq <= last && member_sees(m, last);
}

static void print_list(const struct authority *a, const struct member *viewer, user_id after, size_t limit,
                       struct buf *out)
{
    uint64_t last = member_last_visible(viewer, a->head);
    user_id cursor = 0;
    bool more = false;

    jsonw_open(out, '{');
    jsonw_key(out, "receipts");
    jsonw_open(out, '[');
    for (size_t i = 0; i < a->n_members; i++) {
        const struct member *m = &a->members[i];

        if (m->user <= after || !receipt_is_listed(viewer, m, last) || !receipt_is_visible(a, viewer->user, m->user))
            continue;
        if (limit-- == 0) {
            more = true;
            break;
        }
        receipt_print(m, last, out);
        cursor = m->user;
    }
    page_end(out, more, cursor);
}

static void list_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_receipt_list *a = &q->args->receipt_list;
    const struct member *viewer = shard_reader(r, c, q);
    user_id after;

    if (!viewer)
        return;
    if (!page_begin(r, q, a->has_cursor, a->cursor, &after))
        return;
    print_list(conv_committed(c), viewer, after, a->has_limit ? (size_t)a->limit : PAGE_STANDARD, &q->out);
    reactor_ok(r, q);
}

void op_receipt_list(void *service, struct request *q)
{
    shard_read(service, &q->args->receipt_list.conv, q, list_start);
}
