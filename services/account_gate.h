/* account_gate: what stands before a password is hashed or checked.
 *
 * A hash costs some 24 ms and 19 MiB on purpose. So attempts are limited per name before they queue, few run at a time,
 * and a full queue refuses. A name that nobody has costs the same run as one that somebody has.
 *
 * Thread: any (a lock around the table of attempts, held for nanoseconds). One gate a process, shared by all reactors.
 */
#pragma once
#include "base/env.h"
#include "base/hash.h"
#include "base/worker.h"

enum {
    ACCOUNT_ATTEMPTS_PER_MINUTE = 10,
    ACCOUNT_HASH_QUEUE = 64,
    ACCOUNT_HASH_TEXT = 128 /* an encoded hash, with its terminating zero */
};
struct account_gate;

struct account_gate_conf {
    struct env *env;
    const struct hash_key *key;
    unsigned threads; /* 1 on up to two cores, else 2 */
    bool is_limited;  /* attempts per name */
};
/* Destroyed after the reactors' threads ended and before their loops are destroyed: what waits is still hashed and
 * comes home. */
MUST_CHECK enum err account_gate_create(const struct account_gate_conf *c, struct account_gate **out);
void account_gate_destroy(struct account_gate *g);

/* Counts an attempt on a name. LIMIT: too many; *wait_ms says when the next one counts. */
MUST_CHECK enum err account_gate_attempt(struct account_gate *g, struct str username, int64_t *wait_ms);

struct account_hashing {
    struct job job;               /* the gate's */
    struct account_gate *gate;    /* the same */
    struct str password;          /* borrowed until done */
    char hash[ACCOUNT_HASH_TEXT]; /* of a check: what it is checked against, empty for a name that nobody has; else the
                                     result */
    bool is_check, ok;            /* ok: hashed, or the password is right */
    void (*done)(struct account_hashing *); /* on `home` */
    struct mailbox *home;
};
/* LIMIT: the queue is full; nothing was done. */
MUST_CHECK enum err account_gate_run(struct account_gate *g, struct account_hashing *h);
