/* seed: many accounts without a password, with a device and a token each, made by the directory as fast as its log
 * goes.
 *
 * Thread: the directory's. */
#pragma once
#include "services/directory.h"

enum { SEED_COUNT_MAX = 10000000, SEED_PREFIX_MAX = 24 };

struct seed;
struct seed_conf {
    struct str prefix; /* the names are prefix and number, of at least six digits; copied */
    uint64_t first, count;
    /* A line of one account, `username TAB user TAB device TAB token LF`; it is durable. False: wait for seed_resume.
     */
    bool (*line)(void *arg, struct str line);
    void (*done)(void *arg, enum code code, const char *why); /* once, unless cancelled; what was made stays */
    void *arg;
};
/* NULL: done was called, with what is wrong. */
struct seed *seed_start(struct directory *d, const struct seed_conf *c);
void seed_resume(struct directory *d, struct seed *s);
void seed_cancel(struct directory *d, struct seed *s); /* its callbacks come no more; s is gone for the caller */

/* Called by the directory. */
void seed_serve(struct directory *d, struct request *r); /* INNER_SEED */
void seed_pump(struct directory *d);                     /* there may be room for more */
void seed_abandon(struct directory *d);
