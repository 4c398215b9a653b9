/* Any bytes as a frame: no crash, and the fast way and jansson agree. */
#include "tests/lib/args_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, struct str element)
{
    (void)arg;
    (void)element;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request *r = request_new(NULL, NULL);
    struct str text = arena_dup(&r->arena, str_of(data, size));
    struct frame_head head;
    enum err err;
    bool fast;
    const char *why = args_agree(text, &fast);

    if (why) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    if ((args_parse_frame(text, r, &head) == CODE_OK) != (r->code == CODE_OK) || !str_is_utf8(str_c(r->why)))
        abort();
    args_split_batch(text, &err, ignore, NULL);
    request_free(r);
    return 0;
}
