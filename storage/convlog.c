/* The message store: what is put for each record, and under which keys.
 *
 *   key                                          value
 *   shard 1  'c'  conv 16  1                     state: version 1, kind 1, head 8, ordinal 8, first_seq 8, last_ts 8;
 *                                                of version 2 also: first_ordinal 8, retention 8 (ms; 0: the server's,
 *                                                all ones: forever);
 *                                                of a pair also: user 8, user 8, blocked 1, members 1 (0 before the
 *                                                first message), joined_ts 8, the cursors of each member
 *   shard 1  'c'  conv 16  2                     settings: version 1, has 1, on 1, title, description, picture (fields)
 *   shard 1  'c'  conv 16  3  user 8 (big e.)    member: version 1, role 1, joined_ts 8, joined_seq 8, ranges: count,
 *                                                from, to, from, to … (varints; to 0: open)
 *   shard 1  'c'  conv 16  4  user 8 (big e.)    version 1, the cursors: delivered 8, read 8, devices 1 (device 8,
 *                                                delivered 8)…, mentions 1 (seq 8)…
 *   shard 1  'c'  conv 16  9  seq 8 (big e.)     entry: the record's bytes
 *   shard 1  'i'  cid_hash 16                    cid index: seq 8, fingerprint 8; of a forgotten entry also: ts 8
 *   shard 1  'r'  conv 16                        version 1: it has a retention of its own
 *   shard 1  't'                                 version 1, ms 8: when it was last looked at for what is too old
 *   shard 1  'x'  expires_at 8, conv 16, seq 8   nothing: the message expires then (convlog_expiry.h)
 *
 * All that belongs to a conversation is side by side: one scan of 1 to 4 loads an authority, one of 9 reads a page. The
 * first 18 bytes name shard, space and conversation, and have filter entries, so tables without it are not read.
 *
 * What a message rewrites is small and keeps its size, so the memtable overwrites it in place: of a pair the one state,
 * with everything; of a group the state and the author's cursors, apart from the member because ranges are seldom
 * changed. A message is three puts in a pair and four in a group, at any group's size; the state once for all entries
 * of a conversation that are put before lsm_applied.
 *
 * Erasing puts the entry again, as a stub, and takes it out of the index of what expires; its cid stays, so that a
 * repeat of the send is found and makes nothing new.
 *
 * Forgetting deletes the oldest entries, and first_seq says where those that are left begin. Their cids stay, too, and
 * get the time, which was in the entry only. The head is never forgotten: it becomes a stub. A state is of version 2
 * from the first of it on.
 *
 * Invariants: what one record puts becomes durable together (lsm.h); seqs first_seq..head each have an entry, those
 * below have none; every entry has its cid; cursors exist only of members; a pair has no keys 2, 3 and 4. A value that
 * breaks them is CORRUPT, never guessed. */
#include "storage/convlog.h"
#include "storage/convlog_codec.h"
#include "storage/convlog_expiry.h"

enum { VALUE_USUAL = 192 }; /* bytes of a pair's state and less, so that memory is asked for once */

struct putting {
    struct lsm *lsm;
    uint16_t shard;
    const struct authority *now;
    struct buf value;
    bool *owes_state;          /* NULL: it is put at once */
    struct convlog_near *near; /* NULL: nothing is known */
    struct lsm_near *cid;
};

static enum err put(struct putting *p, struct key key) { return lsm_put(p->lsm, key_str(&key), buf_get(&p->value)); }

enum err convlog_put_state(struct lsm *l, uint16_t shard, const struct authority *now, struct buf *scratch)
{
    struct key key = key_of(shard, &now->id, WHAT_STATE);

    buf_clear(scratch);
    state_encode(now, scratch);
    return lsm_put(l, key_str(&key), buf_get(scratch));
}

enum err convlog_put_state_near(struct lsm *l, uint16_t shard, const struct authority *now, struct buf *scratch,
                                struct convlog_near *near)
{
    struct key key = key_of(shard, &now->id, WHAT_STATE);

    buf_clear(scratch);
    state_encode(now, scratch);
    return lsm_put_again(l, key_str(&key), buf_get(scratch), &near->state);
}

static enum err put_state(struct putting *p)
{
    if (!p->owes_state)
        return convlog_put_state(p->lsm, p->shard, p->now, &p->value);
    *p->owes_state = true;
    return ERR_OK;
}

static enum err put_settings(struct putting *p)
{
    buf_clear(&p->value);
    settings_encode(p->now, &p->value);
    return put(p, key_of(p->shard, &p->now->id, WHAT_SETTINGS));
}

static enum err put_cid_near(struct putting *p, const struct entry *e)
{
    struct key key = key_of_cid(p->shard, e->cid_hash);
    char value[CID_BYTES];

    cid_write(e, value);
    return lsm_put_near(p->lsm, key_str(&key), str_of(value, sizeof value), p->cid);
}

static enum err put_cid(struct putting *p, const struct entry *e)
{
    if (p->near)
        return put_cid_near(p, e);
    buf_clear(&p->value);
    cid_encode(e, &p->value);
    return put(p, key_of_cid(p->shard, e->cid_hash));
}

static enum err put_member(struct putting *p, user_id u)
{
    const struct member *m = authority_member(p->now, u);

    if (!m)
        return ERR_OK;
    buf_clear(&p->value);
    member_encode(m, &p->value);
    return put(p, key_of_number(p->shard, &p->now->id, WHAT_MEMBER, u));
}

static enum err put_cursors(struct putting *p, user_id u)
{
    const struct member *m = authority_member(p->now, u);

    if (!m)
        return ERR_OK;
    buf_clear(&p->value);
    cursors_encode(m, &p->value);
    return put(p, key_of_number(p->shard, &p->now->id, WHAT_CURSORS, u));
}

