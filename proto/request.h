/* request: one op under way, from whoever asks (gateway, another service, a tool) to the service that does it and back.
 *
 * The asker creates it, fills op, actor and args (usually by args_parse), sets done, and hands it to the bus. From then
 * until done it belongs to the bus and the serving side, whichever thread that is. The service ends it exactly once by
 * request_ok or request_fail and then bus_reply; done runs on the asker's thread. All its memory is its arena and
 * `out`, freed by request_free. */
#pragma once
#include "base/buf.h"
#include "proto/op.h"

struct actor {
    user_id user; /* 0: nobody yet */
    device_id device;
};

struct request {
    struct request *next; /* in a queue of who has it now */
    struct port *origin;  /* the bus's: where done runs */
    enum op op;
    int inner; /* 0, or a service's own sub-request (services/inner.h); then `op` is unused */
    struct actor actor;
    uint8_t from[8];  /* of sign-up and login: an IPv4 address, or an IPv6 one's first half; zeroes: none */
    union args *args; /* in the arena */
    struct arena arena;
    enum code code;                 /* the answer */
    int64_t retry_after_ms;         /* 0: none */
    struct buf out;                 /* what `ok` holds: one JSON object */
    void *result;                   /* of inner requests: a struct in the arena */
    void (*done)(struct request *); /* on the asker's thread */
    void *asker;                    /* the asker's own */
    void *server;                   /* the serving side's own, while it has it */
    struct request_pool *home;      /* where it goes back to; NULL: the heap */
    char why[160]; /* the message of an error; what goes to the client. The last: see request_new_from */
};

struct request *request_new(void (*done)(struct request *), void *asker); /* from the heap, zeroed */
void request_free(struct request *r);

/* For who asks all the time: requests that come from here go back here when they are freed, with some memory for their
 * arena and `out`: as many as a busy reactor has under way, REQUEST_SPARES of 2 to 3 KiB. request_pool_shrink, called
 * every few seconds, frees half of those that nobody needed since the last call, down to REQUEST_SPARES_QUIET.
 * Thread: the asker's. A zeroed pool is empty and valid. */
enum { REQUEST_SPARES = 4096, REQUEST_SPARES_QUIET = 64 };
struct request_pool {
    struct request *spare; /* linked by `asker` */
    unsigned n, least;     /* least: of n, since request_pool_shrink */
};
struct request *request_new_from(struct request_pool *p, void (*done)(struct request *), void *asker);
void request_pool_shrink(struct request_pool *p);
void request_pool_deinit(struct request_pool *p); /* of those that are back */
/* Marks the answer; the caller then calls bus_reply. request_ok leaves `out` as the service wrote it. */
void request_ok(struct request *r);
void request_fail(struct request *r, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
