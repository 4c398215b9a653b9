/* The tables have a fixed size: what is counted is counted in the slot that its keyed hash names, and two that share
 * one share its limit, which with 65,536 slots and a secret key is rare and harmless. So a flood of names costs no
 * memory. A slot is a bucket: when it will be full again, in ms of the monotonic clock; one number holds both level and
 * time. */
#include "services/account_gate.h"
#include <assert.h>
#include <pthread.h>
#include <sodium.h>

/* The one place where the cost of a password stands. A hash says what it was made with, so these may change. */
enum { ARGON_PASSES = 2, ARGON_BYTES = 19 << 20 };
enum { SLOTS = 1 << 16, NAME_BYTES = 64, ADDRESS_BYTES = 8, NETWORK_BYTES = 6 /* of IPv6 a /48, else the same */ };

enum bucket { BY_ADDRESS, BY_NETWORK, BY_NAME_AND_ADDRESS, BY_NAME, BUCKETS };
static const struct {
    uint32_t per_minute, at_once;
    size_t address_bytes;
    bool has_name, is_for_signup, is_forgiven;
} buckets[BUCKETS] = {
    [BY_ADDRESS] = {60, 30, ADDRESS_BYTES, false, true, false},
    [BY_NETWORK] = {600, 300, NETWORK_BYTES, false, true, false},
    [BY_NAME_AND_ADDRESS] = {ACCOUNT_ATTEMPTS_PER_MINUTE, ACCOUNT_ATTEMPTS_PER_MINUTE, ADDRESS_BYTES, true, true, true},
    [BY_NAME] = {100, 100, 0, true, false, true},
};

struct account_gate {
    struct env *env;
    struct hash_key key;
    struct pool *pool;
    bool is_limited;
    char nobody[ACCOUNT_HASH_TEXT]; /* the hash of a password that nobody knows */
    pthread_mutex_t lock;           /* guards what follows */
    uint64_t full_at[SLOTS];
    uint8_t queued[SLOTS]; /* of an address: hashes that wait or are under way */
};
_Static_assert(ACCOUNT_HASH_TEXT >= crypto_pwhash_STRBYTES, "a hash fits");

static bool make(char *out, struct str password)
{
    return crypto_pwhash_str_alg(out, password.p, password.len, ARGON_PASSES, ARGON_BYTES,
                                 crypto_pwhash_ALG_ARGON2ID13) == 0;
}

enum err account_gate_create(const struct account_gate_conf *c, struct account_gate **out)
{
    struct account_gate *g = mem_new(struct account_gate);
    char secret[32];
    enum err err;

    g->env = c->env;
    g->key = *c->key;
    g->is_limited = c->is_limited;
    pthread_mutex_init(&g->lock, NULL);
    env_random(c->env, secret, sizeof secret);
    TRY(make(g->nobody, str_of(secret, sizeof secret)) ? ERR_OK : ERR_NOMEM);
    TRY(pool_create("passwords", c->threads ? c->threads : 1, ACCOUNT_HASH_QUEUE, &g->pool));
    *out = g;
    return ERR_OK;
out:
    account_gate_destroy(g);
    return err;
}

