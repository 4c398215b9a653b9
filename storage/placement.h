/* placement: which shard a conversation belongs to, which store holds a shard, and the data folder that says so.
 *
 * DIR/parley.json   version, epoch, shard count: written once by fs_replace, read at start
 * DIR/placement     the stores, and which of them holds each shard (placement_file.h)
 * DIR/secret.key    32 random bytes, 0600: every keyed hash derives from it (libsodium's crypto_kdf)
 * DIR/stores/made   empty: every store has been opened once
 * DIR/lock          held while a server or tool owns the folder
 * DIR/log/ DIR/stores/<name>/ DIR/tables.db
 *
 * A shard's store is what DIR/placement says. Where it should be, at first and whenever stores come and go, is the
 * first of its owners on the ring that holds fewer than 1.1 times the even number of shards ("Consistent Hashing with
 * Bounded Loads", 2016): a ring balances many keys, and 256 shards are few. Thread: any, once opened;
 * data_dir_next_log_id by one at a time. */
#pragma once
#include "base/env.h"
#include "base/hash.h"
#include "proto/record.h"
#include "storage/placement_file.h"
#include "storage/ring.h"

struct data_keys {
    struct hash_key conv, shard, cid, print, ring, bus;
    uint8_t token[32];
};
struct data_dir {
    char *path, *epoch; /* epoch: names this server's history */
    struct data_keys keys;
    struct placement placement; /* as it stands in the file */
    /* Out of it, for everybody: */
    unsigned n_stores;
    char **stores;
    uint16_t store_of[SHARD_COUNT]; /* shard → index into stores */
    struct file *lock;
};
/* Opens the folder, creating it on first use with `n_stores` stores; 0: as many as it has (a new one: INVALID). LOCKED:
 * somebody owns it. With another n_stores than it has: INVALID (moving shards is an operation of its own).
 * What is damaged or incomplete is CORRUPT. Every failure has its sentence, the path in it, in *why (mem_free). */
MUST_CHECK enum err data_dir_open(struct env *env, const char *path, unsigned n_stores, struct data_dir *out,
                                  char **why);
/* For who only looks: makes and changes nothing. `lock`: takes the folder as data_dir_open does; without, the caller
 * knows that nobody changes what it will read. NOT_FOUND: there is no data folder. */
MUST_CHECK enum err data_dir_look(struct env *env, const char *path, bool lock, struct data_dir *out, char **why);
/* The lock alone, of a folder that is there. */
MUST_CHECK enum err data_dir_lock(struct env *env, const char *path, struct file **out, char **why);
/* What parley.json (its text) is with a new epoch: all else in it stays. CORRUPT. */
MUST_CHECK enum err data_dir_new_epoch(struct env *env, struct str description, struct buf *out);
void data_dir_close(struct data_dir *d);
/* What was there once must be there: else it would be made anew, empty, and given the ids and seqs of what is lost.
 * CORRUPT, with *why: a store without a manifest, after data_dir_made; no tables.db, though a log was opened. */
MUST_CHECK enum err data_dir_check(struct env *env, const struct data_dir *d, char **why);
/* Every store has its manifest from now on; one that comes later is new until it has (placement_file.h). */
MUST_CHECK enum err data_dir_made(struct env *env, const struct data_dir *d);
/* The same for the stores that are active; `out` are slots of the placement. */
MUST_CHECK enum err placement_target(const struct hash_key *ring, const struct placement *p, uint16_t out[SHARD_COUNT]);
/* Which of n stores should hold each shard: what a new folder begins with. INVALID as ring_create. */
MUST_CHECK enum err placement_of_shards(const struct hash_key *ring, char *const *stores, unsigned n,
                                        uint16_t out[SHARD_COUNT]);
uint16_t shard_of(const struct data_dir *d, const struct conv_id *c);
/* The conversation of two people: the same whoever comes first. */
void pair_conv(const struct data_keys *k, user_id a, user_id b, struct conv_id *out);
void group_conv(const struct data_keys *k, user_id creator, struct str cid, struct conv_id *out);
void cid_hash(const struct data_keys *k, const struct conv_id *c, user_id from, struct str cid, uint8_t out[16]);
/* The next log id: kept in DIR/log/next, synced before it is used. */
MUST_CHECK enum err data_dir_next_log_id(struct env *env, struct data_dir *d, uint64_t *out);
