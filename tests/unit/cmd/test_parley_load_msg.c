#include "tests/lib/unit.h"
#include "cmd/parley_load_auth.h"
#include "cmd/parley_load_options.h"
#include "cmd/parley_load_result.h"
#include "cmd/parley_load_workers.h"
#include <netinet/in.h>

static struct buf message(unsigned type, struct str body)
{
    struct buf b = {0};
    size_t mark = msg_begin(&b, (enum msg_type)type);

    buf_str(&b, body);
    msg_end(&b, mark);
    return b;
}

PROMISE(a_message_is_whole_only_with_its_last_byte)
{
    struct buf b = message(MSG_FAILED, STR("why"));
    struct msg m;

    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(msg_parse(str_of(b.p, len), false, &m), MSG_PART);
    buf_str(&b, STR("next"));
    assert_int_equal(msg_parse(buf_get(&b), false, &m), MSG_WHOLE);
    assert_int_equal(m.type, MSG_FAILED);
    assert_true(str_eq(m.body, STR("why")));
    assert_int_equal(m.bytes, b.len - 4);
    buf_deinit(&b);
}

PROMISE(a_strangers_long_message_and_an_unknown_type_are_bad_before_they_are_kept)
{
    static const struct {
        uint32_t len;
        uint8_t type;
        bool is_known, is_bad;
    } heads[] = {{0, 0, true, true},
                 {0, MSG_TYPES, true, true},
                 {MSG_SMALL_MAX + 1, MSG_HELLO, true, true},
                 {MSG_SMALL_MAX, MSG_HELLO, false, false},
                 {MSG_SMALL_MAX + 1, MSG_JOB, false, true},
                 {MSG_JOB_MAX, MSG_JOB, true, false},
                 {MSG_JOB_MAX + 1, MSG_JOB, true, true},
                 {MSG_RESULT_MAX + 1u, MSG_RESULT, true, true},
                 {MSG_TOPS_MAX + 1u, MSG_TOPS, true, true},
                 {MSG_TOPS_MAX, MSG_TOPS, true, false},
                 {UINT32_MAX, MSG_RESULT, true, true}};

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char head[MSG_HEAD];
        struct msg m;
        enc_u32(head, heads[i].len);
        head[4] = (char)heads[i].type;
        assert_int_equal(msg_parse(str_of(head, sizeof head), heads[i].is_known, &m),
                         heads[i].is_bad ? MSG_BAD : MSG_PART);
    }
}

PROMISE(a_hello_reads_back_and_another_version_is_told)
{
    struct hello h = {.version = MSG_VERSION, .has_secret = true, .nonce = "0123456789abcdef0123456789abcde"}, got;
    struct buf b = {0};

    hello_encode(&h, &b);
    assert_int_equal(hello_decode(buf_get(&b), &got), ERR_OK);
    assert_true(got.version == h.version && got.has_secret && memcmp(got.nonce, h.nonce, MSG_NONCE) == 0);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(hello_decode(str_of(b.p, len), &got), ERR_INVALID);
    enc_u32(b.p + 4, 77);
    assert_int_equal(hello_decode(str_of(b.p, 8), &got), ERR_OK);
    assert_int_equal(got.version, 77);
    b.p[0] ^= 1;
    assert_int_equal(hello_decode(buf_get(&b), &got), ERR_INVALID);
    buf_deinit(&b);
}

