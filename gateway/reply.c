#include "gateway/reply.h"
#include "base/hash.h"
#include "proto/jsonw.h"
#include <strings.h>
#include <zlib.h>

enum { GZIP_MIN = 1024, GZIP_WINDOW = 15 + 16, GZIP_LEVEL = 1, GZIP_MEM = 8, TAG_MAX = 48 };

static const char *phrase(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

void reply_problem(struct buf *body, enum code code, int status, const char *detail, int64_t retry_after_ms)
{
    if (!status)
        status = code_status(code);
    jsonw_open(body, '{');
    jsonw_key_str(body, "type", STR("about:blank"));
    jsonw_key_str(body, "title", str_c(phrase(status)));
    jsonw_key_int(body, "status", status);
    jsonw_key_str(body, "detail", str_c(detail));
    jsonw_key_str(body, "code", str_c(code_text(code)));
    if (retry_after_ms > 0)
        jsonw_key_int(body, "retry_after_ms", retry_after_ms);
    jsonw_close(body, '}');
}

bool reply_takes_gzip(struct str accept)
{
    for (struct str item, rest = accept; rest.len; accept = rest) {
        if (!str_cut(accept, ',', &item, &rest))
            item = accept, rest = (struct str){0};
        while (item.len && item.p[0] == ' ')
            item = str_from(item, 1);
        if (item.len >= 4 && strncasecmp(item.p, "gzip", 4) == 0)
            return !memmem(item.p, item.len, "q=0", 3) || memmem(item.p, item.len, "q=0.", 4) != NULL;
    }
    return false;
}

bool reply_pack(struct str body, struct buf *out)
{
    z_stream z = {0};
    int end;

    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEM, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;                       /* no memory: it goes as it is */
    z.next_in = (Bytef *)(uintptr_t)body.p; /* zlib only reads it */
    z.avail_in = (uInt)body.len;
    z.next_out = (Bytef *)buf_reserve(out, body.len);
    z.avail_out = (uInt)body.len;
    end = deflate(&z, Z_FINISH);
    out->len = z.total_out;
    deflateEnd(&z);
    return end == Z_STREAM_END; /* else it would have grown */
}

/* Another encoding is another representation, so its tag is another one too. */
static void print_tag(char tag[TAG_MAX], uint64_t sum, bool gzip)
{
    snprintf(tag, TAG_MAX, "\"%016llx%s\"", (unsigned long long)sum, gzip ? "-gzip" : "");
}

static bool client_has(const struct reply *r, uint64_t sum)
{
    char tag[TAG_MAX];

    if (str_eq(r->if_none_match, STR("*")))
        return true;
    for (int gzip = 0; gzip < 2; gzip++) {
        print_tag(tag, sum, gzip);
        if (r->if_none_match.len && memmem(r->if_none_match.p, r->if_none_match.len, tag, strlen(tag)))
            return true;
    }
    return false;
}

static void print_head(const struct reply *r, int status, struct str body, bool varies, bool gzip, const char *tag,
                       struct buf *out)
{
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, phrase(status));
    if (status != 204 && status != 304)
        buf_printf(out, "Content-Length: %zu\r\n", body.len);
    if (r->type && status != 304)
        buf_printf(out, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", r->type);
    if (gzip)
        buf_str(out, STR("Content-Encoding: gzip\r\n"));
    if (varies)
        buf_str(out, STR("Vary: Accept-Encoding\r\n"));
    if (tag[0])
        buf_printf(out, "ETag: %s\r\nCache-Control: private, no-cache\r\n", tag);
    else
        buf_str(out, STR("Cache-Control: no-store\r\n"));
    if (r->headers)
        buf_str(out, str_c(r->headers));
    if (r->close)
        buf_str(out, STR("Connection: close\r\n"));
    buf_str(out, STR("\r\n"));
}

void reply_print(const struct reply *r, struct buf *out)
{
    struct buf packed = {0};
    struct str body = r->type ? r->body : (struct str){0};
    bool tagged = r->etag && r->status == 200, gzip;
    bool varies = body.len >= GZIP_MIN;
    uint64_t sum = tagged ? hash_sum(body.p, body.len, 0) : 0;
    char tag[TAG_MAX] = "";
    int status = tagged && client_has(r, sum) ? 304 : r->status;

    gzip = status != 304 && r->gzip && varies && (r->packed.len || reply_pack(body, &packed));
    if (gzip)
        body = r->packed.len ? r->packed : buf_get(&packed);
    if (tagged)
        print_tag(tag, sum, gzip);
    print_head(r, status, body, varies, gzip, tag, out);
    if (!r->is_head && status != 304 && status != 204)
        buf_str(out, body);
    buf_deinit(&packed);
}

void reply_refusal(struct buf *out, enum code code, const char *detail)
{
    struct buf body = {0};
    struct reply r = {.status = code_status(code), .type = "application/problem+json", .close = true};

    reply_problem(&body, code, 0, detail, 0);
    r.body = buf_get(&body);
    if (code == CODE_UNAUTHENTICATED)
        r.headers = "WWW-Authenticate: Bearer\r\n";
    if (code == CODE_UNAVAILABLE)
        r.headers = "Retry-After: 1\r\n";
    reply_print(&r, out);
    buf_deinit(&body);
}
