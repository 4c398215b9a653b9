#include "gateway/admission.h"
#include "tests/lib/unit.h"

static const uint8_t one[8] = {10, 0, 0, 1}, two[8] = {10, 0, 0, 2}, home[8] = {127, 0, 0, 1};

static struct admission *of(uint32_t connections, bool spares_loopback)
{
    struct admission *a;

    admission_create(&(struct admission_conf){env_posix(), connections, spares_loopback}, &a);
    return a;
}

/* How many of `n` guests of an address get in; they fill g. */
static unsigned enter(struct admission *a, const uint8_t address[8], bool is_loopback, struct guest *g, unsigned n)
{
    unsigned in = 0;

    for (unsigned i = 0; i < n; i++)
        in += admission_enter(a, address, is_loopback, &g[i]) == ADMISSION_GRANTED;
    return in;
}

PROMISE(strangers_of_one_address_and_of_all_are_bounded_and_leave_room_when_they_go)
{
    static struct guest g[400], other;
    struct admission *a = of(4000, false);

    assert_int_equal(enter(a, one, false, g, 400), 256);
    assert_int_equal(admission_enter(a, two, false, &other), ADMISSION_GRANTED);
    admission_leave(a, &g[0]);
    admission_leave(a, &g[0]); /* once */
    assert_int_equal(enter(a, one, false, g, 2), 1);
    admission_destroy(a);

    a = of(400, false); /* 100 strangers, 50 of one address */
    assert_int_equal(enter(a, one, false, g, 100), 50);
    assert_int_equal(enter(a, two, false, g + 100, 100), 50);
    assert_int_equal(admission_enter(a, home, true, &other), ADMISSION_CROWDED);
    admission_destroy(a);
}

PROMISE(who_is_known_counts_only_among_all)
{
    static struct guest g[400];
    struct admission *a = of(40, false); /* 10 strangers, 5 of one address */
    unsigned in = 0;

    for (unsigned i = 0; i < 400; i++) {
        enum admission_answer answer = admission_enter(a, one, false, &g[i]);

        assert_int_equal(answer, in < 40 ? ADMISSION_GRANTED : ADMISSION_FULL);
        in += answer == ADMISSION_GRANTED;
        admission_known(a, &g[i]);
    }
    admission_leave(a, &g[7]);
    assert_int_equal(enter(a, one, false, g, 2), 1);
    admission_destroy(a);
}

PROMISE(a_spared_loopback_is_bounded_by_the_number_of_all_alone)
{
    static struct guest g[400];
    struct admission *a = of(300, true);

    assert_int_equal(enter(a, home, true, g, 400), 300);
    admission_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(strangers_of_one_address_and_of_all_are_bounded_and_leave_room_when_they_go),
        HOLDS(who_is_known_counts_only_among_all),
        HOLDS(a_spared_loopback_is_bounded_by_the_number_of_all_alone),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