PROMISE(a_job_carries_every_option_of_the_run)
{
    char *argv[] = {"x",          "--users=u",  "--scenario=mixed", "--rate=123",      "--batch",  "--warmup=1500ms",
                    "--seed=9",   "--size=777", "--spread",         "--group-size=33", "--json=j", "--workers=2",
                    "--window=5", NULL};
    char *again[MSG_ARGS_MAX + 2] = {"x"};
    struct load_options o = {0}, got = {0};
    struct buf args = {0}, b = {0};
    struct job j;

    assert_int_equal(load_options_read(13, argv, &o), ERR_OK);
    load_options_args(&o, &args);
    job_encode(&(struct job){.run = 7,
                             .base = 8,
                             .options = buf_get(&args),
                             .users = STR("a\tb\tc\td\n"),
                             .workers = 3,
                             .at = 2,
                             .ids = STR("b\n")},
               &b);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(job_decode(str_of(b.p, len), &j), ERR_INVALID);
    assert_int_equal(job_decode(buf_get(&b), &j), ERR_OK);
    assert_true(j.run == 7 && j.base == 8 && str_eq(j.users, STR("a\tb\tc\td\n")));
    assert_true(j.workers == 3 && j.at == 2 && str_eq(j.ids, STR("b\n")));
    for (size_t i = 0; i < j.n_args; i++)
        again[i + 1] = (char *)(uintptr_t)j.args[i];
    assert_int_equal(load_options_read((int)j.n_args + 1, again, &got), ERR_OK);
    assert_string_equal(got.scenario_name, "mixed");
    assert_true(got.scenario == SCENARIO_MIXED && got.rate == 123 && got.batch && got.spread && got.warmup_ms == 1500);
    assert_true(got.seed == 9 && got.size == 777 && got.group_size == 33 && got.window == 5 && got.senders == 33);
    assert_true(got.json[0] == '\0' && got.workers[0] == '\0');
    buf_deinit(&args);
    buf_deinit(&b);
}

PROMISE(options_without_an_end_or_too_many_of_them_are_no_job)
{
    struct buf many = {0}, b = {0};
    struct job j;

    job_encode(&(struct job){.options = STR("--a=b")}, &b);
    assert_int_equal(job_decode(buf_get(&b), &j), ERR_INVALID);
    buf_clear(&b);
    job_encode(&(struct job){.options = STR("a=b\0")}, &b);
    assert_int_equal(job_decode(buf_get(&b), &j), ERR_INVALID);
    for (size_t i = 0; i <= MSG_ARGS_MAX; i++)
        buf_str(&many, STR("--a=b\0"));
    buf_clear(&b);
    job_encode(&(struct job){.options = buf_get(&many)}, &b);
    assert_int_equal(job_decode(buf_get(&b), &j), ERR_INVALID);
    buf_deinit(&many);
    buf_deinit(&b);
}

PROMISE(a_proof_is_worth_nothing_for_another_secret_nonce_or_part)
{
    struct nonces n = {"worker", "coordinator"}, other = {"workes", "coordinator"};
    struct secret s, wrong;
    uint8_t proof[MSG_PROOF_BYTES];
    struct str p = str_of(proof, sizeof proof);

    secret_of(STR("correct horse battery"), &s);
    secret_of(STR("correct horse batterz"), &wrong);
    secret_prove(&s, AUTH_COORDINATOR, &n, proof);
    assert_true(secret_check(&s, AUTH_COORDINATOR, &n, p));
    assert_false(secret_check(&s, AUTH_WORKER, &n, p));
    assert_false(secret_check(&wrong, AUTH_COORDINATOR, &n, p));
    assert_false(secret_check(&s, AUTH_COORDINATOR, &other, p));
    assert_false(secret_check(&s, AUTH_COORDINATOR, &n, str_of(proof, sizeof proof - 1)));
    proof[31] ^= 1;
    assert_false(secret_check(&s, AUTH_COORDINATOR, &n, p));
}

static struct run *run_new(void)
{
    struct run *r = mem_new(struct run);

    r->ack = mem_new(struct hist);
    r->delivery = mem_new(struct hist);
    r->reach = mem_new(struct hist);
    r->series = mem_new(struct series);
    for (size_t i = 0; i < ACT_KINDS; i++)
        r->acts[i] = mem_new(struct hist);
    return r;
}

static void run_free(struct run *r)
{
    for (size_t i = 0; i < ACT_KINDS; i++)
        mem_free(r->acts[i]);
    buf_deinit(&r->series->kept);
    buf_deinit(&r->fault);
    mem_free(r->series);
    mem_free(r->delivery);
    mem_free(r->reach);
    mem_free(r->reaches);
    for (size_t i = 0; i < r->n_rooms; i++)
        room_deinit(&r->rooms[i]);
    mem_free(r->rooms);
    mem_free(r->ack);
    mem_free(r);
}

/* A run whose delivery latencies are from .. from + 99, half of them in each of two samples. */
static struct run *run_found(uint64_t from)
{
    struct run *r = run_new();
    struct hist *half = mem_new(struct hist);
    struct sample s = {.acked = 10, .delivered = 20};

