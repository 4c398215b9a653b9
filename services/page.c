#include "services/page.h"
#include "proto/jsonw.h"

bool page_begin(struct reactor *r, struct request *q, bool has_cursor, struct str cursor, user_id *after)
{
    *after = 0;
    if (!has_cursor || user_parse(cursor, after))
        return true;
    reactor_fail(r, q, CODE_BAD_REQUEST, "cursor: not one of ours");
    return false;
}

void page_end(struct buf *out, bool more, user_id last)
{
    char text[USER_TEXT];

    jsonw_close(out, ']');
    jsonw_key_bool(out, "more", more);
    if (more)
        jsonw_key_str(out, "cursor", str_of(text, user_text(text, last)));
    jsonw_close(out, '}');
}
