/* event: what a server's frame says, read by one strict pass.
 *
 * It keeps the members that the load generator checks, wherever they stand in their object, and steps over the rest. It
 * reads what a Parley server prints, and is no general JSON parser: strings that we keep must not contain escapes,
 * since identifiers, codes and our own content have none. Anything else malformed is reported, never skipped. Memory:
 * everything is borrowed from the frame. */
#pragma once
#include "base/str.h"

struct event {
    /* an event */
    struct str ev, from, cid;
    struct str content; /* the raw object */
    /* an event's, or a reply's inside `ok` */
    struct str conv;
    uint64_t seq; /* 0: none */
    /* a reply */
    bool is_reply, is_ok, is_dup;
    struct str conversations, entries; /* raw arrays; of a page, or of a sync's conversation */
    struct str cursor;
    uint64_t last_seq;        /* of a sync's conversation */
    int64_t re;               /* -1: null or no number */
    struct str code, message; /* of `error` */
};

/* A frame holds one object, or an array of them. */
struct events {
    const char *p, *end;
    bool in_array, failed;
};
struct events events_of(struct str frame);
/* The next one; false at the end, and after a fault (then `failed` is set). */
bool events_next(struct events *e, struct event *out);
