#include "tests/lib/unit.h"
#include "cmd/parley_load_scrape.h"

PROMISE(cpu_and_memory_are_read_from_an_answer)
{
    struct proc_use use;

    assert_true(scrape_read(STR("HTTP/1.1 200 OK\r\nA: b\r\n\r\n# HELP process_cpu_seconds_total x\n"
                                "process_cpu_seconds_total_of_others 7\nprocess_cpu_seconds_total 12.345678\n"
                                "process_resident_memory_bytes 4194304\n"),
                            &use));
    assert_true(use.is_there);
    assert_int_equal(use.cpu_us, 12345678);
    assert_int_equal(use.rss_kb, 4096);
}

PROMISE(an_answer_without_them_says_nothing)
{
    static const char *const answers[] = {
        "",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n\nprocess_cpu_seconds_total 1\nprocess_resident_memory_bytes 1\n",
        "HTTP/1.1 200 OK\r\n\r\n\nprocess_cpu_seconds_total 1\n",
        "HTTP/1.1 200 OK\r\n\r\n\nprocess_cpu_seconds_total x\nprocess_resident_memory_bytes 1\n",
        "HTTP/1.1 200 OK\r\n\r\n\nprocess_cpu_seconds_total -1\nprocess_resident_memory_bytes 1\n",
        "HTTP/1.1 200 OK\r\n\r\n\nprocess_cpu_seconds_total 1\nprocess_resident_memory_bytes",
        "HTTP/1.1 200 OK\r\n\r\n\nprocess_cpu_seconds_total nan\nprocess_resident_memory_bytes 1\n",
    };
    struct proc_use use = {0};

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        assert_false(scrape_read(str_c(answers[i]), &use));
    assert_false(use.is_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(cpu_and_memory_are_read_from_an_answer),
        HOLDS(an_answer_without_them_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
