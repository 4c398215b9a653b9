#include "gateway/outq.h"
#include "tests/lib/unit.h"

static char scratch[256];

static struct frame *frame_of(const char *text) { return frame_text(str_c(text)); }

static void add_reply(struct outq *q, const char *text) { memcpy(outq_reply(q, strlen(text)), text, strlen(text)); }

static void add_entry(struct outq *q, const char *text)
{
    struct frame *f = frame_of(text);

    assert_ok(outq_entry(q, f));
    frame_unref(f);
}

static void add_ephemeral(struct outq *q, const char *text, uint64_t slot)
{
    struct frame *f = frame_of(text);

    outq_ephemeral(q, f, slot);
    frame_unref(f);
}

/* All that is queued, as one text; frames lose their two bytes of header. */
static const char *drain(struct outq *q)
{
    static char all[4096];
    struct out_batch b;
    size_t n = 0;

    while (outq_peek(q, scratch, sizeof scratch, &b)) {
        for (size_t i = 0; i < b.len; i++) {
            if ((uint8_t)b.p[i] == 0x81)
                i++;
            else
                all[n++] = b.p[i];
        }
        outq_pop(q, b.frames);
    }
    all[n] = '\0';
    return all;
}

PROMISE(an_empty_queue_holds_nothing)
{
    struct outq q = {0};
    struct out_batch b;

    assert_false(outq_peek(&q, scratch, sizeof scratch, &b));
    add_reply(&q, "a");
    drain(&q);
    assert_null(q.ring);
    assert_true(outq_is_empty(&q));
    assert_int_equal(q.reply_bytes, 0);
    outq_deinit(&q);
}

PROMISE(an_answer_and_an_event_take_no_memory_of_the_heap)
{
    struct outq q = {0};

    for (int round = 0; round < 5; round++) { /* wherever the first of them lies */
        add_reply(&q, "r ");
        add_entry(&q, "e ");
        assert_null(q.ring);
        outq_pop(&q, 1);
        add_reply(&q, "s ");
        assert_null(q.ring);
        assert_string_equal(drain(&q), "e s ");
        add_entry(&q, "x ");
        assert_string_equal(drain(&q), "x ");
    }
    add_reply(&q, "1 ");
    outq_pop(&q, 1);
    add_reply(&q, "2 ");
    add_reply(&q, "3 ");
    add_reply(&q, "4 ");
    assert_string_equal(drain(&q), "2 3 4 ");
}

PROMISE(what_goes_in_comes_out_in_order)
{
    struct outq q = {0};

    for (int round = 0; round < 3; round++) {
        add_reply(&q, "r1 ");
        add_entry(&q, "e1 ");
        add_ephemeral(&q, "p1 ", 0);
        add_entry(&q, "e2 ");
        add_reply(&q, "r2 ");
        assert_string_equal(drain(&q), "r1 e1 p1 e2 r2 ");
    }
}

PROMISE(small_items_are_gathered_and_a_single_one_is_not_copied)
{
    struct outq q = {0};
    struct frame *f = frame_of("hello");
    struct out_batch b;

    assert_ok(outq_entry(&q, f));
    assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
    assert_ptr_equal(b.p, f->bytes);
    assert_ok(outq_entry(&q, f));
    assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
    assert_ptr_equal(b.p, scratch);
    assert_int_equal(b.frames, 2);
    assert_int_equal(b.len, 14);
    frame_unref(f);
    outq_deinit(&q);
}

PROMISE(a_large_item_is_written_whole_from_where_it_lies)
{
    struct outq q = {0};
    char big[1000];
    struct out_batch b;

    memset(big, 'x', sizeof big);
    add_reply(&q, "small");
    memcpy(outq_reply(&q, sizeof big), big, sizeof big);
    assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
    assert_int_equal(b.len, 5);
    outq_pop(&q, b.frames);
    assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.frames, 1);
    outq_deinit(&q);
}

PROMISE(dropping_events_keeps_replies_and_notices)
{
    struct outq q = {0};
    struct frame *notice = frame_of("n ");

    for (int i = 0; i < 20; i++) {
        add_entry(&q, "e ");
        add_ephemeral(&q, "p ", 0);
        if (i % 5 == 0)
            add_reply(&q, "r ");
    }
    outq_notice(&q, notice);
    outq_drop_events(&q);
    assert_int_equal(q.entries, 0);
    assert_int_equal(q.entry_bytes, 0);
    assert_int_equal(q.ephemerals, 0);
    assert_string_equal(drain(&q), "r r r r n ");
    frame_unref(notice);
}

