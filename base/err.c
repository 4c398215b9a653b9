#include "base/err.h"
#include <errno.h>

const char *err_name(enum err e)
{
    static const char *const names[] = {
        [ERR_OK] = "ok",
        [ERR_INVALID] = "invalid",
        [ERR_NOMEM] = "nomem",
        [ERR_IO] = "io",
        [ERR_FULL] = "full",
        [ERR_CORRUPT] = "corrupt",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_EXISTS] = "exists",
        [ERR_AGAIN] = "again",
        [ERR_SCARCE] = "scarce",
        [ERR_LIMIT] = "limit",
        [ERR_CLOSED] = "closed",
        [ERR_LOCKED] = "locked",
        [ERR_UNSUPPORTED] = "unsupported",
    };
#define ERR_COUNT(id, text) +1
    _Static_assert(sizeof(names) / sizeof(names[0]) == 0 ERRS(ERR_COUNT), "every error has a name");
#undef ERR_COUNT
    return names[e];
}

const char *err_text(enum err e)
{
    static const char *const texts[] = {
#define ERR_TEXT(id, text) [ERR_##id] = text,
        ERRS(ERR_TEXT)
#undef ERR_TEXT
    };
    return texts[e];
}

enum err err_from_errno(int e)
{
    switch (e) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERR_SCARCE;
    default:
        return ERR_IO;
    }
}
