/* move_state: what the files of moving share: move_gate.c (who waits), move_source.c, move_target.c. Nobody else
 * includes it. */
#pragma once
#include "services/move.h"
#include "services/reactor_state.h"

enum { NO_SHARD = 0xffff };

struct source;
struct moves {
    struct reactor *r;
    char *names[STORES_MAX];
    bool is_on;            /* something moved here, or is about to */
    uint16_t paused;       /* the shard whose requests wait; NO_SHARD */
    bool is_arriving;      /* and it comes from elsewhere */
    struct link handed;    /* struct gated: handed over by the source */
    struct link direct;    /* what came by itself */
    struct source *source; /* NULL: nothing leaves */
    struct link batches;   /* struct putting: for stores of this reactor */
    struct link waits;     /* struct flushing, struct cleaning's */
    struct timer retry, look;
};

static inline void move_answer(struct reactor *r, struct request *q, bool is_ok)
{
    if (is_ok)
        request_ok(q);
    else
        request_fail(q, CODE_UNAVAILABLE, "not now");
    bus_reply(r->port, q);
}

/* move_gate.c */
void move_pause(struct moves *m, uint16_t shard, bool is_arriving);
void move_release(struct moves *m);   /* what waits is served here */
void move_hand_over(struct moves *m); /* or by the owner */

/* move_source.c */
void move_copy(struct moves *m, struct request *q);
void move_drain(struct moves *m, struct request *q);
void move_resume(struct moves *m, struct request *q);
void move_leave(struct moves *m, struct request *q);
void move_stop(struct moves *m, struct request *q);
void move_source_free(struct moves *m);

/* move_target.c */
void move_put(struct moves *m, struct request *q);
void move_flush(struct moves *m, struct request *q);
void move_clean(struct moves *m, struct request *q);
void move_part(struct moves *m, struct request *q); /* from a store */
void move_target_init(struct moves *m);
void move_target_deinit(struct moves *m);
