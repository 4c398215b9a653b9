/* log: one event, one line on stderr: `2026-01-31T12:00:00.000Z info name key=value …`.
 *
 * error: an operator must act; warn: it healed or was refused; info: lifecycle; debug: off unless asked for.
 * Never contents, tokens, phone numbers or keys. Thread-safe: one write a line. */
#pragma once
#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_set_level(enum log_level level); /* at start-up and on reload; atomic */
void log_event(enum log_level level, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)
