#include "gateway/header.h"
#include "base/buf.h"
#include "gateway/inside.h"
#include <libwebsockets.h>
#include <strings.h>

enum { TOKEN_MAX = 512 };

struct str header_get(struct lws *wsi, int token, size_t max, struct arena *a)
{
    enum lws_token_indexes t = (enum lws_token_indexes)token;
    int len = lws_hdr_total_length(wsi, t);
    char *p;

    if (len <= 0 || (size_t)len > max)
        return (struct str){0};
    p = arena_alloc(a, (size_t)len + 2);
    len = lws_hdr_copy(wsi, p, len + 1, t);
    return len <= 0 ? (struct str){0} : str_of(p, (size_t)len);
}

struct str header_custom(struct lws *wsi, struct str name, size_t max, struct arena *a)
{
    int len = lws_hdr_custom_length(wsi, name.p, (int)name.len);
    char *p;

    if (len <= 0 || (size_t)len > max)
        return (struct str){0};
    p = arena_alloc(a, (size_t)len + 2);
    len = lws_hdr_custom_copy(wsi, p, len + 1, name.p, (int)name.len);
    if (len <= 0)
        return (struct str){0};
    while (len > 0 && (*p == ' ' || *p == '\t'))
        p++, len--;
    while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    return str_of(p, (size_t)len);
}

bool header_bearer(struct lws *wsi, struct arena *a, struct str *out)
{
    struct str v = header_get(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, TOKEN_MAX, a);

    *out = (struct str){0};
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_AUTHORIZATION) <= 0)
        return true;
    if (v.len <= 7 || strncasecmp(v.p, "bearer ", 7) != 0)
        return false;
    *out = str_from(v, 7);
    while (out->len && out->p[0] == ' ')
        *out = str_from(*out, 1);
    return out->len > 0;
}

/* What libwebsockets decoded is encoded again, but for what needs none; the first `=` parts name and value. */
static void add_encoded(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    bool parted = false;

    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || strchr("-._~:,", c);

        if (c == '=' && !parted) {
            parted = true;
            plain = true;
        }
        if (plain && c) {
            buf_char(b, (char)c);
        } else {
            buf_char(b, '%');
            buf_char(b, hex[c >> 4]);
            buf_char(b, hex[c & 15]);
        }
    }
}

struct str header_query(struct lws *wsi, struct arena *a)
{
    char piece[HEAD_MAX]; /* libwebsockets says of one that does not fit what it says of none: it must fit */
    struct buf b = {0};
    struct str out;

    for (int i = 0;; i++) {
        int len = lws_hdr_copy_fragment(wsi, piece, sizeof piece, WSI_TOKEN_HTTP_URI_ARGS, i);

        if (len < 0)
            break;
        if (b.len)
            buf_char(&b, '&');
        add_encoded(&b, str_of(piece, (size_t)len));
    }
    out = arena_dup(a, buf_get(&b));
    buf_deinit(&b);
    return out;
}

bool header_has_word(struct str list, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= list.len; i++) {
        bool starts = i == 0 || list.p[i - 1] == ',' || list.p[i - 1] == ' ';
        bool ends = i + n == list.len || list.p[i + n] == ',' || list.p[i + n] == ' ' || list.p[i + n] == ';';

        if (starts && ends && strncasecmp(list.p + i, word, n) == 0)
            return true;
    }
    return false;
}
