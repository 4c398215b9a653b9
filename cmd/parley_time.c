#include "cmd/parley_time.h"
#include <time.h>

enum { DATE_LEN = 19, ZONE_LEN = 6 };

static bool digits(struct str s, size_t at, size_t n, int max, int *out)
{
    int64_t v;

    if (at + n > s.len || !str_to_i64(str_of(s.p + at, n), 0, max, &v) || s.p[at] == '+' || s.p[at] == '-')
        return false;
    *out = (int)v;
    return true;
}

static bool is_at(struct str s, size_t at, char c) { return at < s.len && s.p[at] == c; }

/* What stands behind the seconds: a fraction, then Z or how far the zone is ahead. */
static bool zone(struct str s, int64_t *ahead_s)
{
    int hours, minutes;

    if (is_at(s, 0, '.')) {
        size_t n = 1;

        while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
            n++;
        if (n == 1)
            return false;
        s = str_of(s.p + n, s.len - n);
    }
    *ahead_s = 0;
    if (str_eq(s, STR("Z")) || str_eq(s, STR("z")))
        return true;
    if (s.len != ZONE_LEN || (s.p[0] != '+' && s.p[0] != '-') || !is_at(s, 3, ':') || !digits(s, 1, 2, 23, &hours) ||
        !digits(s, 4, 2, 59, &minutes))
        return false;
    *ahead_s = (s.p[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* A day that is not in its month becomes another, which tells. */
static bool is_same(const struct tm *a, const struct tm *b)
{
    return a->tm_year == b->tm_year && a->tm_mon == b->tm_mon && a->tm_mday == b->tm_mday;
}

static bool moment(struct str s, int64_t *out)
{
    struct tm t = {0}, asked;
    int64_t ahead_s;

    if (s.len <= DATE_LEN || !is_at(s, 4, '-') || !is_at(s, 7, '-') || !(is_at(s, 10, 'T') || is_at(s, 10, 't')) ||
        !is_at(s, 13, ':') || !is_at(s, 16, ':'))
        return false;
    if (!digits(s, 0, 4, 9999, &t.tm_year) || !digits(s, 5, 2, 12, &t.tm_mon) || !digits(s, 8, 2, 31, &t.tm_mday) ||
        !digits(s, 11, 2, 23, &t.tm_hour) || !digits(s, 14, 2, 59, &t.tm_min) || !digits(s, 17, 2, 59, &t.tm_sec) ||
        !zone(str_of(s.p + DATE_LEN, s.len - DATE_LEN), &ahead_s))
        return false;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    asked = t;
    *out = ((int64_t)timegm(&t) - ahead_s) * 1000;
    return is_same(&t, &asked) && *out > 0;
}

static bool age(struct str s, int64_t now_ms, int64_t *out)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60 * 1000}, {'h', 3600 * 1000}, {'d', 24 * 3600 * 1000}};
    int64_t n;

    for (size_t i = 0; s.len > 1 && i < sizeof units / sizeof units[0]; i++) {
        if (s.p[s.len - 1] != units[i].unit)
            continue;
        if (!str_to_i64(str_of(s.p, s.len - 1), 0, now_ms / units[i].ms, &n))
            return false;
        *out = now_ms - n * units[i].ms;
        return *out > 0;
    }
    return false;
}

bool time_parse(struct str s, int64_t now_ms, int64_t *out) { return moment(s, out) || age(s, now_ms, out); }
