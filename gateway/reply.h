/* reply: the text of an HTTP response, head and body, and the problem documents of errors (RFC 9457).
 *
 * Pure: bytes in, bytes out. Thread: any. */
#pragma once
#include "base/buf.h"
#include "proto/code.h"

struct reply {
    int status;
    const char *type; /* of the body; NULL: there is none */
    struct str body;
    const char *headers;      /* further header lines, each with its CRLF; NULL: none */
    bool is_head;             /* the method was HEAD: all but the body */
    bool close;               /* the connection ends behind it */
    bool gzip;                /* accepted; used where it saves something */
    bool etag;                /* gets a strong one, and 304 when the client has it */
    struct str packed;        /* the body as reply_pack made it, if that was done before */
    struct str if_none_match; /* the request's header, or empty */
};

void reply_print(const struct reply *r, struct buf *out);
/* A body by gzip, for what is sent again and again. False: it would not get smaller, or there is no memory. */
bool reply_pack(struct str body, struct buf *out);
/* The JSON text of a problem. `status` 0 is the code's own. */
void reply_problem(struct buf *body, enum code code, int status, const char *detail, int64_t retry_after_ms);
/* A whole response that refuses and closes, for a connection that was to be upgraded. */
void reply_refusal(struct buf *out, enum code code, const char *detail);
/* What an Accept-Encoding header says of gzip. */
bool reply_takes_gzip(struct str accept_encoding);