    for (uint64_t k = 0; k < 2; k++) {
        memset(half, 0, sizeof *half);
        for (uint64_t i = 0; i < 50; i++)
            hist_add(half, from + k * 50 + i);
        s.at_us = (k + 1) * 250000;
        sample_encode(&s, half, &r->series->kept);
        hist_merge(r->delivery, half);
    }
    r->series->n = 2;
    mem_free(half);
    r->n = 10;
    r->begin.at_us = 1000;
    r->end.at_us = 1000 + 500000 + from;
    r->end.tally.delivered = 100;
    r->tally.delivered = 120;
    r->faults.missing = 1;
    r->faults.workers = 2;
    buf_printf(&r->fault, "fault of %llu", (unsigned long long)from);
    return r;
}

PROMISE(results_add_up_as_if_one_process_had_done_all)
{
    struct run *a = run_found(1), *b = run_found(101), *sum = run_new();
    struct buf x = {0}, y = {0};
    size_t which;

    result_encode(a, &x);
    result_encode(b, &y);
    assert_int_equal(result_merge(sum, (struct str[]){buf_get(&x), buf_get(&y)}, 2, &which), ERR_OK);
    assert_true(sum->n == 20 && sum->tally.delivered == 240);
    assert_true(sum->end.tally.delivered - sum->begin.tally.delivered == 200);
    assert_int_equal(sum->end.at_us - sum->begin.at_us, 500101);
    assert_true(sum->faults.missing == 2 && sum->faults.workers == 4);
    assert_true(str_eq(buf_get(&sum->fault), STR("fault of 1")));
    assert_true(sum->delivery->count == 200 && hist_at(sum->delivery, 50) == 100 && sum->delivery->max == 200);
    assert_int_equal(sum->series->n, 2);
    assert_true(sum->series->v[1].acked == 20 && sum->series->v[1].delivered == 40);
    assert_int_equal(sum->series->v[0].at_us, 250000);
    assert_int_equal(sum->series->v[0].p50, 50); /* of 1..50 and 101..150 */
    assert_int_equal(sum->series->v[0].p99, 149);
    buf_deinit(&x);
    buf_deinit(&y);
    run_free(a);
    run_free(b);
    run_free(sum);
}

/* A worker's part of two groups: it has seen one entry of each. */
static struct run *run_shared(uint32_t writer, uint64_t us)
{
    struct run *r = run_new();
    struct view v[2] = {{0}};

    r->crowd.n = 2;
    r->n_rooms = 2;
    r->rooms = mem_new_array(struct room, 2);
    r->reaches = mem_new_array(struct reach, 2);
    r->n_reaches = 2;
    for (size_t i = 0; i < 2; i++) {
        struct sighting s = {2, 77, i ? writer : 5, 1};
        r->rooms[i].members = 1;
        assert_true(room_begin(&r->rooms[i], &v[i], STR("c"), 1));
        assert_true(room_event(&r->rooms[i], &v[i], &s, &r->faults));
        r->reaches[i] = (struct reach){i, 2, us + i};
    }
    return r;
}

static void merge_shared(struct run *a, struct run *b, struct run *sum)
{
    struct user users[10] = {0};
    struct buf x = {0}, y = {0};
    size_t which;

    sum->crowd.n = 2;
    sum->users = (struct users){.v = users, .n = 10};
    result_encode(a, &x);
    result_encode(b, &y);
    assert_int_equal(result_merge(sum, (struct str[]){buf_get(&x), buf_get(&y)}, 2, &which), ERR_OK);
    sum->n_rooms = 0; /* they are only counted there */
    buf_deinit(&x);
    buf_deinit(&y);
}

PROMISE(workers_that_were_told_different_logs_of_a_shared_group_are_found)
{
    struct run *a = run_shared(6, 10), *b = run_shared(6, 30), *c = run_shared(7, 20);
    struct run *good = run_new(), *bad = run_new(), *partial = run_new();

    merge_shared(a, b, good);
    assert_int_equal(faults_sum(&good->faults), 0);
    assert_true(good->reach->count == 2 && good->reach->max == 31 && hist_at(good->reach, 1) == 30);
    merge_shared(a, c, bad);
    assert_int_equal(bad->faults.wrong, 1);
    assert_true(
        room_expect(&c->rooms[1], 4)); /* it lacks an entry: that is counted there, and its log is not compared */
    merge_shared(a, c, partial);
    assert_int_equal(partial->faults.wrong, 0);
    run_free(a);
    run_free(b);
    run_free(c);
    run_free(good);
    run_free(bad);
    run_free(partial);
}

