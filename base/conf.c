/* Every source is reduced to one call, give(name, text, where), which checks the value at once; only when all sources
 * are through is the target written, so a failed reload leaves the running options alone. */
#include "base/conf.h"
#include "base/fs.h"
#include <ctype.h>
#include <stdlib.h>

enum { FILE_MAX_BYTES = 1 << 20 };

struct value {
    const char *text;
    int64_t number; /* of all types but TEXT */
};

struct reader {
    const struct conf_option *table;
    size_t n;
    struct value *values; /* one per row */
    struct buf why;
};

struct unit {
    const char *name;
    int64_t size;
};
static const struct unit BYTES_UNITS[] = {{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0}};
/* A time without a unit is a mistake waiting to happen, so there is none; but 0 is 0. */
static const struct unit MS_UNITS[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                       {"s", 1000},     {"ms", 1},      {NULL, 0}};

static bool parse_units(struct str text, const struct unit *units, int64_t *out)
{
    size_t digits = 0;
    int64_t number;

    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (!str_to_i64(str_of(text.p, digits), 0, INT64_MAX, &number))
        return false;
    for (; units->name; units++) {
        if (str_eq(str_from(text, digits), str_c(units->name)))
            return !__builtin_mul_overflow(number, units->size, out);
    }
    *out = 0;
    return number == 0 && digits == text.len;
}

bool conf_parse_ms(struct str text, int64_t *out) { return parse_units(text, MS_UNITS, out); }

static bool parse_switch(struct str text, int64_t *out)
{
    *out = str_eq(text, STR("on"));
    return *out || str_eq(text, STR("off"));
}

static bool parse(enum conf_type type, struct str text, int64_t *out)
{
    switch (type) {
    case CONF_TEXT:
        return true;
    case CONF_INT:
        return str_to_i64(text, INT64_MIN, INT64_MAX, out);
    case CONF_BYTES:
        return parse_units(text, BYTES_UNITS, out);
    case CONF_MS:
        return parse_units(text, MS_UNITS, out);
    case CONF_SWITCH:
        return parse_switch(text, out);
    }
    return false;
}

static const char *type_hint(enum conf_type type)
{
    static const char *const hints[] = {
        [CONF_TEXT] = "a text",
        [CONF_INT] = "a number",
        [CONF_BYTES] = "a size such as 64k, 16m or 2g",
        [CONF_MS] = "a time such as 500ms, 30s, 5m or 24h",
        [CONF_SWITCH] = "on or off",
    };
    return hints[type];
}

static const struct conf_option *find(const struct reader *r, struct str name)
{
    for (size_t i = 0; i < r->n; i++) {
        if (str_eq(name, str_c(r->table[i].name)))
            return &r->table[i];
    }
    return NULL;
}

/* `text` must live on. */
static enum err give(struct reader *r, const struct conf_option *o, const char *text, const char *where)
{
    struct value v = {text, 0};

    if (!parse(o->type, str_c(text), &v.number)) {
        buf_printf(&r->why, "%s: %s is \"%s\", but must be %s", where, o->name, text, type_hint(o->type));
        return ERR_INVALID;
    }
    bool is_amount = o->type != CONF_TEXT && o->type != CONF_SWITCH;
    if (is_amount && (v.number < o->min || v.number > o->max)) {
        buf_printf(&r->why, "%s: %s is %s, but must be from %lld to %lld%s", where, o->name, text, (long long)o->min,
                   (long long)o->max,
                   o->type == CONF_BYTES ? " bytes"
                   : o->type == CONF_MS  ? " ms"
                                         : "");
        return ERR_INVALID;
    }
    r->values[o - r->table] = v;
    return ERR_OK;
}

static enum err unknown(struct reader *r, struct str name, const char *where)
{
    buf_printf(&r->why, "%s: there is no option " STR_FMT, where, STR_ARG(name));
    return ERR_INVALID;
}

static enum err read_defaults(struct reader *r)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < r->n; i++) {
        if (r->table[i].standard)
            TRY(give(r, &r->table[i], r->table[i].standard, "default"));
    }
out:
    return err;
}

static struct str trim(struct str s)
{
    while (s.len && isspace((unsigned char)s.p[0]))
        s = str_from(s, 1);
    while (s.len && isspace((unsigned char)s.p[s.len - 1]))
        s.len--;
    return s;
}

/* Texts from files live until the program ends; options are loaded by one thread, at the start and on reload. */
static struct arena kept;

static enum err read_line(struct reader *r, struct str line, const char *where)
{
    struct str name, value, comment;

    (void)str_cut(line, '#', &line, &comment);
    line = trim(line);
    if (line.len == 0)
        return ERR_OK;
    if (!str_cut(line, '=', &name, &value)) {
        buf_printf(&r->why, "%s: \"" STR_FMT "\" is not name = value", where, STR_ARG(line));
        return ERR_INVALID;
    }
    name = trim(name);
    value = trim(value);
    const struct conf_option *o = find(r, name);
    if (!o)
        return unknown(r, name, where);
    char *text = arena_alloc(&kept, value.len + 1);
    if (value.len)
        memcpy(text, value.p, value.len);
    return give(r, o, text, where);
}

static enum err read_file(struct reader *r, const char *path)
{
    struct str text = {0};
    struct buf where = {0};
    enum err err = fs_read_all(fs_posix(), path, FILE_MAX_BYTES, &text);

