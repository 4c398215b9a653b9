/* unit: what a unit test file starts with. A test is written PROMISE(what_is_promised) { … } and listed with HOLDS(…).
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PROMISE(name) static void name(void **state __attribute__((unused)))
#define HOLDS(name) cmocka_unit_test(name)
#define assert_ok(expr) assert_int_equal((expr), 0)
