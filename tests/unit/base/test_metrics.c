#include "base/metrics.h"
#include "tests/lib/unit.h"
#include <pthread.h>

static const struct metric_desc descs[] = {
    {"a_total", "What is counted.", METRIC_COUNTER},
    {"b_total{kind=\"x\"}", "Of kinds.", METRIC_COUNTER},
    {"b_total{kind=\"y\"}", "Of kinds.", METRIC_COUNTER},
    {"c", "What is now.", METRIC_GAUGE},
    {"d", "The worst.", METRIC_GAUGE_MAX},
};
enum { A, B_X, B_Y, C, D, COUNT, THREADS = 3, EACH = 20000 };

static struct metrics *m;

static void *count_many(void *arg)
{
    struct metric_set *s = metrics_set(m);
    (void)arg;
    for (int i = 0; i < EACH; i++)
        metric_add(s, A, 1);
    return NULL;
}

PROMISE(reading_sums_what_each_thread_counted)
{
    pthread_t thread[THREADS];
    struct buf out = {0};

    metrics_create(descs, COUNT, &m);
    for (size_t i = 0; i < THREADS; i++)
        assert_ok(pthread_create(&thread[i], NULL, count_many, NULL));
    metrics_print(m, &out); /* while they count */
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    buf_clear(&out);
    metrics_print(m, &out);
    assert_true(
        str_starts(buf_get(&out), STR("# HELP a_total What is counted.\n# TYPE a_total counter\na_total 60000\n")));
    buf_deinit(&out);
    metrics_destroy(m);
}

PROMISE(the_output_is_prometheus_text_with_one_head_per_family)
{
    struct buf out = {0};
    metrics_create(descs, COUNT, &m);
    struct metric_set *s = metrics_set(m), *other = metrics_set(m);
    metric_add(s, B_X, 2);
    metric_add(other, B_Y, 3);
    metric_put(s, C, 10);
    metric_put(s, C, 7);
    metric_put(other, C, -2);
    metric_put(s, D, 7);
    metric_put(other, D, 9);
    metrics_print(m, &out);
    assert_true(str_eq(buf_get(&out), STR("# HELP a_total What is counted.\n# TYPE a_total counter\na_total 0\n"
                                          "# HELP b_total Of kinds.\n# TYPE b_total counter\n"
                                          "b_total{kind=\"x\"} 2\nb_total{kind=\"y\"} 3\n"
                                          "# HELP c What is now.\n# TYPE c gauge\nc 5\n"
                                          "# HELP d The worst.\n# TYPE d gauge\nd 9\n")));
    buf_deinit(&out);
    metrics_destroy(m);
    metrics_destroy(NULL);
}

PROMISE(no_two_sets_share_a_cache_line)
{
    metrics_create(descs, COUNT, &m);
    for (int i = 0; i < 10; i++)
        assert_int_equal((uintptr_t)metrics_set(m) % 64, 0);
    metrics_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(reading_sums_what_each_thread_counted),
        HOLDS(the_output_is_prometheus_text_with_one_head_per_family),
        HOLDS(no_two_sets_share_a_cache_line),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
