/* expiry: messages whose time has come lose their content.
 *
 * Nobody is shown it any more from that moment on (expiry_hide, by who reads). Soon after, a reactor has what expired
 * in its shards erased, as an operator's erasing would be: an ERASE record in the log, stubs in the store, and the
 * files rid of it by purge.h. It finds them in the store's index by time (storage/convlog_expiry.h), so nothing is
 * forgotten by a kill, and a shard that came brings its own along.
 *
 * The wall clock says what has expired, and it may be wrong. Set back, messages expire later, and what is a stub stays
 * one. Set forward by more than EXPIRY_JUMP_MS while the server runs, nothing is erased for an hour (or a quarter of
 * erase_within, if that is less), so that it can be set right: until then messages are only not shown. A clock that was
 * wrong when the server started is not noticed.
 *
 * Thread: the reactor's. */
#pragma once
#include "services/reactor.h"

enum { EXPIRY_JUMP_MS = 5 * 60 * 1000 };

struct expiry;
void expiry_create(struct reactor *r, struct expiry **out);
void expiry_destroy(struct expiry *x);
/* Looks at once, as it does each second. */
void expiry_now(struct expiry *x);

/* A message of this shard that expires is in the store. */
void expiry_note(struct expiry *x, uint16_t shard, int64_t at_ms);
/* The shard is now this reactor's, or in another store. */
void expiry_shard_came(struct expiry *x, uint16_t shard);
/* Makes stubs of those whose time has come. The clock is asked only if one of them ever expires. */
void expiry_hide(const struct reactor *r, struct entry *v, size_t n);
