/* process: what this process has used so far, under the names that Prometheus gives them everywhere.
 *
 * Read when asked for, so it is never old; two system calls and one small file of /proc. Thread: any. */
#pragma once
#include "base/buf.h"

/* Appends process_cpu_seconds_total and process_resident_memory_bytes in Prometheus' text format. What the system does
 * not tell is left out. */
void process_print(struct buf *out);
