/* admission: how many connections may be open, so that files always find a descriptor; and how many of them may belong
 * to strangers, who have not shown a good token yet: of one address, and of all.
 *
 * Strangers are counted in the slot that the keyed hash of their address names: two addresses that share one share its
 * bound, which with 16,384 slots and a secret key is rare, and a flood of addresses costs no memory.
 * Thread: any (atomics); all gateways of a process share one. Memory: a guest is embedded in its connection. */
#pragma once
#include "base/env.h"
#include "base/hash.h"

struct admission;
struct admission_conf {
    struct env *env;
    uint32_t connections; /* at most, of all gateways */
    bool spares_loopback; /* the bounds of strangers are not for the loopback address */
};
enum admission_answer { ADMISSION_GRANTED, ADMISSION_FULL, ADMISSION_CROWDED };

struct guest {
    uint32_t slot;
    bool is_in, is_stranger; /* stranger: counted as one */
};

void admission_create(const struct admission_conf *c, struct admission **out);
/* From now on so many connections. Those that are open stay. */
void admission_allow(struct admission *a, uint32_t connections);
void admission_destroy(struct admission *a);
/* FULL: too many connections. CROWDED: too many strangers, or too many of this address. The guest is then not in. */
enum admission_answer admission_enter(struct admission *a, const uint8_t address[8], bool is_loopback, struct guest *g);
void admission_known(struct admission *a, struct guest *g); /* is no stranger any more; no-op when it was none */
void admission_leave(struct admission *a, struct guest *g); /* no-op when it is not in */