/* Of a pair everything but entries is in the state. */
static enum err put_group_entry(struct putting *p, const struct entry *e)
{
    enum err err;

    TRY(put_cursors(p, e->from));
    for (size_t i = 0; i < e->n_mentions; i++)
        TRY(put_cursors(p, e->mentions[i]));
    for (size_t i = 0; i < e->n_members; i++)
        TRY(put_member(p, e->members[i].user));
    if (e->heir)
        TRY(put_member(p, e->heir));
    if (e->kind == ENTRY_CREATED || e->kind == ENTRY_SETTINGS)
        TRY(put_settings(p));
out:
    return err;
}

static enum err put_entry(struct putting *p, const struct entry *e, struct str bytes)
{
    struct key key = key_of_number(p->shard, &e->conv, WHAT_ENTRY, e->seq);
    enum err err;

    if (e->seq >= p->now->first_seq) { /* else replay begins before it was forgotten */
        TRY(p->near ? lsm_put_near(p->lsm, key_str(&key), bytes, &p->near->entry)
                    : lsm_put(p->lsm, key_str(&key), bytes));
        if (e->expires_at && !e->gone)
            TRY(convlog_expiry_put(p->lsm, p->shard, e));
        TRY(put_cid(p, e));
    }
    if (e->conv_kind == CONV_GROUP)
        TRY(put_group_entry(p, e));
out:
    return err;
}

static enum err put_stub(struct putting *p, const struct entry *e)
{
    enum err err = ERR_OK;

    if (e->seq >= p->now->first_seq) {
        buf_clear(&p->value);
        record_encode(&(struct record){.kind = RECORD_ENTRY, .entry = *e}, &p->value);
        TRY(put(p, key_of_number(p->shard, &e->conv, WHAT_ENTRY, e->seq)));
    }
    if (e->expires_at)
        TRY(convlog_expiry_delete(p->lsm, p->shard, &(struct expiring){e->expires_at, e->conv, e->seq}));
out:
    return err;
}

/* The stubs stand where the messages stood. What the memtables and tables still hold of them is dead from here on, and
 * leaves by lsm_purge. */
static enum err put_stubs(struct putting *p, const struct erase_record *e)
{
    enum err err = ERR_OK;

    lsm_erased(p->lsm, e->ts);
    for (size_t i = 0; i < e->n; i++)
        TRY(put_stub(p, &e->stubs[i]));
out:
    return err;
}

static enum err put_forgotten(struct putting *p, const struct forget_record *f)
{
    enum err err = ERR_OK;

    lsm_erased(p->lsm, f->ts);
    for (size_t i = 0; i < f->n; i++) {
        struct key key = key_of_number(p->shard, &f->conv, WHAT_ENTRY, f->from + i);
        TRY(lsm_delete(p->lsm, key_str(&key)));
        buf_clear(&p->value);
        cid_encode_forgotten(f->from + i, &f->v[i], &p->value);
        TRY(put(p, key_of_cid(p->shard, f->v[i].cid_hash)));
    }
    TRY(put_state(p));
out:
    return err;
}

/* Those that have one of their own are found without looking at all the others. */
static enum err put_retention(struct putting *p)
{
    struct key key = key_of_retention(p->shard, &p->now->id);
    enum err err;

    TRY(put_state(p));
    if (p->now->retention_ms == RETENTION_SERVER) {
        TRY(lsm_delete(p->lsm, key_str(&key)));
    } else {
        buf_clear(&p->value);
        enc_add_u8(&p->value, 1);
        TRY(put(p, key));
    }
out:
    return err;
}

enum err convlog_put_bytes(struct lsm *l, uint16_t shard, const struct record *r, struct str bytes,
                           const struct authority *now, bool *owes_state)
{
    struct putting p = {.lsm = l, .shard = shard, .now = now, .owes_state = owes_state};
    enum err err = ERR_INVALID;

    buf_reserve(&p.value, VALUE_USUAL);
    if (r->kind == RECORD_ENTRY) {
        err = put_entry(&p, &r->entry, bytes);
        if (err == ERR_OK)
            err = put_state(&p);
    } else if (r->kind == RECORD_BLOCK) {
        err = put_state(&p);
    } else if (r->kind == RECORD_UNCHANGED) {
        err = put_cid(&p, &r->entry);
    } else if (r->kind == RECORD_ERASE) {
        err = put_stubs(&p, &r->erase);
    } else if (r->kind == RECORD_RETENTION) {
        err = put_retention(&p);
    } else if (r->kind == RECORD_FORGET) {
        err = put_forgotten(&p, &r->forget);
    } else if (r->kind == RECORD_RECEIPT) {
        err = now->kind == CONV_PAIR ? put_state(&p) : put_cursors(&p, r->receipt.user);
    }
    buf_deinit(&p.value);
    return err;
}

enum err convlog_put_entry(struct lsm *l, uint16_t shard, const struct entry *e, struct str bytes,
                           const struct authority *now, struct convlog_near *near, struct lsm_near *cid)
{
    struct putting p = {.lsm = l, .shard = shard, .now = now, .near = near, .cid = cid};
    enum err err = put_entry(&p, e, bytes);

    buf_deinit(&p.value);
    return err;
}

enum err convlog_put(struct lsm *l, uint16_t shard, const struct record *r, const struct authority *now)
{
    struct buf bytes = {0};
    enum err err;

    if (r->kind == RECORD_ENTRY)
        record_encode(r, &bytes);
    err = convlog_put_bytes(l, shard, r, buf_get(&bytes), now, NULL);
    buf_deinit(&bytes);
    return err;
}
