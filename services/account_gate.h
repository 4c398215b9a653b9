/* account_gate: what stands before a password is hashed or checked.
 *
 * A hash costs some 24 ms and 19 MiB on purpose. So attempts are limited before they queue, few run at a time, an
 * address has few places in the queue, and a full queue refuses. A name that nobody has costs the same run as one that
 * somebody has.
 *
 *   every attempt           60 a minute (30 at once) of an address, ten times as many of its network
 *   attempts on one name    10 a minute of an address
 *   failed logins           100 a minute of a name, wherever they come from
 *
 * Sign-ups and logins are counted apart. So nobody is locked out by somebody else who guesses at their name, unless
 * that comes from many addresses at once.
 *
 * Thread: any (a lock around the tables, held for nanoseconds). One gate a process, shared by all reactors. */
#pragma once
#include "base/env.h"
#include "base/hash.h"
#include "base/worker.h"

enum {
    ACCOUNT_ATTEMPTS_PER_MINUTE = 10,
    ACCOUNT_HASH_QUEUE = 64,
    ACCOUNT_HASHES_OF_ADDRESS = 4, /* waiting and under way */
    ACCOUNT_HASH_TEXT = 128        /* an encoded hash, with its terminating zero */
};
struct account_gate;

struct account_gate_conf {
    struct env *env;
    const struct hash_key *key;
    unsigned threads; /* 1 on up to two cores, else 2 */
    bool is_limited;  /* attempts, and places in the queue by address */
};
/* Destroyed after the reactors' threads ended and before their loops are destroyed: what waits is still hashed and
 * comes home. */
MUST_CHECK enum err account_gate_create(const struct account_gate_conf *c, struct account_gate **out);
void account_gate_destroy(struct account_gate *g);

struct account_attempt {
    bool is_signup;
    uint8_t from[8]; /* as in struct request */
    struct str username;
};
/* Counts an attempt. LIMIT: too many, and it is not counted; *wait_ms says when the next one may pass. */
MUST_CHECK enum err account_gate_attempt(struct account_gate *g, const struct account_attempt *a, int64_t *wait_ms);
/* It was not in vain, or came to nothing: its name's counts are taken back. */
void account_gate_forgive(struct account_gate *g, const struct account_attempt *a);

struct account_hashing {
    struct job job;               /* the gate's */
    struct account_gate *gate;    /* the same */
    struct str password;          /* borrowed until done */
    char hash[ACCOUNT_HASH_TEXT]; /* of a check: what it is checked against, empty for a name that nobody has; else the
                                     result */
    uint8_t from[8];              /* whose place in the queue it takes */
    bool is_check, ok;            /* ok: hashed, or the password is right */
    void (*done)(struct account_hashing *); /* on `home` */
    struct mailbox *home;
};
/* LIMIT: the queue is full; AGAIN: the address has its places in it already. Nothing was done. */
MUST_CHECK enum err account_gate_run(struct account_gate *g, struct account_hashing *h);
