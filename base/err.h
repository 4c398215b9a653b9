/* err: the one error type, and the two macros that carry it.
 *
 * Every function that can fail returns `enum err` and hands its results out through its last parameters, which stay
 * untouched when it fails. errno and the codes of libraries are translated by the file that called them. */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/*        name         what it means to the caller */
#define ERRS(E)                                                                   \
    E(OK, "ok")                                                                   \
    E(INVALID, "an argument or a request is not acceptable")                      \
    E(NOMEM, "no memory for a size that a peer or a file chose")                  \
    E(IO, "the system refused a read or a write")                                 \
    E(FULL, "no space left on the disk; nothing was written")                     \
    E(CORRUPT, "bytes on the disk are not what was written")                      \
    E(NOT_FOUND, "no such thing")                                                 \
    E(EXISTS, "it is there already")                                              \
    E(AGAIN, "not now: wait for what was asked for, then repeat")                 \
    E(SCARCE, "the system has no descriptor or no memory left; nothing was done") \
    E(LIMIT, "a bound is reached; nothing was done")                              \
    E(CLOSED, "the other side is gone or closing")                                \
    E(LOCKED, "somebody else holds it")                                           \
    E(UNSUPPORTED, "a version or kind that this program does not know")

enum err {
#define ERR_ROW(id, text) ERR_##id,
    ERRS(ERR_ROW)
#undef ERR_ROW
};

/* The error's name ("corrupt") and its sentence; both static. */
const char *err_name(enum err e);
const char *err_text(enum err e);

/* Translates errno: ENOSPC and EDQUOT are FULL, ENOENT is NOT_FOUND, EEXIST is EXISTS, no descriptor or memory
 * is SCARCE, the rest IO. */
enum err err_from_errno(int e);

/* The only macro that may jump: leaves through the label `out` of a function that has `enum err err`. */
#define TRY(expr)          \
    do {                   \
        err = (expr);      \
        if (err != ERR_OK) \
            goto out;      \
    } while (0)
