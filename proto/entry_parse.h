/* entry_parse: an entry out of its event (record.h's entry_print), for what was exported.
 *
 * What an event does not say is left zero: device, ordinal, cid_hash, fingerprint, peer, conv_kind. Ids are those of
 * who printed it. Thread: any. Memory: texts and lists are in the arena; `content` is borrowed from the text, byte for
 * byte. */
#pragma once
#include "proto/record.h"

/* INVALID: not JSON, not an entry's event, or out of the bounds that ops have. Members that an event does not have are
 * passed over. */
MUST_CHECK enum err entry_parse(struct str event, struct arena *arena, struct entry *out);
