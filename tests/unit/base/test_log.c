#include "base/log.h"
#include "base/str.h"
#include "tests/lib/unit.h"
#include <fcntl.h>
#include <unistd.h>

static int pipe_fds[2], real_stderr;
static char got[8192];

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    real_stderr = dup(STDERR_FILENO);
    return pipe2(pipe_fds, O_NONBLOCK) || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* What was logged since the last call. */
static struct str logged(void)
{
    ssize_t n = read(pipe_fds[0], got, sizeof(got) - 1);
    got[n > 0 ? n : 0] = 0;
    return str_c(got);
}

PROMISE(an_event_is_one_line_with_time_level_name_and_values)
{
    log_warn("store_slow", "store=%d ms=%d", 3, 250);
    struct str line = logged();
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; i < sizeof(form) - 1; i++)
        assert_true(form[i] == 'd' ? line.p[i] >= '0' && line.p[i] <= '9' : line.p[i] == form[i]);
    assert_string_equal(line.p + sizeof(form) - 1, "warn store_slow store=3 ms=250\n");
}

PROMISE(what_is_below_the_level_is_not_written)
{
    log_debug("quiet", "a=%d", 1);
    assert_int_equal(logged().len, 0);
    log_set_level(LOG_DEBUG);
    log_debug("loud", "a=%d", 1);
    assert_true(logged().len > 0);
    log_set_level(LOG_ERROR);
    log_warn("quiet", "a=%d", 1);
    log_info("quiet", "a=%d", 1);
    assert_int_equal(logged().len, 0);
    log_error("loud", "a=%d", 1);
    assert_true(logged().len > 0);
}

PROMISE(a_value_cannot_make_a_second_line)
{
    log_info("odd", "text=%s", "a\n2026 error forged\r\x1b[0m");
    struct str head, rest, line = logged();
    assert_true(str_cut(line, '\n', &head, &rest));
    assert_int_equal(rest.len, 0);
    for (size_t i = 0; i < head.len; i++)
        assert_true((unsigned char)head.p[i] >= ' ');
}

PROMISE(a_line_that_is_too_long_is_cut_and_still_ends)
{
    log_info("long", "text=%05000d", 1);
    struct str line = logged();
    assert_true(line.len > 500 && line.len <= 1024);
    assert_int_equal(line.p[line.len - 1], '\n');
}

PROMISE(an_event_without_values_is_a_name)
{
    log_info("drained", "");
    struct str line = logged();
    assert_string_equal(line.p + 25, "info drained\n");
}

#define CAUGHT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAUGHT(an_event_is_one_line_with_time_level_name_and_values),
        CAUGHT(what_is_below_the_level_is_not_written),
        CAUGHT(a_value_cannot_make_a_second_line),
        CAUGHT(a_line_that_is_too_long_is_cut_and_still_ends),
        CAUGHT(an_event_without_values_is_a_name),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