    if (err != ERR_OK) {
        buf_printf(&r->why, "%s: cannot be read: %s", path, err_text(err));
        return ERR_INVALID;
    }
    struct str rest = text, line;
    for (int number = 1; rest.len > 0; number++) {
        if (!str_cut(rest, '\n', &line, &rest)) {
            line = rest;
            rest = (struct str){0};
        }
        buf_clear(&where);
        buf_printf(&where, "%s:%d%c", path, number, 0);
        TRY(read_line(r, line, where.p));
    }
out:
    buf_deinit(&where);
    mem_free((char *)(uintptr_t)text.p);
    return err;
}

static enum err read_environment(struct reader *r)
{
    struct buf name = {0};
    enum err err = ERR_OK;

    for (size_t i = 0; i < r->n; i++) {
        buf_clear(&name);
        buf_str(&name, STR("PARLEY_"));
        for (const char *c = r->table[i].name; *c; c++)
            buf_char(&name, *c == '-' ? '_' : (char)toupper((unsigned char)*c));
        buf_char(&name, 0);
        const char *text = getenv(name.p);
        if (text)
            TRY(give(r, &r->table[i], text, name.p));
    }
out:
    buf_deinit(&name);
    return err;
}

/* One option of the command line: its name, its value if it has one, and how many arguments it took. A switch takes the
 * next argument only when that is on or off. */
struct argument {
    struct str name;
    const char *value; /* NULL: none */
    int taken;
};

static struct argument argument_at(const struct reader *r, int argc, char **argv, int i)
{
    struct argument a = {str_c(argv[i] + 2), NULL, 1};
    struct str rest;
    int64_t ignored;

    if (str_cut(a.name, '=', &a.name, &rest)) {
        a.value = rest.p;
        return a;
    }
    const struct conf_option *o = find(r, a.name);
    const char *next = i + 1 < argc ? argv[i + 1] : NULL;
    bool is_switch = o && o->type == CONF_SWITCH;
    if (next && (is_switch ? parse_switch(str_c(next), &ignored) : strncmp(next, "--", 2) != 0)) {
        a.value = next;
        a.taken = 2;
    } else if (is_switch) {
        a.value = "on";
    }
    return a;
}

static bool is_option(const char *arg) { return arg[0] == '-' && arg[1] != 0; }

static bool is_config(struct str name) { return str_eq(name, STR("config")); }

/* The last --config; everything else is left to read_arguments. */
static const char *config_path(const struct reader *r, int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0;) {
        struct argument a = {.taken = 1};
        if (strncmp(argv[i], "--", 2) == 0)
            a = argument_at(r, argc, argv, i);
        if (is_config(a.name))
            path = a.value;
        i += a.taken;
    }
    return path;
}

static enum err read_argument(struct reader *r, const struct argument *a)
{
    static const char where[] = "command line";
    const struct conf_option *o = find(r, a->name);

    if (!o && !is_config(a->name))
        return unknown(r, a->name, where);
    if (!a->value) {
        buf_printf(&r->why, "%s: " STR_FMT " needs a value", where, STR_ARG(a->name));
        return ERR_INVALID;
    }
    return o ? give(r, o, a->value, where) : ERR_OK;
}

static enum err read_arguments(struct reader *r, int *argc, char **argv)
{
    int i = 1, left = 1;
    while (i < *argc && strcmp(argv[i], "--") != 0) {
        if (!is_option(argv[i])) {
            argv[left++] = argv[i++];
            continue;
        }
        if (argv[i][1] != '-')
            return unknown(r, str_c(argv[i]), "command line");
        struct argument a = argument_at(r, *argc, argv, i);
        enum err err = read_argument(r, &a);
        if (err != ERR_OK)
            return err;
        i += a.taken;
    }
    for (i++; i < *argc; i++) /* behind `--` nothing is an option */
        argv[left++] = argv[i];
    if (left < *argc)
        argv[left] = NULL;
    *argc = left;
    return ERR_OK;
}

static void store(const struct reader *r, void *target)
{
    for (size_t i = 0; i < r->n; i++) {
        void *at = (char *)target + r->table[i].offset;
        if (r->table[i].type == CONF_TEXT)
            *(const char **)at = r->values[i].text;
        else if (r->table[i].type == CONF_SWITCH)
            *(bool *)at = r->values[i].number != 0;
        else
            *(int64_t *)at = r->values[i].number;
    }
}

enum err conf_load(const struct conf_option *table, size_t n, void *target, int *argc, char **argv, char **why)
{
    struct reader r = {table, n, mem_new_array(struct value, n), {0}};
    const char *path = config_path(&r, *argc, argv);
    enum err err;

    TRY(read_defaults(&r));
    if (path)
        TRY(read_file(&r, path));
    TRY(read_environment(&r));
    TRY(read_arguments(&r, argc, argv));
    store(&r, target);
out:
    if (err != ERR_OK)
        *why = mem_dup(buf_get(&r.why));
    buf_deinit(&r.why);
    mem_free(r.values);
    return err;
}

void conf_help(const struct conf_option *table, size_t n, struct buf *out)
{
    static const char *const values[] = {
        [CONF_TEXT] = " TEXT", [CONF_INT] = " N",         [CONF_BYTES] = " SIZE",
        [CONF_MS] = " TIME",   [CONF_SWITCH] = " on|off",
    };
    struct buf left = {0};

    for (size_t i = 0; i < n; i++) {
        buf_clear(&left);
        buf_printf(&left, "--%s%s%c", table[i].name, values[table[i].type], 0);
        buf_printf(out, "  %-28s %s", left.p, table[i].help);
        if (table[i].standard && table[i].standard[0])
            buf_printf(out, " (%s)", table[i].standard);
        buf_char(out, '\n');
    }
    buf_deinit(&left);
}
