/* args_internal: the two ways into a request's arguments, for args.c and for the tests that hold them against each
 * other. */
#pragma once
#include "proto/arg.h"
#include "proto/scan.h"
#include <jansson.h>

/* From the members of a usual object. False when there is anything to complain about or anything that the scanner's
 * view does not settle; then the other way decides. r->op, r->args and *head are set when it is true. */
bool args_fast(const struct scan *s, struct request *r, struct frame_head *head);
/* From any text that the scanner accepted. */
enum code args_slow(struct str text, struct request *r, struct frame_head *head);

/* The parts of the second that HTTP shares. */
/* An object, or NULL with the complaint in r->code and r->why. The caller decrefs it. */
json_t *args_load(struct str text, struct request *r);
/* False when the op's argument is absent. `text` is what root was loaded from. */
bool args_tree_value(const struct arg *a, struct str text, json_t *root, struct arena *arena, struct value *out);
/* `re` as it is to be echoed, or false when the value of `id` may not be one. */
bool args_is_id(const struct member *m);
