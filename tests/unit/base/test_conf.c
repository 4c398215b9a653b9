#include "base/conf.h"
#include "base/fs.h"
#include "tests/lib/unit.h"
#include <unistd.h>

struct options {
    const char *listen, *data;
    int64_t stores, cache, ping;
    bool rate_limit, check;
};

static const struct conf_option table[] = {
    {"listen", CONF_TEXT, offsetof(struct options, listen), "127.0.0.1:7070", 0, 0, "where to listen"},
    {"data", CONF_TEXT, offsetof(struct options, data), NULL, 0, 0, "the data directory"},
    {"stores", CONF_INT, offsetof(struct options, stores), "4", 1, 64, "how many stores"},
    {"cache-size", CONF_BYTES, offsetof(struct options, cache), "64m", 0, (int64_t)1 << 40, "memory for blocks"},
    {"ping", CONF_MS, offsetof(struct options, ping), "30s", 0, 86400000, "how often to ping"},
    {"rate-limit", CONF_SWITCH, offsetof(struct options, rate_limit), "on", 0, 0, "limit requests"},
    {"check", CONF_SWITCH, offsetof(struct options, check), "off", 0, 0, "only check the options"},
};
enum { ROWS = sizeof(table) / sizeof(table[0]) };

static char file[] = "/tmp/parley-conf-XXXXXX";
static struct options o;
static int argc;
static const char *argv[16];
static char *why;

/* Loads with these arguments, the first being `--config file` when the file is wanted; NULL ends. */
static enum err load(const char *first, ...)
{
    va_list args;
    va_start(args, first);
    argc = 0;
    argv[argc++] = "program";
    for (const char *a = first; a; a = va_arg(args, const char *))
        argv[argc++] = a;
    va_end(args);
    argv[argc] = NULL;
    mem_free(why);
    why = NULL;
    return conf_load(table, ROWS, &o, &argc, (char **)(uintptr_t)argv, &why);
}

static void write_file(const char *text) { assert_ok(fs_replace(fs_posix(), file, str_c(text))); }

static void assert_refused(enum err err, const char *sentence)
{
    assert_int_equal(err, ERR_INVALID);
    assert_string_equal(why, sentence);
}

PROMISE(without_anything_the_defaults_hold)
{
    assert_ok(load(NULL, NULL));
    assert_string_equal(o.listen, "127.0.0.1:7070");
    assert_null(o.data);
    assert_int_equal(o.stores, 4);
    assert_int_equal(o.cache, 64 << 20);
    assert_int_equal(o.ping, 30000);
    assert_true(o.rate_limit);
    assert_false(o.check);
    assert_int_equal(argc, 1);
}

PROMISE(the_command_line_wins_over_the_environment_that_over_the_file_and_that_over_the_default)
{
    write_file("stores = 5\ncache-size=5k\nping = 5s\n");
    setenv("PARLEY_CACHE_SIZE", "6k", 1);
    setenv("PARLEY_PING", "6s", 1);
    enum err err = load("--config", file, "--ping=7s", NULL);
    unsetenv("PARLEY_CACHE_SIZE");
    unsetenv("PARLEY_PING");
    assert_ok(err);
    assert_string_equal(o.listen, "127.0.0.1:7070");
    assert_int_equal(o.stores, 5);
    assert_int_equal(o.cache, 6 << 10);
    assert_int_equal(o.ping, 7000);
}

PROMISE(a_file_has_comments_blanks_and_texts_that_outlive_it)
{
    write_file("# a comment\n\n  listen =  [::1]:80 # behind\r\n\tdata=/var/x y\nrate-limit = off");
    char with_equals[64];
    snprintf(with_equals, sizeof(with_equals), "--config=%s", file);
    assert_ok(load(with_equals, NULL));
    write_file("");
    assert_string_equal(o.listen, "[::1]:80");
    assert_string_equal(o.data, "/var/x y");
    assert_false(o.rate_limit);
}

PROMISE(positional_arguments_are_left_in_order)
{
    assert_ok(load("send", "--stores", "2", "-", "--check", "to", "--", "--data", NULL));
    assert_int_equal(argc, 5);
    assert_string_equal(argv[1], "send");
    assert_string_equal(argv[2], "-");
    assert_string_equal(argv[3], "to");
    assert_string_equal(argv[4], "--data");
    assert_true(o.check);
    assert_int_equal(o.stores, 2);
}

PROMISE(a_switch_takes_on_and_off_or_stands_alone)
{
    assert_ok(load("--rate-limit", "off", "--check", NULL));
    assert_true(!o.rate_limit && o.check);
    assert_int_equal(argc, 1);
    assert_ok(load("--rate-limit=off", "--check=on", NULL));
    assert_true(!o.rate_limit && o.check);
    assert_ok(load("--check", "other", NULL));
    assert_true(o.check);
    assert_int_equal(argc, 2);
    assert_refused(load("--check=maybe", NULL), "command line: check is \"maybe\", but must be on or off");
}

