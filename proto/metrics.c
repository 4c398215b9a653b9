#include "proto/metrics.h"

#define METRIC_ROW(id, name, kind, help) [METRIC_##id] = {name, help, METRIC_##kind},
const struct metric_desc metric_table[METRIC_COUNT] = {METRICS(METRIC_ROW)};
