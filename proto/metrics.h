/* metrics: the table that metrics.def declares, as base/metrics wants it. */
#pragma once
#include "base/metrics.h"
#include "proto/metrics.def"

extern const struct metric_desc metric_table[METRIC_COUNT];
