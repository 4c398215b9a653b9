/* code: what goes wrong on the wire, with its HTTP status. */
#pragma once
#include "base/str.h"

/*         name             text               status */
#define CODES(C)                               \
    C(OK, "ok", 200)                           \
    C(BAD_JSON, "bad_json", 400)               \
    C(BAD_REQUEST, "bad_request", 400)         \
    C(UNAUTHENTICATED, "unauthenticated", 401) \
    C(FORBIDDEN, "forbidden", 403)             \
    C(NOT_FOUND, "not_found", 404)             \
    C(UNKNOWN_OP, "unknown_op", 404)           \
    C(CONFLICT, "conflict", 409)               \
    C(TOO_LARGE, "too_large", 413)             \
    C(RATE_LIMITED, "rate_limited", 429)       \
    C(UNAVAILABLE, "unavailable", 503)         \
    C(INTERNAL, "internal", 500)

enum code {
#define CODE_ROW(id, text, status) CODE_##id,
    CODES(CODE_ROW)
#undef CODE_ROW
};
const char *code_text(enum code c);
int code_status(enum code c);