PROMISE(entries_have_a_bound_in_number_and_in_bytes)
{
    struct outq q = {0};
    struct frame *small = frame_of("e"), *large;
    char *kib = mem_alloc(100 * 1024);
    int n = 0;

    memset(kib, 'x', 100 * 1024);
    large = frame_text(str_of(kib, 100 * 1024));
    while (outq_entry(&q, small) == ERR_OK)
        n++;
    assert_int_equal(n, OUTQ_ENTRIES_MAX);
    outq_drop_events(&q);
    for (n = 0; outq_entry(&q, large) == ERR_OK;)
        n++;
    assert_int_equal(n, 10);
    outq_deinit(&q);
    frame_unref(small);
    frame_unref(large);
    mem_free(kib);
}

PROMISE(an_ephemeral_takes_the_place_of_its_slot)
{
    struct outq q = {0};

    add_ephemeral(&q, "old ", 7);
    add_entry(&q, "e ");
    add_ephemeral(&q, "other ", 8);
    add_ephemeral(&q, "new ", 7);
    assert_string_equal(drain(&q), "new e other ");
    add_ephemeral(&q, "a ", 0);
    add_ephemeral(&q, "b ", 0);
    assert_string_equal(drain(&q), "a b ");
}

PROMISE(too_many_ephemerals_are_dropped)
{
    struct outq q = {0};

    for (int i = 0; i < 1000; i++)
        add_ephemeral(&q, "p", 0);
    assert_int_equal(q.n, OUTQ_EPHEMERALS_MAX);
    outq_deinit(&q);
}

PROMISE(small_replies_count_with_what_they_cost)
{
    struct outq q = {0};

    for (int i = 0; i < 1000; i++) {
        add_reply(&q, "ok");
        add_entry(&q, "e");
    }
    assert_true(q.reply_bytes >= 1000 * 192);
    drain(&q);
    assert_int_equal(q.reply_bytes, 0);
    outq_deinit(&q);
}

PROMISE(replies_that_follow_one_another_share_memory)
{
    struct outq q = {0};
    struct out_batch b;

    for (int i = 0; i < 1000; i++)
        add_reply(&q, "ok");
    assert_in_range(q.n, 2, 6);
    assert_in_range(q.reply_bytes, 2000, 4000);
    assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
    assert_int_equal(b.frames, 64);
    assert_int_equal(b.len, 128);
    outq_pop(&q, b.frames);
    add_reply(&q, "!");
    for (int left = 1000 - 64; left > 0; left -= 128) { /* blocks that the scratch has no room for */
        assert_true(outq_peek(&q, scratch, sizeof scratch, &b));
        outq_pop(&q, b.frames);
        if (outq_is_empty(&q))
            break;
    }
    assert_true(outq_is_empty(&q));
    assert_int_equal(q.reply_bytes, 0);
    outq_deinit(&q);
}

PROMISE(a_reply_does_not_pass_what_was_queued_before_it)
{
    struct outq q = {0};
    struct frame *notice = frame_of("n ");

    add_reply(&q, "r1 ");
    add_entry(&q, "e ");
    add_reply(&q, "r2 ");
    outq_notice(&q, notice);
    add_reply(&q, "r3 ");
    add_reply(&q, "r4 ");
    assert_string_equal(drain(&q), "r1 e r2 n r3 r4 ");
    frame_unref(notice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(small_replies_count_with_what_they_cost),
        HOLDS(replies_that_follow_one_another_share_memory),
        HOLDS(a_reply_does_not_pass_what_was_queued_before_it),
        HOLDS(an_empty_queue_holds_nothing),
        HOLDS(an_answer_and_an_event_take_no_memory_of_the_heap),
        HOLDS(what_goes_in_comes_out_in_order),
        HOLDS(small_items_are_gathered_and_a_single_one_is_not_copied),
        HOLDS(a_large_item_is_written_whole_from_where_it_lies),
        HOLDS(dropping_events_keeps_replies_and_notices),
        HOLDS(entries_have_a_bound_in_number_and_in_bytes),
        HOLDS(an_ephemeral_takes_the_place_of_its_slot),
        HOLDS(too_many_ephemerals_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
