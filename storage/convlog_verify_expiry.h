/* convlog_verify_expiry: does the index by time (convlog_expiry.h) name each message of a shard that is to expire? One
 * that it does not name would stay for ever. What it names beside them is found and taken away by the server.
 *
 * Memory: 8 bytes for each such message of a shard, and for each key of its index. */
#pragma once
#include "storage/convlog.h"

struct expiry_hashes {
    uint64_t *v;
    size_t n, cap;
};
struct expiry_check {
    struct expiry_hashes wanted, there;
};
void expiry_check_entry(struct expiry_check *c, uint16_t shard, const struct entry *e);
void expiry_check_key(struct expiry_check *c, struct str key);
/* Behind a shard's last key: how many are not named. Ready for the next shard then. */
uint64_t expiry_check_end(struct expiry_check *c);
void expiry_check_deinit(struct expiry_check *c);
