/* The last entries of a conversation, kept in memory: they are what the store has. */
#include "services/tail.h"
#include "services/shard_state.h"
#include "tests/unit/services/world_test.h"

enum { ENTRIES_MAX = 2000, TEXT_MAX = 16000 };

static struct talk {
    struct world_test *w;
    const char *conv;
    uint64_t head;
    size_t len[ENTRIES_MAX + 1]; /* of each entry's text, by seq */
    uint64_t dice;
} g;

static uint64_t dice(uint64_t below)
{
    g.dice = g.dice * 6364136223846793005u + 1442695040888963407u;
    return (g.dice >> 33) % below;
}

static struct answer *say_start(size_t len)
{
    struct buf b = {0};
    struct answer *a;

    g.len[++g.head] = len;
    buf_printf(&b,
               "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c%llu\",\"content\":{\"type\":\"text\",\"text\":\"",
               user_z(BEN), (unsigned long long)g.head);
    for (size_t i = 0; i < len; i++)
        buf_char(&b, (char)('a' + g.head % 26));
    buf_str(&b, STR("\"}}"));
    buf_char(&b, '\0');
    a = ask_start(g.w, 0, ANN, 1, b.p);
    buf_deinit(&b);
    return a;
}

/* One behind the other, in few syncs. */
static void say_all(size_t n, size_t len)
{
    struct answer *all[100];

    for (size_t i = 0; i < n; i++)
        all[i] = say_start(len);
    for (size_t i = 0; i < n; i++) {
        answer_wait(all[i]);
        assert_int_equal(all[i]->code, CODE_OK);
        answer_free(all[i]);
    }
}

static void say(size_t len) { say_all(1, len); }

/* The page holds [first, last], each with its own text. */
static void check(const char *text, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        const char *content;

        text = strstr(text, "\"seq\":");
        assert_non_null(text);
        assert_int_equal(strtoull(text + 6, NULL, 10), seq);
        content = strstr(text, "\"text\":\"");
        assert_non_null(content);
        for (content += 8; *content == (char)('a' + seq % 26); content++)
            ;
        assert_int_equal(content - strstr(text, "\"text\":\"") - 8, g.len[seq]);
        text = content;
    }
    assert_null(strstr(text, "\"seq\":"));
}

static void ask_page(void)
{
    uint64_t limit = 1 + dice(70), near = g.head > 80 ? g.head - dice(80) : 1 + dice(g.head);
    uint64_t first = g.head > limit ? g.head - limit + 1 : 1, last = g.head;
    char bound[64] = "";
    struct answer *a;

    if (dice(4) == 0) {
        snprintf(bound, sizeof bound, ",\"before\":%llu", (unsigned long long)near);
        last = near - 1;
        first = last > limit ? last - limit + 1 : 1;
    } else if (dice(3) == 0) {
        snprintf(bound, sizeof bound, ",\"after\":%llu", (unsigned long long)near);
        first = near + 1;
        last = near + limit < g.head ? near + limit : g.head;
    }
    a = ask(g.w, 0, BEN, 2,
            JSON("{\"op\":\"history\",\"conv\":\"%s\",\"limit\":%llu%s}", g.conv, (unsigned long long)limit, bound));
    assert_int_equal(a->code, CODE_OK);
    check(a->text, first, last);
    answer_free(a);
}

struct look {
    int64_t used;
    uint64_t bytes, bytes_max;
};
static void look(void *arg)
{
    struct look *l = arg;
    const struct shards *s = reactor_shards(g.w->r[0]);

    *l = (struct look){reactor_metrics(g.w->r[0])->v[METRIC_TAILS_USED], s->tails.bytes, s->tails.bytes_max};
}
static struct look look_now(void)
{
    struct look l;

    on_reactor(g.w, 0, look, &l);
    return l;
}

static void begin(uint64_t convs_bytes)
{
    g = (struct talk){.w = world_new(1), .dice = 7};
    g.w->limits.convs_bytes = convs_bytes;
    g.w->inner[INNER_ERASE] = inner_erase;
    world_open(g.w);
    g.conv = pair_z(g.w, ANN, BEN);
}

PROMISE(a_page_is_the_same_whether_the_end_is_kept_or_not)
{
    begin(0);
    say(10);
    say_all(70, 20);
    for (unsigned i = 0; i < 500; i++) {
        if (dice(4) == 0)
            say_all(1 + dice(3), dice(20) == 0 ? dice(TEXT_MAX) : 1 + dice(100));
        else
            ask_page();
    }
    assert_in_range(look_now().used, 100, 400);
    world_end(g.w);
}

