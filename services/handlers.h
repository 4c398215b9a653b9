/* handlers: one function an op, named op_<id>; the table in handlers.c lists them from proto/ops.def, so an op without
 * its function does not link. Each runs on the thread that `where` in ops.def says and gets that thread's service: HERE
 * and CONV: struct reactor (services/reactor.h); DIR: struct directory; LOOK: struct lookup. */
#pragma once
#include "proto/request.h"

struct reactor;
struct directory;
struct lookup;
typedef void op_fn(void *service, struct request *r);
#define OP_DECLARE(id, ...) op_fn op_##id;
OPS(OP_DECLARE)
#undef OP_DECLARE
extern op_fn *const op_handlers[OP_COUNT]; /* NULL for the gateway's own */
/* What a reactor is asked by other services (inner.h), by inner_kind; NULL where that is not a reactor's. */
enum { INNER_KINDS = 32 };
extern op_fn *const inner_handlers[INNER_KINDS];
op_fn inner_conv_batch, inner_hold, inner_move, inner_erase, inner_rebuild, inner_retention;
