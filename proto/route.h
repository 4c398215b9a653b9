/* route: the HTTP forms of the ops as data, for the router (args.h: route_find) and for openapi.json. */
#pragma once
#include "proto/args.h"

struct route {
    enum op op;
    enum http_method method;
    const char *path; /* a segment {x} is the argument x */
};
extern const struct route route_table[];
extern const size_t route_count;

const char *method_text(enum http_method m); /* "GET" */
