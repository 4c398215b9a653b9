#include "proto/request.h"
#include "tests/lib/unit.h"

enum { MANY = 300 };

static struct request *v[REQUEST_SPARES + 100];

/* Takes n at once, and gives them back. */
static void use(struct request_pool *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        v[i] = request_new_from(p, NULL, NULL);
    for (unsigned i = 0; i < n; i++)
        request_free(v[i]);
}

static void assert_is_new(const struct request *r, void *asker)
{
    assert_int_equal(r->op, 0);
    assert_int_equal(r->inner, 0);
    assert_int_equal(r->actor.user, 0);
    assert_null(r->args);
    assert_int_equal(r->code, 0);
    assert_int_equal(r->why[0], 0);
    assert_int_equal(r->retry_after_ms, 0);
    assert_int_equal(r->out.len, 0);
    assert_null(r->result);
    assert_null(r->server);
    assert_ptr_equal(r->asker, asker);
}

PROMISE(a_request_that_is_used_again_is_as_new)
{
    struct request_pool p = {0};
    struct request *r = request_new_from(&p, NULL, &p), *again;

    assert_is_new(r, &p);
    memset(arena_room(&r->arena, 1000), 0xff, 1000);
    memset(arena_room(&r->arena, 5000), 0xff, 5000); /* more than it has by itself */
    request_fail(r, CODE_INTERNAL, "all of it");
    buf_str(&r->out, STR("what was said"));
    r->op = OP_history;
    r->inner = 3;
    r->actor.user = 4;
    r->retry_after_ms = 5;
    r->args = (union args *)&p;
    r->result = r->server = &p;
    request_free(r);
    assert_int_equal(p.n, 1);
    again = request_new_from(&p, NULL, v);
    assert_ptr_equal(again, r);
    assert_is_new(again, v);
    const char *zeros = arena_alloc(&again->arena, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(zeros[i], 0);
    request_free(again);
    request_pool_deinit(&p);
    assert_int_equal(p.n, 0);
}

PROMISE(a_pool_keeps_as_many_as_it_says_and_no_large_answer)
{
    struct request_pool p = {0};
    struct request *r;

    use(&p, REQUEST_SPARES + 100);
    assert_int_equal(p.n, REQUEST_SPARES);
    r = request_new_from(&p, NULL, NULL);
    buf_reserve(&r->out, 4096);
    request_free(r);
    assert_int_equal(p.n, REQUEST_SPARES - 1);
    request_pool_deinit(&p);
}

PROMISE(spares_that_nobody_needs_go_by_and_by_and_those_in_use_stay)
{
    struct request_pool p = {0};

    use(&p, MANY);
    request_pool_shrink(&p); /* all were needed since the last look */
    assert_int_equal(p.n, MANY);
    for (unsigned i = 0; i < 5; i++) {
        use(&p, MANY);
        request_pool_shrink(&p);
        assert_int_equal(p.n, MANY);
    }
    use(&p, 200);
    request_pool_shrink(&p); /* 100 were not needed, of which 64 may stay */
    assert_int_equal(p.n, MANY - (100 - REQUEST_SPARES_QUIET) / 2);
    for (unsigned i = 0; i < 20; i++)
        request_pool_shrink(&p);
    assert_int_equal(p.n, REQUEST_SPARES_QUIET);
    request_pool_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_request_that_is_used_again_is_as_new),
        HOLDS(a_pool_keeps_as_many_as_it_says_and_no_large_answer),
        HOLDS(spares_that_nobody_needs_go_by_and_by_and_those_in_use_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
