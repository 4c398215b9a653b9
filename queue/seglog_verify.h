/* seglog_verify: reads every byte of a log that nobody writes, changes nothing, and names all that is damaged.
 *
 * Thread: one. Memory: a segment at a time. */
#pragma once
#include "base/damage.h"
#include "queue/seglog.h"

/* Calls fn for each record that is whole, in order, also for those behind damage; an error of fn ends it. A tail that
 * is not whole and that nobody was told to be durable is no damage: it is in the report, as recovery would cut it.
 * `durable_floor`: as in seglog_recover. Errors are of reading alone (IO, NOMEM); damage goes to the sink. */
MUST_CHECK enum err seglog_verify(struct env *env, const char *dir, uint64_t log_id, uint64_t durable_floor,
                                  const struct damage_sink *sink, log_record_fn *fn, void *arg,
                                  struct seglog_report *out);
