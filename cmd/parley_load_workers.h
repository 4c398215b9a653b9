/* workers: the coordinator of a run that several processes do, on this machine or on others.
 *
 * Whole rooms stay in one worker, so each checks its own deliveries; the users' numbers are different in all, so an
 * entry that goes to another worker's user is a stray there. Groups that are shared, since there are fewer of them than
 * workers or --shared-groups asks for it, are checked as parley_load_crowd.h says. The results are added up into one
 * run, as if one process had done it. A worker that dies or says nothing for WORKER_SILENT_S is named, and the others
 * are stopped.
 *
 *   starting → ready → (all are: go) running → done, dead or failed
 *
 * With shared groups ready and go come twice: when all are logged in, and when all know of their group. */
#pragma once
#include "cmd/parley_load_link.h"
#include "cmd/parley_load_run.h"

enum { WORKERS_MAX = 64, WORKER_SILENT_S = 30 };

/* The users of worker `at` of n are [*from, *to): whole units of which there are as many in each, but for one. */
void workers_part(size_t users, size_t unit, size_t n, size_t at, size_t *from, size_t *to);
/* All phases of all workers, into *sum (a run that run_init has made, but that does nothing itself). INVALID with a
 * sentence in sum->fault: it could not come to traffic. OK: look at the faults. */
MUST_CHECK enum err workers_run(struct run *sum);
