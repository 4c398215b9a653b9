/* parley_time: a moment as an operator writes it: 2026-01-31T12:00:00Z (RFC 3339; also with a fraction, or with +02:00
 * for Z), or how long ago it is: 90s, 30m, 12h, 30d. */
#pragma once
#include "base/str.h"

/* In ms since 1970; false: it is neither, or before 1970. */
bool time_parse(struct str s, int64_t now_ms, int64_t *out);
