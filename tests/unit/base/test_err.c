#include "base/err.h"
#include "tests/lib/unit.h"
#include <ctype.h>
#include <errno.h>

PROMISE(an_error_s_name_is_its_identifier_in_lower_case)
{
#define ROW(id, text) {ERR_##id, #id},
    static const struct {
        enum err err;
        const char *id;
    } rows[] = {ERRS(ROW)};
#undef ROW

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = err_name(rows[i].err);
        assert_int_equal(strlen(name), strlen(rows[i].id));
        for (size_t c = 0; name[c]; c++)
            assert_int_equal(name[c], tolower(rows[i].id[c]));
        assert_true(strlen(err_text(rows[i].err)) > 0);
    }
}

PROMISE(errno_is_translated_to_what_the_caller_can_act_on)
{
    assert_int_equal(err_from_errno(ENOSPC), ERR_FULL);
    assert_int_equal(err_from_errno(EDQUOT), ERR_FULL);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(EEXIST), ERR_EXISTS);
    assert_int_equal(err_from_errno(EMFILE), ERR_SCARCE);
    assert_int_equal(err_from_errno(ENFILE), ERR_SCARCE);
    assert_int_equal(err_from_errno(ENOMEM), ERR_SCARCE);
    assert_int_equal(err_from_errno(EIO), ERR_IO);
    assert_int_equal(err_from_errno(EACCES), ERR_IO);
}

static enum err leaves_at(int which, int *reached)
{
    enum err err;
    *reached = 1;
    TRY(which == 1 ? ERR_LIMIT : ERR_OK);
    *reached = 2;
    TRY(which == 2 ? ERR_FULL : ERR_OK);
    *reached = 3;
out:
    return err;
}

PROMISE(TRY_leaves_at_the_first_failure_with_its_error)
{
    int reached;
    assert_int_equal(leaves_at(1, &reached), ERR_LIMIT);
    assert_int_equal(reached, 1);
    assert_int_equal(leaves_at(2, &reached), ERR_FULL);
    assert_int_equal(reached, 2);
    assert_ok(leaves_at(0, &reached));
    assert_int_equal(reached, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(an_error_s_name_is_its_identifier_in_lower_case),
        HOLDS(errno_is_translated_to_what_the_caller_can_act_on),
        HOLDS(TRY_leaves_at_the_first_failure_with_its_error),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