PROMISE(the_oldest_make_room_for_what_is_new)
{
    begin(0);
    say_all(60, 20);
    for (unsigned i = 0; i < 30; i++) {
        struct answer *a = ask(g.w, 0, BEN, 2, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", g.conv));

        check(a->text, g.head - 49, g.head);
        answer_free(a);
        say(i % 7 == 0 ? 3000 : 20 + i);
        say(10);
    }
    assert_int_equal(look_now().used, 28); /* all but those that it began with */
    world_end(g.w);
}

/* Those that are no part of the page are many, and more than it has room for. */
PROMISE(what_was_committed_since_does_not_show_up_as_a_gap)
{
    begin(0);
    say(10);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned n = 0; n < 4; n++)
            ask_page();
        say_all(20 * i, i == 5 ? 1000 : 10);
    }
    world_end(g.w);
}

struct erasing {
    struct inner_erase page;
    sem_t done;
    enum code code;
};
static void on_erased(struct request *q)
{
    struct erasing *e = q->asker;

    e->code = q->code;
    request_free(q);
    sem_post(&e->done);
}
static void erase(void *arg)
{
    struct erasing *e = arg;
    struct request *q = request_new(on_erased, e);

    q->inner = INNER_ERASE;
    q->result = &e->page;
    bus_request(bus_port(g.w->bus, 0), 0, q);
}

PROMISE(what_is_erased_is_in_no_page_from_then_on)
{
    struct erasing e = {.page = {.from = 1, .to = 3}};
    const char *page;

    begin(0);
    page = JSON("{\"op\":\"history\",\"conv\":\"%s\"}", g.conv);
    for (unsigned i = 0; i < 4; i++)
        expect(g.w, ANN, SEND_TO(BEN, JSON("c%u", i), "a-secret"), CODE_OK, "\"seq\"");
    for (unsigned i = 0; i < 3; i++)
        expect(g.w, BEN, page, CODE_OK, "a-secret");
    assert_int_equal(look_now().used, 1); /* the first was seen once, the second kept */
    pair_conv(&g.w->data.keys, ANN, BEN, &e.page.conv);
    sem_init(&e.done, 0, 0);
    on_reactor(g.w, 0, erase, &e);
    sem_wait(&e.done);
    assert_int_equal(e.code, CODE_OK);
    assert_int_equal(e.page.erased, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct answer *a = ask(g.w, 0, BEN, 1, page);
        const char *secret = strstr(a->text, "a-secret");

        assert_non_null(secret); /* of the fourth */
        assert_null(strstr(secret + 1, "a-secret"));
        assert_non_null(strstr(a->text, "\"deleted\":true"));
        answer_free(a);
    }
    assert_in_range(look_now().used, 2, 4);
    world_end(g.w);
}

PROMISE(all_ends_together_stay_within_their_bound)
{
    enum { CHATS = 40, EACH = 5 };
    struct look l;

    begin(1 << 19);
    for (user_id u = 100; u < 100 + CHATS; u++) {
        for (unsigned i = 0; i < EACH; i++)
            expect(g.w, ANN,
                   SEND_TO(u, JSON("c%u", i),
                           "one that is long enough that all of them together are more than there is room for, and a "
                           "hundred bytes more, and a hundred bytes more, and a hundred bytes more, and a hundred more "
                           "bytes, and a hundred bytes more, and a hundred bytes more, and a hundred bytes more still; "
                           "and here is something that nobody would say, if it were not for the length that it has, "
                           "since a text of five hundred bytes or so is much more than most people write each other"),
                   CODE_OK, "\"seq\"");
        for (unsigned i = 0; i < 3; i++)
            expect(g.w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(g.w, ANN, u)), CODE_OK, "\"seq\":5");
    }
    l = look_now();
    assert_int_equal(l.bytes_max, (1 << 19) / 4);
    assert_in_range(l.bytes, l.bytes_max * 3 / 4, l.bytes_max);
    assert_int_equal(l.used, CHATS);
    world_end(g.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_page_is_the_same_whether_the_end_is_kept_or_not),  HOLDS(the_oldest_make_room_for_what_is_new),
        HOLDS(what_was_committed_since_does_not_show_up_as_a_gap), HOLDS(what_is_erased_is_in_no_page_from_then_on),
        HOLDS(all_ends_together_stay_within_their_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
