/* users: who logs in, from the file that `parley users seed` writes: username, user id, device, token, separated by
 * tabs.
 *
 * Memory: the texts live as long as the struct. */
#pragma once
#include "base/str.h"
#include "base/err.h"
#include "base/buf.h"

struct user {
    struct str name, id, device, token;
};
struct users {
    struct user *v;
    size_t n;
    struct str text;
};

/* INVALID with a sentence in *why: no such file, or a line that is not four fields (blank lines are skipped). */
MUST_CHECK enum err users_load(const char *path, struct users *out, struct buf *why);
MUST_CHECK enum err users_parse(struct str text, struct users *out, struct buf *why); /* text is borrowed */
void users_deinit(struct users *u);
