/* bus: what services and gateway know of each other: ask, answer, tell. The local backend: threads of one process.
 *
 * Each thread that takes part has a port. A request goes to a port's server and comes back to its asker; a delivery
 * goes to every port that some addressed user has joined. Durable work (append, consume) is stream.h.
 *
 * Thread: a port belongs to its thread; bus_create and port_attach happen before the threads run. What crosses threads
 * are parcels in mailboxes. The table of who is where (bus_join) is shared: 64 stripes, a lock each, held for
 * nanoseconds. Order: what one port sends another arrives in order. */
#pragma once
#include "base/loop.h"
#include "proto/frame.h"
#include "proto/request.h"

enum { BUS_PORTS_MAX = 64 };
struct bus;
struct port;

struct bus_conf {
    unsigned ports; /* 0..ports-1: the reactors first, then the others */
    const struct hash_key *key;
};
void bus_create(const struct bus_conf *c, struct bus **out);
void bus_destroy(struct bus *b);
struct port *bus_port(struct bus *b, unsigned index);
/* Both before the threads run. */
void port_attach(struct port *p, struct mailbox *m); /* what is sent from here leaves at once */
/* By l's mailbox. What is sent from here leaves when the hooks of l's turn come to this one; what hooks behind it send
 * makes another turn. */
void port_follow(struct port *p, struct loop *l);
void port_send(struct port *p); /* what was sent from here leaves now */
/* Most that may wait for a port, of all others together; 0: PORT_WAITING. For tests. */
enum { PORT_WAITING = 65536 };
void port_bound(struct port *p, size_t items);
size_t port_waiting(const struct port *p); /* what has been sent to it and has not run */
unsigned port_index(const struct port *p);

/* Serving and asking. */
typedef void bus_serve_fn(void *ctx, struct request *r);
void bus_serve(struct port *p, bus_serve_fn *fn, void *ctx);
/* Asks the server of port `to`; on one's own port the server is called directly. r->done runs here, later or at once.
 */
void bus_request(struct port *here, unsigned to, struct request *r);
/* The server of `here` hands a request on to another; the asker stays the asker. */
void bus_forward(struct port *here, unsigned to, struct request *r);
/* The server ends a request: done runs on the asker's thread (at once when that is this one). */
void bus_reply(struct port *here, struct request *r);
/* Runs msg->run on the port's thread. For what is neither a request nor a delivery. */
void bus_post(struct bus *b, unsigned to, struct msg *m);

/* Telling. Deliveries that are an entry keep their order; where too much waits for a port they are dropped and it is
 * told to resync all its sessions, in O(1). */
enum delivery_class {
    DELIVER_ENTRY,     /* an entry of a log: dropped only with resync */
    DELIVER_EPHEMERAL, /* a later one with the same `slot` replaces it while it waits; dropped first */
    DELIVER_CLOSE,     /* close the device's session(s) with `close_code`; frame is NULL */
    DELIVER_LOST,      /* made by the bus: entries for this port were dropped; resync everybody */
};
struct delivery {
    enum delivery_class class;
    struct frame *frame;
    struct audience *to;   /* whom */
    user_id skip_user;     /* the device that sent it; 0: nobody */
    device_id skip_device; /* 0 with a skip_user: all devices of that user */
    user_id only_user;     /* not 0: this user alone, `to` is NULL */
    device_id only_device; /* with only_user: this device alone; 0: all */
    uint64_t slot;         /* of ephemerals: what they are about; 0: never replaced */
    uint16_t close_code;
};
typedef void bus_sink_fn(void *ctx,
                         const struct delivery *d); /* d, frame and audience are borrowed: ref what you keep */
void bus_sink(struct port *p, bus_sink_fn *fn, void *ctx);

/* Says that this port has a session of `user` (counted: join and leave pair up). From the return of bus_join on, every
 * emit reaches this port. */
void bus_join(struct port *here, user_id user);
void bus_leave(struct port *here, user_id user);
/* Sends to every port that has one of those addressed. The frame and audience stay the caller's (references are taken
 * where it crosses). `offline`, if given, is called for each addressed user who is nowhere. */
typedef void bus_offline_fn(void *arg, user_id user);
void bus_emit(struct port *here, const struct delivery *d, bus_offline_fn *offline, void *arg);
bool bus_is_online(struct bus *b, user_id user);
