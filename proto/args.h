/* args: from JSON text to the typed arguments of an op, and every complaint about them.
 *
 * Two ways in, one grammar (docs/protocol.md, "Transport"): a strict scanner for frames of the plain shape (no escapes
 * where an id or a key is due, members in any order) and jansson for everything else, complaints included; the fuzzer
 * holds them against each other.
 * What is returned points into the arena or into `text`, which must live as long as the request: the caller copies the
 * frame into the arena first. Thread: any. */
#pragma once
#include "proto/request.h"

struct frame_head {
    struct str re; /* the raw JSON of `id` as it came (`7`, `"a"`), to be echoed; empty: missing or ill-typed → null */
    bool op_known; /* op is valid */
    struct str op_name;
};

/* Parses one request object {"id":…,"op":…,…}. On OK, r->op and r->args are set. On another code, `why` in r says what
 * (code BAD_JSON, BAD_REQUEST, UNKNOWN_OP, TOO_LARGE) and head->re is set as far as the id could be known. */
enum code args_parse_frame(struct str text, struct request *r, struct frame_head *head);

/* The elements of a batch: if `text` is an array of JSON values, returns its element count and calls each(element text)
 * in order. Otherwise nothing is called and it returns 0; LIMIT in *err: it is an array, of none or of more than 256.
 */
size_t args_split_batch(struct str text, enum err *err, void (*each)(void *arg, struct str element), void *arg);

/* HTTP: finds the op for method and path (percent-decoded by the caller), and its arguments from path, query and body.
 */
enum http_method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_COUNT };
struct route_match {
    enum op op;
    enum http_method method;
    struct str name[2], value[2];
    size_t n;
}; /* borrowed from path */
/* OK; NOT_FOUND: no such path; UNSUPPORTED: the path exists with other methods, *allow lists them ("GET, POST"). */
enum err route_find(enum http_method m, struct str path, struct route_match *out, char allow[64]);
/* `query` is the raw query string, `body` a JSON object or empty, `idempotency_key` empty or the header: it stands for
 * cid where the op has one (two different ones: bad_request). */
enum code args_parse_http(const struct route_match *m, struct str query, struct str body, struct str idempotency_key,
                          struct request *r);
