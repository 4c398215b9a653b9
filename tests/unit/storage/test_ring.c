#include "storage/ring.h"
#include "base/enc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>

enum { KEYS = 200000, NODES_MAX = 16 };

static const struct hash_key KEY = {"a key of a test"};

static struct str key_of(uint64_t i, char out[8])
{
    enc_u64(out, i);
    return str_of(out, 8);
}

static struct ring *make_ring(size_t n, const unsigned *weights, char names[][24])
{
    struct ring_node nodes[NODES_MAX];
    struct ring *r;

    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "s%zu", i);
        nodes[i] = (struct ring_node){str_c(names[i]), weights ? weights[i] : 1};
    }
    assert_int_equal(ring_create(&KEY, nodes, n, &r), ERR_OK);
    assert_int_equal(ring_size(r), n);
    return r;
}

static unsigned owner(const struct ring *r, uint64_t i)
{
    char text[8];
    unsigned out;

    assert_int_equal(ring_owners(r, key_of(i, text), &out, 1), 1);
    return out;
}

static void check_shares(size_t n, const unsigned *weights, double tolerance)
{
    char names[NODES_MAX][24];
    struct ring *r = make_ring(n, weights, names);
    double count[NODES_MAX] = {0}, total = 0;

    for (uint64_t i = 0; i < KEYS; i++)
        count[owner(r, i)]++;
    for (size_t i = 0; i < n; i++)
        total += weights ? weights[i] : 1;
    for (size_t i = 0; i < n; i++) {
        double fair = KEYS * (weights ? weights[i] : 1) / total;
        if (fabs(count[i] / fair - 1) > tolerance)
            fail_msg("node %zu of %zu has %.0f keys where %.0f are fair", i, n, count[i], fair);
    }
    ring_destroy(r);
}

static void keys_are_balanced_within_a_tenth(void **state)
{
    (void)state;
    for (size_t n = 2; n <= NODES_MAX; n *= 2)
        check_shares(n, NULL, 0.10);
}

static void weights_are_proportions(void **state)
{
    static const unsigned weights[] = {1, 2, 3, 1, 5, 10};

    (void)state;
    check_shares(6, weights, 0.10);
}

static void adding_a_node_moves_its_share_and_nothing_else(void **state)
{
    char names[NODES_MAX][24];

    (void)state;
    for (size_t n = 1; n < NODES_MAX; n++) {
        struct ring *before = make_ring(n, NULL, names), *after = make_ring(n + 1, NULL, names);
        size_t moved = 0, keys = KEYS / 4;
        for (uint64_t i = 0; i < keys; i++) {
            unsigned a = owner(before, i), b = owner(after, i);
            if (a != b) {
                assert_int_equal(b, n); /* only ever to the new one */
                moved++;
            }
        }
        double fair = (double)keys / (double)(n + 1);
        if (fabs((double)moved / fair - 1) > 0.12)
            fail_msg("%zu keys moved to node %zu where %.0f are fair", moved, n, fair);
        ring_destroy(before);
        ring_destroy(after);
    }
}

static void owners_are_distinct_and_the_first_is_the_owner(void **state)
{
    char names[NODES_MAX][24], text[8];
    struct ring *r = make_ring(5, NULL, names);

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        unsigned out[8], seen = 0;
        assert_int_equal(ring_owners(r, key_of(i, text), out, 8), 5);
        assert_int_equal(out[0], owner(r, i));
        for (size_t k = 0; k < 5; k++)
            seen |= 1u << out[k];
        assert_int_equal(seen, 0x1f);
        assert_int_equal(ring_owners(r, key_of(i, text), out, 3), 3);
        assert_int_equal(ring_owners(r, key_of(i, text), out, 0), 0);
    }
    ring_destroy(r);
}

static void removing_a_node_hands_its_keys_to_their_second_owner(void **state)
{
    char names[NODES_MAX][24], text[8];
    struct ring *all = make_ring(6, NULL, names), *fewer = make_ring(5, NULL, names);

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        unsigned two[2];
        ring_owners(all, key_of(i, text), two, 2);
        assert_int_equal(owner(fewer, i), two[0] == 5 ? two[1] : two[0]);
    }
    ring_destroy(all);
    ring_destroy(fewer);
}

static void the_order_of_the_nodes_does_not_matter(void **state)
{
    struct ring_node nodes[] = {{STR("red"), 1}, {STR("green"), 2}, {STR("blue"), 1}, {STR("white"), 3}};
    struct ring_node turned[] = {nodes[2], nodes[0], nodes[3], nodes[1]};
    struct ring *a, *b;

    (void)state;
    assert_int_equal(ring_create(&KEY, nodes, 4, &a), ERR_OK);
    assert_int_equal(ring_create(&KEY, turned, 4, &b), ERR_OK);
    for (uint64_t i = 0; i < 20000; i++)
        assert_true(str_eq(nodes[owner(a, i)].name, turned[owner(b, i)].name));
    ring_destroy(a);
    ring_destroy(b);
}

static void another_key_is_another_circle(void **state)
{
    struct ring_node nodes[] = {{STR("a"), 1}, {STR("b"), 1}};
    struct hash_key other = {"another key"};
    struct ring *a, *b;
    size_t differ = 0;

    (void)state;
    assert_int_equal(ring_create(&KEY, nodes, 2, &a), ERR_OK);
    assert_int_equal(ring_create(&other, nodes, 2, &b), ERR_OK);
    for (uint64_t i = 0; i < 10000; i++)
        differ += owner(a, i) != owner(b, i);
    assert_in_range(differ, 4000, 6000);
    ring_destroy(a);
    ring_destroy(b);
}

static void nonsense_is_refused(void **state)
{
    struct ring_node twice[] = {{STR("a"), 1}, {STR("a"), 2}}, idle[] = {{STR("a"), 0}}, nameless[] = {{STR(""), 1}};
    struct ring_node heavy[] = {{STR("a"), RING_WEIGHT_MAX}, {STR("b"), 1}};
    struct ring *r = NULL;

    (void)state;
    assert_int_equal(ring_create(&KEY, twice, 2, &r), ERR_INVALID);
    assert_int_equal(ring_create(&KEY, twice, 0, &r), ERR_INVALID);
    assert_int_equal(ring_create(&KEY, idle, 1, &r), ERR_INVALID);
    assert_int_equal(ring_create(&KEY, nameless, 1, &r), ERR_INVALID);
    assert_int_equal(ring_create(&KEY, heavy, 2, &r), ERR_INVALID);
    assert_null(r);
    ring_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_balanced_within_a_tenth),
        cmocka_unit_test(weights_are_proportions),
        cmocka_unit_test(adding_a_node_moves_its_share_and_nothing_else),
        cmocka_unit_test(owners_are_distinct_and_the_first_is_the_owner),
        cmocka_unit_test(removing_a_node_hands_its_keys_to_their_second_owner),
        cmocka_unit_test(the_order_of_the_nodes_does_not_matter),
        cmocka_unit_test(another_key_is_another_circle),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
