#include "queue/where.h"
#include "base/mem.h"
#include "tests/lib/unit.h"
#include <pthread.h>

static const struct hash_key key = {{1, 2, 3}};

PROMISE(a_user_is_at_the_ports_it_joined_until_as_many_left)
{
    struct where *w;

    where_create(&key, &w);
    assert_int_equal(where_ports(w, 5), 0);
    where_join(w, 5, 0);
    where_join(w, 5, 63);
    where_join(w, 5, 63);
    assert_int_equal(where_ports(w, 5), UINT64_C(1) << 63 | 1);
    where_leave(w, 5, 63);
    assert_int_equal(where_ports(w, 5), UINT64_C(1) << 63 | 1);
    where_leave(w, 5, 63);
    assert_int_equal(where_ports(w, 5), 1);
    where_leave(w, 5, 0);
    assert_int_equal(where_ports(w, 5), 0);
    assert_int_equal(where_ports(w, 6), 0);
    where_destroy(w);
    where_destroy(NULL);
}

/* Against a plain array, through growing and shrinking. */
PROMISE(many_users_come_and_go_and_each_stays_known)
{
    enum { USERS = 3000, PORTS = 5, STEPS = 200000 };
    static uint8_t counts[USERS][PORTS];
    uint64_t seed = 7;
    struct where *w;

    where_create(&key, &w);
    for (int i = 0; i < STEPS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned u = (unsigned)(seed >> 33) % USERS, p = (unsigned)(seed >> 20) % PORTS;
        bool joins = counts[u][p] == 0 || (i < STEPS / 2 && counts[u][p] < 3 && (seed >> 60) < 9);
        if (i > STEPS / 2 && counts[u][p] == 0)
            continue; /* the second half only empties it */
        counts[u][p] = (uint8_t)(counts[u][p] + (joins ? 1 : -1));
        (joins ? where_join : where_leave)(w, u + 1, p);
        uint64_t ports = 0;
        for (unsigned k = 0; k < PORTS; k++)
            ports |= counts[u][k] ? UINT64_C(1) << k : 0;
        assert_int_equal(where_ports(w, u + 1), ports);
    }
    for (unsigned u = 0; u < USERS; u++) {
        for (unsigned p = 0; p < PORTS; p++) {
            for (; counts[u][p]; counts[u][p]--)
                where_leave(w, u + 1, p);
        }
        assert_int_equal(where_ports(w, u + 1), 0);
    }
    where_destroy(w);
}

struct visitor {
    struct where *w;
    unsigned port;
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t u = 1; u <= 200; u++) {
            where_join(v->w, u, v->port);
            assert_true(where_ports(v->w, u) & UINT64_C(1) << v->port);
        }
        for (uint64_t u = 1; u <= 200; u++) {
            where_leave(v->w, u, v->port);
            assert_false(where_ports(v->w, u) & UINT64_C(1) << v->port);
        }
    }
    return NULL;
}

PROMISE(threads_see_their_own_joins_among_those_of_others)
{
    struct where *w;
    struct visitor v[3];
    pthread_t threads[3];

    where_create(&key, &w);
    for (unsigned i = 0; i < 3; i++) {
        v[i] = (struct visitor){w, i};
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &v[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(where_ports(w, 1), 0);
    where_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_user_is_at_the_ports_it_joined_until_as_many_left),
        HOLDS(many_users_come_and_go_and_each_stays_known),
        HOLDS(threads_see_their_own_joins_among_those_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
