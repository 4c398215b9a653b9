#include "services/handlers.h"
#include "services/inner.h"

/* By `where`: the gateway does its own. */
#define HANDLER_GATE(id) NULL
#define HANDLER_HERE(id) op_##id
#define HANDLER_CONV(id) op_##id
#define HANDLER_DIR(id) op_##id
#define HANDLER_LOOK(id) op_##id
#define ROW(id, name, where, ...) [OP_##id] = HANDLER_##where(id),

op_fn *const op_handlers[OP_COUNT] = {OPS(ROW)};

op_fn *const inner_handlers[INNER_KINDS] = {
    [INNER_CONV_BATCH] = inner_conv_batch, [INNER_HOLD] = inner_hold,       [INNER_MOVE] = inner_move,
    [INNER_ERASE] = inner_erase,           [INNER_REBUILD] = inner_rebuild, [INNER_RETENTION] = inner_retention,
};
