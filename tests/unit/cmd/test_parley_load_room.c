#include "tests/lib/unit.h"
#include "cmd/parley_load_room.h"

/* A room of `n` members that have begun at seq 10: the first entry checked is 11. Member 0 sends. */
struct world {
    struct room room;
    struct view views[3];
    struct faults faults;
};

static void world_init(struct world *w, size_t n)
{
    *w = (struct world){.room.members = n};
    for (size_t i = 0; i < n; i++)
        assert_true(room_begin(&w->room, &w->views[i], STR("c1"), 10));
}

static void world_deinit(struct world *w)
{
    for (size_t i = 0; i < 3; i++)
        view_deinit(&w->views[i]);
    room_deinit(&w->room);
}

static struct sighting entry(uint64_t seq) { return (struct sighting){seq, 1000 + seq, 0, (uint32_t)seq}; }

static bool ack(struct world *w, uint64_t seq)
{
    struct sighting s = entry(seq);
    return room_ack(&w->room, &w->views[0], &s, &w->faults);
}

static bool event(struct world *w, size_t member, uint64_t seq)
{
    struct sighting s = entry(seq);
    return room_event(&w->room, &w->views[member], &s, &w->faults);
}

static void audit(struct world *w)
{
    for (size_t i = 0; i < w->room.members; i++)
        room_audit(&w->room, &w->views[i], &w->faults);
}

PROMISE(a_sound_conversation_leaves_nothing_open_and_no_fault)
{
    struct world w;

    world_init(&w, 3);
    for (uint64_t seq = 11; seq < 500; seq++) {
        assert_true(event(&w, 1, seq));
        assert_int_equal(room_open(&w.room), 1);
        assert_true(ack(&w, seq));
        assert_true(event(&w, 2, seq));
        assert_int_equal(room_open(&w.room), 0);
    }
    audit(&w);
    assert_int_equal(faults_sum(&w.faults), 0);
    world_deinit(&w);
}

PROMISE(acks_and_events_may_overtake_each_other_in_one_view)
{
    struct world w;
    struct sighting others;

    world_init(&w, 2);
    /* Odd seqs are member 0's own and come as acks much later than the even ones, member 1's, come as events. */
    for (uint64_t seq = 12; seq <= 1010; seq += 2)
        assert_true(event(&w, 0, seq));
    for (uint64_t seq = 11; seq <= 1009; seq += 2)
        assert_true(ack(&w, seq));
    assert_int_equal(w.views[0].next, 1011);
    for (uint64_t seq = 11; seq <= 1010; seq++) {
        others = entry(seq);
        assert_true((seq % 2 ? room_event : room_ack)(&w.room, &w.views[1], &others, &w.faults));
    }
    audit(&w);
    assert_int_equal(faults_sum(&w.faults), 0);
    assert_int_equal(room_open(&w.room), 0);
    world_deinit(&w);
}

PROMISE(a_gap_is_counted_for_each_member_that_has_it)
{
    struct world w;

    world_init(&w, 3);
    for (uint64_t seq = 11; seq <= 20; seq++) {
        ack(&w, seq);
        if (seq != 15)
            event(&w, 1, seq);
        if (seq < 18)
            event(&w, 2, seq);
    }
    assert_int_equal(faults_sum(&w.faults), 0);
    assert_int_equal(room_open(&w.room), 6);
    audit(&w);
    assert_int_equal(w.faults.missing, 1 + 3);
    world_deinit(&w);
}

PROMISE(a_repeat_is_counted_whether_old_last_or_ahead)
{
    struct world w;

    world_init(&w, 2);
    event(&w, 1, 11);
    event(&w, 1, 12);
    assert_false(event(&w, 1, 12));
    assert_int_equal(w.faults.repeats, 1);
    event(&w, 1, 14);
    assert_false(event(&w, 1, 14));
    assert_int_equal(w.faults.repeats, 2);
    assert_false(event(&w, 1, 11));
    assert_int_equal(w.faults.repeats, 3);
    assert_false(event(&w, 1, 10)); /* before the beginning */
    assert_int_equal(w.faults.repeats, 4);
    world_deinit(&w);
}

PROMISE(events_and_acks_out_of_order_are_counted)
{
    struct world w;

    world_init(&w, 2);
    event(&w, 1, 12);
    event(&w, 1, 11);
    assert_int_equal(w.faults.disorder, 1);
    ack(&w, 12);
    ack(&w, 11);
    assert_int_equal(w.faults.disorder, 2);
    assert_int_equal(faults_sum(&w.faults), 2);
    world_deinit(&w);
}

