/* parleyd_descriptors: how many descriptors the process may have, and how many of them are for connections.
 *
 * A store that comes while the server runs takes its share from the connections, and gives it back when it goes.
 * Files come first: a log that finds no descriptor for its next segment stands still. */
#pragma once
#include "base/err.h"
#include <stdint.h>

/* Raises the limit as far as the system lets it; returns it. */
uint32_t descriptors_raise(void);
/* What is left for connections. LIMIT: too little to serve anybody; *wanted says how many there must be. */
MUST_CHECK enum err descriptors_share(uint32_t all, unsigned stores, unsigned threads, uint32_t *connections,
                                      uint32_t *wanted);
/* For one store more, from those for connections; LIMIT: too few would be left, nothing changed. */
MUST_CHECK enum err descriptors_take(uint32_t *connections);
void descriptors_give(uint32_t *connections); /* of one store */
