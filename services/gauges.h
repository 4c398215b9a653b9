/* gauges: shows in the metrics how a reactor's log and stores are.
 *
 * They count by themselves, on their own threads; every GAUGES_EVERY_MS what they say is put into the reactor's set.
 * Thread: the reactor's. */
#pragma once
#include "services/reactor.h"

enum { GAUGES_EVERY_MS = 1000 };

struct gauges;
void gauges_create(struct reactor *r, struct gauges **out);
void gauges_destroy(struct gauges *g);