PROMISE(sizes_and_times_have_units)
{
    assert_ok(load("--cache-size", "2g", "--ping", "24h", NULL));
    assert_int_equal(o.cache, (int64_t)2 << 30);
    assert_int_equal(o.ping, 86400000);
    assert_ok(load("--cache-size", "1000", "--ping", "500ms", NULL));
    assert_int_equal(o.cache, 1000);
    assert_int_equal(o.ping, 500);
    assert_ok(load("--ping", "0", NULL));
    assert_int_equal(o.ping, 0);
    assert_ok(load("--ping", "5m", NULL));
    assert_int_equal(o.ping, 300000);
    assert_ok(load("--ping", "1d", NULL));
    assert_int_equal(o.ping, 86400000);
    int64_t ms = 7;
    assert_true(conf_parse_ms(STR("90d"), &ms) && ms == 90 * 86400000LL);
    assert_true(conf_parse_ms(STR("0"), &ms) && ms == 0);
    assert_false(conf_parse_ms(STR("90"), &ms));
    assert_false(conf_parse_ms(STR("forever"), &ms));
    assert_false(conf_parse_ms(STR("9223372036854775807d"), &ms));
}

PROMISE(a_wrong_value_is_told_with_its_option_and_place)
{
    assert_refused(load("--stores", "many", NULL), "command line: stores is \"many\", but must be a number");
    assert_refused(load("--stores", "65", NULL), "command line: stores is 65, but must be from 1 to 64");
    assert_refused(load("--ping", "30", NULL),
                   "command line: ping is \"30\", but must be a time such as 500ms, 30s, 5m or 24h");
    assert_refused(load("--cache-size", "9t", NULL),
                   "command line: cache-size is \"9t\", but must be a size such as 64k, 16m or 2g");
    assert_int_equal(load("--cache-size", "9223372036854775807g", NULL), ERR_INVALID);
    assert_int_equal(load("--cache-size", "k", NULL), ERR_INVALID);
    assert_int_equal(load("--cache-size", "", NULL), ERR_INVALID);
    assert_refused(load("--data", NULL), "command line: data needs a value");
    assert_refused(load("--data", "--check", NULL), "command line: data needs a value");
    assert_refused(load("--config", NULL), "command line: config needs a value");
    assert_refused(load("--speed", "9", NULL), "command line: there is no option speed");
    assert_refused(load("-x", NULL), "command line: there is no option -x");
    setenv("PARLEY_STORES", "0", 1);
    enum err err = load(NULL, NULL);
    unsetenv("PARLEY_STORES");
    assert_refused(err, "PARLEY_STORES: stores is 0, but must be from 1 to 64");
}

static void assert_file_refused(const char *text, const char *sentence)
{
    char full[256];
    write_file(text);
    snprintf(full, sizeof(full), "%s:%s", file, sentence);
    assert_refused(load("--config", file, NULL), full);
}

PROMISE(a_wrong_line_of_a_file_is_told_with_its_number)
{
    assert_file_refused("# one\n\nstores = x\n", "3: stores is \"x\", but must be a number");
    assert_file_refused("speed = 9", "1: there is no option speed");
    assert_file_refused("stores = 1\nstores\n", "2: \"stores\" is not name = value");
    assert_int_equal(load("--config", "/nowhere/at/all", NULL), ERR_INVALID);
    assert_string_equal(why, "/nowhere/at/all: cannot be read: no such thing");
}

PROMISE(a_refused_load_leaves_the_options_alone)
{
    assert_ok(load("--stores", "9", NULL));
    assert_int_equal(load("--stores", "8", "--ping", "x", NULL), ERR_INVALID);
    assert_int_equal(o.stores, 9);
}

PROMISE(help_lists_every_option_with_its_default)
{
    struct buf out = {0};
    conf_help(table, ROWS, &out);
    buf_char(&out, 0);
    for (size_t i = 0; i < ROWS; i++) {
        assert_non_null(strstr(out.p, table[i].name));
        assert_non_null(strstr(out.p, table[i].help));
        assert_true(!table[i].standard || strstr(out.p, table[i].standard));
    }
    buf_deinit(&out);
}

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    mem_free(why);
    return unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(without_anything_the_defaults_hold),
        HOLDS(the_command_line_wins_over_the_environment_that_over_the_file_and_that_over_the_default),
        HOLDS(a_file_has_comments_blanks_and_texts_that_outlive_it),
        HOLDS(positional_arguments_are_left_in_order),
        HOLDS(a_switch_takes_on_and_off_or_stands_alone),
        HOLDS(sizes_and_times_have_units),
        HOLDS(a_wrong_value_is_told_with_its_option_and_place),
        HOLDS(a_wrong_line_of_a_file_is_told_with_its_number),
        HOLDS(a_refused_load_leaves_the_options_alone),
        HOLDS(help_lists_every_option_with_its_default),
    };
    return cmocka_run_group_tests_name("conf", tests, set_up, tear_down);
}
