#include "services/standing.h"
#include "services/directory_state.h"
#include "services/views.h"
#include <inttypes.h>

static void print_log(const struct views_state *s, struct buf *out)
{
    buf_printf(out, "log %016" PRIx64 " %" PRIu64 " %" PRIu64, s->log_id, s->end, s->trimmed);
    for (int i = 0; i < VIEWS; i++) {
        uint64_t pos = s->view[i].pos;

        buf_printf(out, " %" PRIu64 " %" PRIu64, pos < s->end ? pos : s->end, s->view[i].ms);
    }
    buf_char(out, '\n');
}

void standing_print(struct directory *d, struct buf *out)
{
    struct letters_total letters = tables_letters(d->tables);
    struct views_state states[VIEWS_STATES_MAX];
    size_t n = d->conf.views ? views_states(d->conf.views, states) : 0;

    for (size_t i = 0; i < n; i++)
        print_log(&states[i], out);
    if (d->hold)
        buf_str(out, STR("held\n"));
    if (tables_rebuild_left(d->tables, REBUILD_TABLES | REBUILD_OWED))
        buf_printf(out, "rebuild %u %u\n", tables_rebuild_left(d->tables, REBUILD_TABLES),
                   tables_rebuild_left(d->tables, REBUILD_OWED));
    buf_printf(out, "letters %" PRIu64 " %" PRIu64 "\n", letters.n, letters.bytes);
}
