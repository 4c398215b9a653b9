/* conf: options declared once in a table; read from defaults, a file, the environment and the command line, in that
 * order, the later winning.
 *
 * The file has lines `name = value`, `#` starts a comment. The environment has PARLEY_NAME, with `-` as `_`. The
 * command line has --name value, --name=value, and --name alone for a switch. */
#pragma once
#include "base/buf.h"

enum conf_type {
    CONF_TEXT,
    CONF_INT,
    CONF_BYTES /* 64k, 16m, 2g */,
    CONF_MS /* 500ms, 30s, 5m, 24h, 90d */,
    CONF_SWITCH /* on, off */
};
struct conf_option {
    const char *name;
    enum conf_type type;
    size_t offset;        /* of a `const char *` (TEXT), `int64_t` (INT, BYTES, MS) or `bool` (SWITCH) in the target */
    const char *standard; /* the default, as text */
    int64_t min, max;     /* of INT, BYTES and MS */
    const char *help;
};
/* Fills *target. INVALID with a sentence in *why (mem_free it) that names the option and where it stood. Positional
 * arguments are left, in order, in argv[1..*argc-1]. A `--config FILE` names the file; it is not in the table.
 * Texts live until the program ends. */
MUST_CHECK enum err conf_load(const struct conf_option *table, size_t n, void *target, int *argc, char **argv,
                              char **why);
/* A time as CONF_MS has it. */
bool conf_parse_ms(struct str text, int64_t *out);
void conf_help(const struct conf_option *table, size_t n, struct buf *out);
