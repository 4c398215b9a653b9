/* convlog_codec: keys and values of the message store as bytes. Internal; the picture stands in convlog.c.
 *
 * Memory: encoders append to a buf; decoders put lists and texts into the arena, and accept nothing that no encoder
 * writes: counts are bounded by the bytes there are. */
#pragma once
#include "storage/convlog.h"

enum { KEY_MAX = 27 };
struct key {
    char b[KEY_MAX];
    uint8_t len;
};
/* On disk: never renumber. */
enum what { WHAT_STATE = 1, WHAT_SETTINGS = 2, WHAT_MEMBER = 3, WHAT_CURSORS = 4, WHAT_ENTRY = 9 };

struct key key_of(uint16_t shard, const struct conv_id *c, enum what what);
struct key key_of_number(uint16_t shard, const struct conv_id *c, enum what what, uint64_t n); /* a user or a seq */
struct key key_of_cid(uint16_t shard, const uint8_t cid_hash[16]);
struct key key_of_retention(uint16_t shard, const struct conv_id *c);
struct key key_of_swept(uint16_t shard);
static inline struct str key_str(const struct key *k) { return str_of(k->b, k->len); }
/* False when it is not a key of a conversation. The number is 0 where there is none. */
bool key_parse(struct str key, enum what *what, uint64_t *number);

void state_encode(const struct authority *a, struct buf *out);
void settings_encode(const struct authority *a, struct buf *out);
void member_encode(const struct member *m, struct buf *out);
void cursors_encode(const struct member *m, struct buf *out);
enum { CID_BYTES = 16 };
void cid_encode(const struct entry *e, struct buf *out);
void cid_write(const struct entry *e, char out[CID_BYTES]); /* the same */
void cid_encode_forgotten(uint64_t seq, const struct forgotten *f, struct buf *out);

/* CORRUPT; UNSUPPORTED for the version of a later program. The state of a pair brings its members. */
enum err state_decode(struct str value, struct arena *arena, struct authority *a);
enum err settings_decode(struct str value, struct arena *arena, struct authority *a);
enum err member_decode(struct str value, struct arena *arena, struct member *m);
enum err cursors_decode(struct str value, struct arena *arena, struct member *m);
enum err cid_decode(struct str value, uint64_t *seq, uint64_t *fingerprint);
enum err cid_decode_ts(struct str value, int64_t *ts); /* NOT_FOUND: it has none */

/* convlog_put, with the record's bytes where they are known. With `owes_state` the state is not put, and it is told
 * whether it would have been: then the caller puts it, before lsm_applied. */
MUST_CHECK enum err convlog_put_bytes(struct lsm *l, uint16_t shard, const struct record *r, struct str bytes,
                                      const struct authority *now, bool *owes_state);
