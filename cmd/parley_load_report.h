/* report: the result of a run, for people and for programs. */
#pragma once
#include "cmd/parley_load_run.h"

void report_table(const struct run *r, struct buf *out);
void report_html(const struct run *r, struct buf *out);
void report_json(const struct run *r, struct buf *out); /* one object, one line */