PROMISE(two_accounts_of_one_seq_must_agree)
{
    struct world w;
    struct sighting s = entry(11);

    world_init(&w, 3);
    ack(&w, 11);
    s.counter++;
    assert_false(room_event(&w.room, &w.views[1], &s, &w.faults));
    s = entry(11);
    s.start_us++;
    assert_false(room_event(&w.room, &w.views[2], &s, &w.faults));
    assert_int_equal(w.faults.wrong, 2);
    s = entry(12);
    ack(&w, 12);
    s.sender = 2;
    assert_false(room_event(&w.room, &w.views[1], &s, &w.faults));
    assert_int_equal(w.faults.wrong, 3);
    world_deinit(&w);
}

PROMISE(all_members_must_be_told_of_the_same_beginning)
{
    struct room r = {.members = 4};
    struct view v[4] = {{0}};

    assert_false(room_begin(&r, &v[0], STR(""), 3));
    assert_false(room_begin(&r, &v[0], STR("c1"), 0));
    assert_true(room_begin(&r, &v[0], STR("c1"), 3));
    assert_false(room_begin(&r, &v[0], STR("c1"), 3)); /* twice */
    assert_false(room_begin(&r, &v[1], STR("c2"), 3));
    assert_false(room_begin(&r, &v[2], STR("c1"), 4));
    assert_true(room_begin(&r, &v[3], STR("c1"), 3));
    assert_int_equal(r.begun, 2);
    room_deinit(&r);
}

PROMISE(an_absurd_seq_costs_no_memory)
{
    struct world w;

    world_init(&w, 2);
    assert_false(event(&w, 1, (uint64_t)1 << 50));
    assert_int_equal(w.faults.missing, 1);
    assert_int_equal(w.room.cap, 0);
    world_deinit(&w);
}

PROMISE(what_others_saw_beyond_ours_is_missed)
{
    struct world w;

    world_init(&w, 2);
    ack(&w, 11);
    assert_false(room_all_have(&w.room, 11));
    event(&w, 1, 11);
    assert_true(room_all_have(&w.room, 11));
    assert_true(room_expect(&w.room, 12)); /* as far as we are */
    assert_int_equal(room_open(&w.room), 0);
    assert_true(room_expect(&w.room, 14));
    assert_int_equal(room_open(&w.room), 2);
    assert_false(room_all_have(&w.room, 13));
    ack(&w, 12);
    event(&w, 1, 12);
    ack(&w, 13);
    audit(&w);
    assert_int_equal(w.faults.missing, 1);
    assert_false(room_expect(&w.room, (uint64_t)1 << 50));
    world_deinit(&w);
}

PROMISE(the_same_entries_in_any_order_have_the_same_digest)
{
    struct world a, b;
    struct sighting other = entry(12);

    world_init(&a, 2);
    world_init(&b, 2);
    event(&a, 1, 11);
    event(&a, 1, 12);
    ack(&a, 11);
    ack(&b, 12);
    ack(&b, 11);
    assert_true(a.room.digest == b.room.digest);
    world_deinit(&b);
    world_init(&b, 2);
    event(&b, 1, 11);
    other.counter++;
    room_event(&b.room, &b.views[1], &other, &b.faults);
    assert_true(a.room.digest != b.room.digest);
    world_deinit(&a);
    world_deinit(&b);
}

PROMISE(what_sync_brought_may_come_again_as_an_event_and_fills_a_hole)
{
    struct world w;

    world_init(&w, 2);
    for (uint64_t seq = 11; seq <= 14; seq++)
        ack(&w, seq);
    event(&w, 1, 11);
    for (uint64_t seq = 12; seq <= 13; seq++) { /* 12 and 13 by sync, then 13 and 14 as events */
        struct sighting s = entry(seq);
        assert_false(view_has(&w.views[1], seq));
        assert_true(room_catch(&w.room, &w.views[1], &s, &w.faults));
        w.views[1].synced = seq;
    }
    assert_false(event(&w, 1, 13));
    assert_true(event(&w, 1, 14));
    audit(&w);
    assert_int_equal(faults_sum(&w.faults), 0);
    assert_false(event(&w, 1, 14)); /* beyond what sync brought a repeat stays a repeat */
    assert_int_equal(w.faults.repeats, 1);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_others_saw_beyond_ours_is_missed),
        HOLDS(the_same_entries_in_any_order_have_the_same_digest),
        HOLDS(what_sync_brought_may_come_again_as_an_event_and_fills_a_hole),
        HOLDS(a_sound_conversation_leaves_nothing_open_and_no_fault),
        HOLDS(acks_and_events_may_overtake_each_other_in_one_view),
        HOLDS(a_gap_is_counted_for_each_member_that_has_it),
        HOLDS(a_repeat_is_counted_whether_old_last_or_ahead),
        HOLDS(events_and_acks_out_of_order_are_counted),
        HOLDS(two_accounts_of_one_seq_must_agree),
        HOLDS(all_members_must_be_told_of_the_same_beginning),
        HOLDS(an_absurd_seq_costs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
