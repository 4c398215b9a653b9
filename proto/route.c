#include "proto/route.h"

#define ROUTE_ROW(id, method, path) {OP_##id, METHOD_##method, path},
const struct route route_table[] = {ROUTES(ROUTE_ROW)};
#define ROUTE_ONE(...) +1
const size_t route_count = 0 ROUTES(ROUTE_ONE);

const char *method_text(enum http_method m)
{
    static const char *const texts[METHOD_COUNT] = {
        [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
        [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
    };

    return texts[m];
}

/* Cuts the next segment off; false when none is left. */
static bool next_segment(struct str *path, struct str *segment)
{
    if (path->len == 0 || path->p[0] != '/')
        return false;
    *path = str_from(*path, 1);
    if (!str_cut(*path, '/', segment, path)) {
        *segment = *path;
        *path = str_from(*path, path->len);
    } else { /* what follows starts with the slash that was cut */
        path->p--;
        path->len++;
    }
    return true;
}

static bool is_parameter(struct str segment) { return segment.len > 2 && segment.p[0] == '{'; }

/* Whether the path fits the template; *written gets how many of its segments are written out. */
static bool fits(const char *template, struct str path, struct route_match *out, unsigned *written)
{
    struct str t = str_c(template), want, have;

    *written = 0;
    out->n = 0;
    while (next_segment(&t, &want)) {
        if (!next_segment(&path, &have) || have.len == 0)
            return false;
        if (is_parameter(want)) {
            out->name[out->n] = str_of(want.p + 1, want.len - 2);
            out->value[out->n++] = have;
        } else if (str_eq(want, have)) {
            ++*written;
        } else {
            return false;
        }
    }
    return path.len == 0;
}

/* The most written-out segments of any path that fits: only routes with as many count. */
static unsigned best_fit(struct str path)
{
    struct route_match m;
    unsigned best = 0, written;

    for (size_t i = 0; i < route_count; i++)
        if (fits(route_table[i].path, path, &m, &written) && written > best)
            best = written;
    return best;
}

static void allow_add(char allow[64], enum http_method m)
{
    size_t n = strlen(allow);

    snprintf(allow + n, 64 - n, "%s%s", n ? ", " : "", method_text(m));
}

enum err route_find(enum http_method m, struct str path, struct route_match *out, char allow[64])
{
    unsigned best = best_fit(path), written;
    struct route_match match;

    allow[0] = '\0';
    if (best == 0)
        return ERR_NOT_FOUND;
    for (size_t i = 0; i < route_count; i++) {
        if (!fits(route_table[i].path, path, &match, &written) || written != best)
            continue;
        if (route_table[i].method == m) {
            *out = match;
            out->op = route_table[i].op;
            out->method = m;
            return ERR_OK;
        }
        allow_add(allow, route_table[i].method);
    }
    return ERR_UNSUPPORTED;
}