void account_gate_destroy(struct account_gate *g)
{
    if (!g)
        return;
    pool_destroy(g->pool);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

static uint64_t *slot_of(struct account_gate *g, const struct account_attempt *a, enum bucket i)
{
    size_t n = 0, name = a->username.len < NAME_BYTES ? a->username.len : NAME_BYTES;
    char key[2 + ADDRESS_BYTES + NAME_BYTES];

    key[n++] = (char)i;
    key[n++] = a->is_signup;
    memcpy(key + n, a->from, buckets[i].address_bytes);
    n += buckets[i].address_bytes;
    if (buckets[i].has_name) {
        memcpy(key + n, a->username.p, name);
        n += name;
    }
    return &g->full_at[hash_keyed64(&g->key, key, n) % SLOTS];
}

static bool counts(const struct account_attempt *a, enum bucket i) { return !a->is_signup || buckets[i].is_for_signup; }

/* Under the lock: what the attempt would have to wait for this bucket; 0: it is counted in it. */
static uint64_t take(struct account_gate *g, const struct account_attempt *a, enum bucket i, uint64_t now)
{
    uint64_t *slot = slot_of(g, a, i), cost = 60000 / buckets[i].per_minute, most = cost * buckets[i].at_once;

    if (*slot < now)
        *slot = now;
    if (*slot + cost > now + most)
        return *slot + cost - now - most;
    *slot += cost;
    return 0;
}

static void put_back(struct account_gate *g, const struct account_attempt *a, enum bucket i)
{
    uint64_t *slot = slot_of(g, a, i), cost = 60000 / buckets[i].per_minute;
    *slot -= *slot < cost ? *slot : cost;
}

enum err account_gate_attempt(struct account_gate *g, const struct account_attempt *a, int64_t *wait_ms)
{
    uint64_t now = env_mono_us(g->env) / 1000, wait = 0;

    if (!g->is_limited)
        return ERR_OK;
    pthread_mutex_lock(&g->lock);
    for (enum bucket i = 0; i < BUCKETS; i++) {
        wait = counts(a, i) ? take(g, a, i, now) : 0;
        for (enum bucket k = 0; wait && k < i; k++) {
            if (counts(a, k))
                put_back(g, a, k);
        }
        if (wait)
            break;
    }
    pthread_mutex_unlock(&g->lock);
    if (!wait)
        return ERR_OK;
    *wait_ms = (int64_t)wait;
    return ERR_LIMIT;
}

void account_gate_forgive(struct account_gate *g, const struct account_attempt *a)
{
    if (!g->is_limited)
        return;
    pthread_mutex_lock(&g->lock);
    for (enum bucket i = 0; i < BUCKETS; i++) {
        if (buckets[i].is_forgiven && counts(a, i))
            put_back(g, a, i);
    }
    pthread_mutex_unlock(&g->lock);
}

static uint8_t *places_of(struct account_gate *g, const struct account_hashing *h)
{
    return &g->queued[hash_keyed64(&g->key, h->from, sizeof h->from) % SLOTS];
}

static enum err take_place(struct account_gate *g, const struct account_hashing *h)
{
    uint8_t *n = places_of(g, h);
    enum err err = ERR_OK;

    pthread_mutex_lock(&g->lock);
    if (g->is_limited && *n >= ACCOUNT_HASHES_OF_ADDRESS)
        err = ERR_AGAIN;
    else if (g->is_limited)
        ++*n;
    pthread_mutex_unlock(&g->lock);
    return err;
}

static void leave_place(struct account_gate *g, const struct account_hashing *h)
{
    pthread_mutex_lock(&g->lock);
    if (g->is_limited)
        --*places_of(g, h);
    pthread_mutex_unlock(&g->lock);
}

static void hash(struct account_hashing *h)
{
    if (!h->is_check) {
        h->ok = make(h->hash, h->password);
        return;
    }
    bool is_somebody = h->hash[0] != '\0';
    bool is_right =
        crypto_pwhash_str_verify(is_somebody ? h->hash : h->gate->nobody, h->password.p, h->password.len) == 0;
    h->ok = is_right && is_somebody;
}

static void run(struct job *j)
{
    struct account_hashing *h = container_of(j, struct account_hashing, job);

    hash(h);
    leave_place(h->gate, h);
}

static void done(struct job *j)
{
    struct account_hashing *h = container_of(j, struct account_hashing, job);
    h->done(h);
}

enum err account_gate_run(struct account_gate *g, struct account_hashing *h)
{
    enum err err;

    h->gate = g;
    h->job.home = h->home;
    h->job.run = run;
    h->job.done = done;
    h->job.lost = NULL;
    TRY(take_place(g, h));
    err = pool_submit(g->pool, &h->job);
    if (err != ERR_OK)
        leave_place(g, h);
out:
    return err;
}
