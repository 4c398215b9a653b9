/* heads: what stays behind of a conversation that had to leave memory: how far it is, for each of its members.
 *
 * It is enough to say whether a device has anything to get from a conversation, so sync and lists look at thousands of
 * quiet ones without reading any from the disk. What is kept of one is true because nothing changes a conversation but
 * by having it in memory: it is put when the conversation goes (shard.c) and dropped when it comes back, so it is never
 * beside it. Whoever would change what is stored in another way drops it as well.
 *
 * Bounded by bytes: the longest unused go, and then the conversation is read from the store. One that is larger than
 * all the room is not kept. Thread: the reactor's. Memory: a pair whose users have a device each takes about 160 bytes
 * with its place in the map, a member with a device 18 more. */
#pragma once
#include "storage/convlog.h"

struct heads;
void heads_create(uint64_t bytes_max, struct heads **out);
void heads_destroy(struct heads *h);

/* A conversation as one device of a user finds it. */
struct glance {
    bool is_member;     /* is or was in it; else nothing more is said */
    bool is_in;         /* now */
    uint64_t last;      /* the last seq that the user may see */
    uint64_t first_seq; /* the oldest that is kept */
    uint64_t delivered; /* the device's own cursor; 0: none */
    int64_t last_ts;    /* of the conversation */
};
void glance_at(const struct authority *a, user_id user, device_id device, struct glance *out);

/* `hash` is the caller's for this id, the same each time. What was kept of it before must have been dropped. */
void heads_put(struct heads *h, uint64_t hash, uint16_t shard, const struct authority *a);
void heads_drop(struct heads *h, uint64_t hash, const struct conv_id *id); /* no-op when it is not there */
/* All of a shard: it is somebody else's from now on. */
void heads_drop_shard(struct heads *h, uint16_t shard);

bool heads_has(const struct heads *h, uint64_t hash, const struct conv_id *id);
/* False: not kept. The same as glance_at said when it was put. */
bool heads_glance(struct heads *h, uint64_t hash, const struct conv_id *id, user_id user, device_id device,
                  struct glance *out);

uint64_t heads_bytes(const struct heads *h);
size_t heads_count(const struct heads *h);
