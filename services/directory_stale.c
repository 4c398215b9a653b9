/* What was overwritten leaves the directory's files: the old text of a profile, the content of a dead letter. In the
 * rows it is overwritten at the next checkpoint (secure_delete); what is left is the write-ahead file, which is
 * emptied, and the directory's own log, which goes on in a new segment so that the old ones can be trimmed and
 * scrubbed. Both when a quarter of world_erase_within has passed since the first of it; what comes meanwhile is the
 * next round's. A log that is stale by another's scrub (stream.h) rolls at once.
 *
 *   idle ──due, the file is empty──► since_ms, no target ──rolled──► target ──trimmed──► ticket ──scrubbed──► idle */
#include "services/directory_state.h"
#include "base/log.h"
#include "proto/metrics.h"

/* A clock that was set back makes a moment of the future: it is due. */
static bool is_due(const struct directory *d)
{
    int64_t since = tables_stale_since(d->tables), now = env_now_ms(d->env);

    return since && !d->stale.since_ms && (since > now || now - since >= world_erase_within(d->world) / 4);
}

static void roll(struct directory *d)
{
    bool is_stale = d->stream && stream_is_stale(d->stream);

    if (is_stale && !d->stale.since_ms) {
        d->stale.since_ms = env_now_ms(d->env);
        d->stale.erases = false;
    }
    if (!d->stale.since_ms || d->stale.target || !d->stream || (d->stale.ticket && !is_stale))
        return;
    if (d->stale.erases && !d->stale.ticket)
        (void)stream_scrub(d->stream); /* so that no log goes on in an old segment */
    if (stream_roll(d->stream) != ERR_OK)
        return; /* no segment is ready: at the next look */
    d->stale.target = stream_end(d->stream);
    if (d->stale.target == 0)
        d->stale.since_ms = 0;
}

enum err directory_stale_checkpoint(struct directory *d)
{
    int64_t since = tables_stale_since(d->tables);
    enum err err = ERR_AGAIN;

    if (is_due(d))
        err = tables_truncate(d->tables);
    if (err == ERR_OK) {
        d->stale.since_ms = since;
        d->stale.erases = true;
    } else if (err == ERR_AGAIN) { /* a reader was in the way: a checkpoint like any other, and tried again */
        err = tables_checkpoint(d->tables);
    }
    roll(d);
    return err;
}

int64_t directory_stale_since(const struct directory *d)
{
    return d->stale.since_ms ? d->stale.since_ms : tables_stale_since(d->tables);
}

static bool is_done(const struct directory *d)
{
    if (!d->stream || d->stale.target)
        return false;
    if (d->stale.ticket)
        return stream_is_scrubbed(d->stream, d->stale.ticket);
    return !d->stale.erases && !stream_is_stale(d->stream);
}

void directory_stale_show(struct directory *d)
{
    int64_t since, now = env_now_ms(d->env);

    if (d->stale.target && d->stream && stream_trimmed(d->stream) >= d->stale.target) {
        d->stale.target = 0;
        if (d->stale.erases && !d->stale.ticket)
            d->stale.ticket = stream_scrub(d->stream);
    }
    if (d->stale.since_ms && is_done(d)) {
        d->stale.ticket = 0;
        d->stale.since_ms = 0;
    }
    since = directory_stale_since(d);
    if (d->metrics)
        metric_put(d->metrics, METRIC_ERASED_AGE, since && since < now ? (now - since) / 1000 : 0);
}
