#include "proto/openapi.h"
#include "proto/route.h"
#include <jansson.h>
#include "tests/lib/unit.h"

static json_t *load(void)
{
    struct buf b = {0};
    json_t *root;

    openapi_print(&b);
    root = json_loadb(b.p, b.len, JSON_REJECT_DUPLICATES, NULL);
    buf_deinit(&b);
    assert_non_null(root);
    return root;
}

/* Every "$ref" leads somewhere inside the document. */
static void check_refs(json_t *root, json_t *node)
{
    const char *key;
    json_t *child;
    size_t i;

    json_object_foreach(node, key, child)
    {
        if (strcmp(key, "$ref") == 0) {
            json_t *at = root;
            struct str rest = str_from(str_c(json_string_value(child)), 2), head;

            while (str_cut(rest, '/', &head, &rest))
                at = json_object_getn(at, head.p, head.len);
            assert_non_null(json_object_getn(at, rest.p, rest.len));
        }
        check_refs(root, child);
    }
    json_array_foreach(node, i, child) check_refs(root, child);
}

PROMISE(the_document_is_json_and_every_reference_resolves)
{
    json_t *root = load();

    assert_string_equal(json_string_value(json_object_get(root, "openapi")), "3.1.0");
    check_refs(root, root);
    json_decref(root);
}

PROMISE(every_route_is_one_operation_with_an_id_of_its_own)
{
    json_t *root = load(), *ids = json_object(), *path, *operation;
    const char *key, *method;

    json_object_foreach(json_object_get(root, "paths"), key, path)
    {
        json_object_foreach(path, method, operation)
        {
            const char *id = json_string_value(json_object_get(operation, "operationId"));

            assert_non_null(id);
            assert_null(json_object_get(ids, id));
            json_object_set_new(ids, id, json_true());
            assert_non_null(json_object_get(json_object_get(operation, "responses"), "default"));
        }
    }
    assert_int_equal(json_object_size(ids), route_count);
    json_decref(ids);
    json_decref(root);
}

PROMISE(a_path_declares_all_its_parameters_under_its_own_names)
{
    json_t *root = load(), *path, *operation, *p;
    const char *key, *method;
    size_t i;

    json_object_foreach(json_object_get(root, "paths"), key, path)
    {
        size_t braces = 0;

        for (const char *c = key; *c; c++)
            braces += *c == '{';
        json_object_foreach(path, method, operation)
        {
            size_t found = 0;

            json_array_foreach(json_object_get(operation, "parameters"), i, p)
            {
                char name[64];

                if (strcmp(json_string_value(json_object_get(p, "in")), "path") != 0)
                    continue;
                snprintf(name, sizeof name, "{%s}", json_string_value(json_object_get(p, "name")));
                assert_non_null(strstr(key, name));
                assert_true(json_is_true(json_object_get(p, "required")));
                found++;
            }
            assert_int_equal(found, braces);
        }
    }
    json_decref(root);
}

PROMISE(what_needs_no_token_says_so)
{
    json_t *root = load(), *paths = json_object_get(root, "paths");
    json_t *sign_up = json_object_get(json_object_get(paths, "/v1/accounts"), "post");
    json_t *sync = json_object_get(json_object_get(paths, "/v1/sync"), "post");

    assert_int_equal(json_array_size(json_object_get(sign_up, "security")), 0);
    assert_true(json_is_array(json_object_get(sign_up, "security")));
    assert_null(json_object_get(sync, "security"));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(the_document_is_json_and_every_reference_resolves),
        HOLDS(every_route_is_one_operation_with_an_id_of_its_own),
        HOLDS(a_path_declares_all_its_parameters_under_its_own_names),
        HOLDS(what_needs_no_token_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
