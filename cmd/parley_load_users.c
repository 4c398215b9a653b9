#include "cmd/parley_load_users.h"
#include "base/fs.h"
#include "base/mem.h"

enum { FILE_MAX_BYTES = 1 << 30 };

static bool user_read(struct str line, struct user *u)
{
    struct str rest;

    return str_cut(line, '\t', &u->name, &rest) && str_cut(rest, '\t', &u->id, &rest) &&
           str_cut(rest, '\t', &u->device, &u->token) && u->id.len && u->token.len &&
           !memchr(u->token.p, '\t', u->token.len) && !memchr(u->token.p, '"', u->token.len);
}

static void users_add(struct users *u, struct user user)
{
    if ((u->n & (u->n - 1)) == 0) /* full at each power of two */
        u->v = mem_realloc(u->v, (u->n ? 2 * u->n : 1) * sizeof *u->v);
    u->v[u->n++] = user;
}

enum err users_parse(struct str text, struct users *out, struct buf *why)
{
    struct users u = {0};
    struct str line;

    for (size_t number = 1; text.len; number++) {
        struct user user;
        if (!str_cut(text, '\n', &line, &text)) {
            line = text;
            text.len = 0;
        }
        if (line.len == 0)
            continue;
        if (!user_read(line, &user)) {
            buf_printf(why, "line %zu is not username, user id, device and token with tabs between them", number);
            users_deinit(&u);
            return ERR_INVALID;
        }
        users_add(&u, user);
    }
    *out = u;
    return ERR_OK;
}

enum err users_load(const char *path, struct users *out, struct buf *why)
{
    struct str text = {0};
    enum err err = fs_read_all(fs_posix(), path, FILE_MAX_BYTES, &text);

    buf_printf(why, "%s: ", path);
    if (err != ERR_OK) {
        buf_printf(why, "cannot be read: %s", err_text(err));
        return ERR_INVALID;
    }
    err = users_parse(text, out, why);
    if (err != ERR_OK) {
        mem_free((char *)(uintptr_t)text.p);
        return err;
    }
    out->text = text;
    buf_clear(why);
    return ERR_OK;
}

void users_deinit(struct users *u)
{
    mem_free(u->v);
    mem_free((char *)(uintptr_t)u->text.p);
    *u = (struct users){0};
}
