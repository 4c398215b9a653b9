/* Any bytes as an HTTP call's path, query, idempotency key and body, each a line but the body, the first byte its
 * method: no crash; what is refused has its code and says why in UTF-8. */
#include "proto/request.h"
#include "proto/route.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str line(struct str *rest)
{
    struct str first;

    if (!str_cut(*rest, '\n', &first, rest)) {
        first = *rest;
        rest->len = 0;
    }
    return first;
}

static void parse(const struct route_match *m, struct str rest)
{
    struct request *r = request_new(NULL, NULL);
    struct str query = line(&rest), key = line(&rest);
    enum code code = args_parse_http(m, query, rest, key, r);

    if (code != r->code || r->op != m->op || !str_is_utf8(str_c(r->why)))
        abort();
    request_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char allow[64];
    struct route_match m;

    if (size == 0)
        return 0;
    char *text = mem_alloc(size); /* so that a byte behind it is noticed */
    memcpy(text, data + 1, size - 1);
    struct str rest = str_of(text, size - 1), path = line(&rest);
    if (route_find((enum http_method)(data[0] % METHOD_COUNT), path, &m, allow) == ERR_OK)
        parse(&m, rest);
    mem_free(text);
    return 0;
}
