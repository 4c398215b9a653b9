/* The table of attempts has a fixed size: a name's attempts are counted in the slot that its keyed hash names, and two
 * names that share one share its limit, which with 65,536 slots and a secret key is rare and harmless. So a flood of
 * names costs no memory. A slot is a bucket that holds ATTEMPTS and refills at one in MINUTE / ATTEMPTS. */
#include "services/account_gate.h"
#include <assert.h>
#include <pthread.h>
#include <sodium.h>

/* The one place where the cost of a password stands. A hash says what it was made with, so these may change. */
enum { ARGON_PASSES = 2, ARGON_BYTES = 19 << 20 };
enum { SLOTS = 1 << 16, REFILL_MS = 60000 / ACCOUNT_ATTEMPTS_PER_MINUTE };

/* When the bucket is full again, in ms of the monotonic clock: one number holds both level and time. */
struct account_gate {
    struct env *env;
    struct hash_key key;
    struct pool *pool;
    bool is_limited;
    char nobody[ACCOUNT_HASH_TEXT]; /* the hash of a password that nobody knows */
    pthread_mutex_t lock;           /* guards full_at */
    uint64_t full_at[SLOTS];
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

enum err account_gate_attempt(struct account_gate *g, struct str username, int64_t *wait_ms)
{
    uint64_t *slot = &g->full_at[hash_keyed64(&g->key, username.p, username.len) % SLOTS];
    uint64_t now = env_mono_us(g->env) / 1000, most = REFILL_MS * ACCOUNT_ATTEMPTS_PER_MINUTE;
    enum err err = ERR_OK;

    if (!g->is_limited)
        return ERR_OK;
    pthread_mutex_lock(&g->lock);
    if (*slot < now)
        *slot = now;
    if (*slot + REFILL_MS > now + most) {
        *wait_ms = (int64_t)(*slot + REFILL_MS - now - most);
        err = ERR_LIMIT;
    } else {
        *slot += REFILL_MS;
    }
    pthread_mutex_unlock(&g->lock);
    return err;
}

static void run(struct job *j)
{
    struct account_hashing *h = container_of(j, struct account_hashing, job);

    if (!h->is_check) {
        h->ok = make(h->hash, h->password);
        return;
    }
    bool is_somebody = h->hash[0] != '\0';
    bool is_right =
        crypto_pwhash_str_verify(is_somebody ? h->hash : h->gate->nobody, h->password.p, h->password.len) == 0;
    h->ok = is_right && is_somebody;
}

static void done(struct job *j)
{
    struct account_hashing *h = container_of(j, struct account_hashing, job);
    h->done(h);
}

enum err account_gate_run(struct account_gate *g, struct account_hashing *h)
{
    h->gate = g;
    h->job.home = h->home;
    h->job.run = run;
    h->job.done = done;
    return pool_submit(g->pool, &h->job);
}
