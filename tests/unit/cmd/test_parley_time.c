#include "tests/lib/unit.h"
#include "cmd/parley_time.h"

#define NOW 1767225600000 /* 2026-01-01T00:00:00Z */
#define DAY 86400000

PROMISE(a_moment_or_an_age_is_understood)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"2026-01-01T00:00:00Z", NOW},
        {"2026-01-01t00:00:00z", NOW},
        {"2026-01-01T02:00:00+02:00", NOW},
        {"2025-12-31T19:30:00-04:30", NOW},
        {"2026-01-01T00:00:00.999Z", NOW}, /* to the second */
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"0s", NOW},
        {"90s", NOW - 90000},
        {"45m", NOW - 2700000},
        {"12h", NOW - DAY / 2},
        {"30d", NOW - 30LL * DAY},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = -1;
        if (!time_parse(str_c(cases[i].text), NOW, &ms) || ms != cases[i].ms)
            fail_msg("%s is %lld", cases[i].text, (long long)ms);
    }
}

PROMISE(what_is_neither_is_refused)
{
    static const char *const cases[] = {
        "",
        "d",
        "30",
        "-1d",
        "+1d",
        "1.5d",
        "30w",
        "99999999d",
        "20455d", /* before 1970 */
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+2:00",
        "2026-01-01T00:00:00Zx",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "1960-01-01T00:00:00Z",
        "20x6-01-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = 0;
        if (time_parse(str_c(cases[i]), NOW, &ms))
            fail_msg("%s is %lld", cases[i], (long long)ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_moment_or_an_age_is_understood),
        HOLDS(what_is_neither_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