PROMISE(a_result_that_is_cut_anywhere_or_goes_on_is_refused)
{
    struct run *a = run_found(1);
    struct buf x = {0};
    size_t which;

    result_encode(a, &x);
    for (size_t len = 0; len < x.len; len++) {
        struct run *sum = run_new();
        assert_int_equal(result_merge(sum, (struct str[]){buf_get(&x), str_of(x.p, len)}, 2, &which), ERR_INVALID);
        assert_int_equal(which, 1);
        run_free(sum);
    }
    buf_char(&x, 0);
    struct run *sum = run_new();
    assert_int_equal(result_merge(sum, (struct str[]){buf_get(&x)}, 1, &which), ERR_INVALID);
    run_free(sum);
    buf_deinit(&x);
    run_free(a);
}

PROMISE(a_histogram_with_a_cell_beyond_the_last_is_refused)
{
    struct hist *h = mem_new(struct hist);
    struct buf b = {0};
    struct dec d;

    hist_add(h, UINT64_MAX); /* the last cell */
    hist_encode(h, &b);
    memset(h, 0, sizeof *h);
    d = dec_of(buf_get(&b));
    assert_true(hist_decode(&d, h) && dec_done(&d) && h->cells[HIST_CELLS - 1] == 1 && h->max == UINT64_MAX);
    buf_clear(&b);
    enc_add_varint(&b, 1);
    enc_add_varint(&b, 1);
    enc_add_varint(&b, 1);
    enc_add_varint(&b, 1);
    enc_add_varint(&b, HIST_CELLS);
    enc_add_varint(&b, 1);
    d = dec_of(buf_get(&b));
    assert_false(hist_decode(&d, h));
    buf_deinit(&b);
    mem_free(h);
}

PROMISE(workers_have_all_users_in_whole_rooms)
{
    for (size_t unit = 1; unit <= 7; unit++) {
        for (size_t n = 1; n <= 5; n++) {
            size_t users = unit * 13, from, to, last = 0;
            for (size_t at = 0; at < n; at++) {
                workers_part(users, unit, n, at, &from, &to);
                assert_int_equal(from, last);
                assert_true(to > from && (to - from) % unit == 0 && (to - from) / unit <= 13 / n + 1);
                last = to;
            }
            assert_int_equal(last, users);
        }
    }
}

PROMISE(addresses_are_read_and_loopback_is_known)
{
    static const char *const wrong[] = {"", "a", ":1", "a:", "a:x", "a:65536", "::1:7", "a:1:2"};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010203)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct address a;

    assert_int_equal(address_parse(STR("[::1]:7080"), &a), ERR_OK);
    assert_string_equal(a.host, "::1");
    assert_int_equal(address_parse(STR("a.example:0"), &a), ERR_OK);
    assert_string_equal(a.port, "0");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(address_parse(str_c(wrong[i]), &a), ERR_INVALID);
    assert_true(address_is_loopback((struct sockaddr *)&v4));
    assert_true(address_is_loopback((struct sockaddr *)&v6));
    v4.sin_addr.s_addr = 0;
    v6.sin6_addr = in6addr_any;
    assert_false(address_is_loopback((struct sockaddr *)&v4));
    assert_false(address_is_loopback((struct sockaddr *)&v6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_message_is_whole_only_with_its_last_byte),
        HOLDS(a_strangers_long_message_and_an_unknown_type_are_bad_before_they_are_kept),
        HOLDS(a_hello_reads_back_and_another_version_is_told),
        HOLDS(a_job_carries_every_option_of_the_run),
        HOLDS(options_without_an_end_or_too_many_of_them_are_no_job),
        HOLDS(a_proof_is_worth_nothing_for_another_secret_nonce_or_part),
        HOLDS(results_add_up_as_if_one_process_had_done_all),
        HOLDS(workers_that_were_told_different_logs_of_a_shared_group_are_found),
        HOLDS(a_result_that_is_cut_anywhere_or_goes_on_is_refused),
        HOLDS(a_histogram_with_a_cell_beyond_the_last_is_refused),
        HOLDS(workers_have_all_users_in_whole_rooms),
        HOLDS(addresses_are_read_and_loopback_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
