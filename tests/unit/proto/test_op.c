#include "proto/op.h"
#include "proto/arg.h"
#include "proto/metrics.h"
#include "tests/lib/unit.h"

PROMISE(every_op_is_found_by_its_name_and_no_other)
{
    enum op op;

    for (unsigned i = 0; i < OP_COUNT; i++) {
        assert_true(op_find(str_c(op_table[i].name), &op));
        assert_int_equal(op, i);
    }
    assert_false(op_find(STR(""), &op));
    assert_false(op_find(STR("message.senD"), &op));
    assert_false(op_find(STR("message.send "), &op));
}

PROMISE(every_argument_lies_inside_its_struct)
{
    for (unsigned i = 0; i < OP_COUNT; i++) {
        struct arg_list l = arg_list_of((enum op)i);

        for (size_t k = 0; k < l.n; k++) {
            assert_true(l.v[k].offset < sizeof(union args) && l.v[k].has < sizeof(union args));
            assert_true(l.v[k].has > l.v[k].offset);
            assert_ptr_equal(arg_find(l, str_c(l.v[k].name)), &l.v[k]);
        }
    }
}

PROMISE(codes_have_their_names_and_statuses)
{
    assert_string_equal(code_text(CODE_BAD_JSON), "bad_json");
    assert_int_equal(code_status(CODE_BAD_JSON), 400);
    assert_int_equal(code_status(CODE_TOO_LARGE), 413);
    assert_string_equal(code_text(CODE_INTERNAL), "internal");
    assert_int_equal(code_status(CODE_INTERNAL), 500);
}

PROMISE(metrics_are_named_as_prometheus_wants_them)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_desc *m = &metric_table[i];
        struct str name = str_c(m->name), total = STR("_total");
        bool is_total = name.len > total.len && str_eq(str_from(name, name.len - total.len), total);

        assert_true(str_starts(name, STR("parley_")));
        assert_true(m->kind != METRIC_COUNTER || is_total);
        assert_true(m->help && *m->help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(every_op_is_found_by_its_name_and_no_other),
        HOLDS(every_argument_lies_inside_its_struct),
        HOLDS(codes_have_their_names_and_statuses),
        HOLDS(metrics_are_named_as_prometheus_wants_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
