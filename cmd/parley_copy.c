#include "cmd/parley_copy.h"
#include "base/mem.h"
#include <time.h>

enum { PIECE = 256 << 10, SYNC_BYTES = 8 << 20, SLEEP_US = 2000 };

void pace_begin(struct pace *p, struct env *env, uint64_t rate)
{
    *p = (struct pace){.env = env, .rate = rate, .begun_us = env_mono_us(env)};
}

void pace(struct pace *p, uint64_t bytes)
{
    uint64_t now_us, due_us;

    p->bytes += bytes;
    if (!p->rate)
        return;
    now_us = env_mono_us(p->env) - p->begun_us;
    due_us = (uint64_t)((double)p->bytes * 1e6 / (double)p->rate);
    if (due_us > now_us + SLEEP_US) {
        uint64_t us = due_us - now_us;
        nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
    }
    if (now_us > due_us + 1000000) { /* what was not used is not owed: no burst later */
        p->begun_us += now_us - due_us;
    }
}

/* Reads `left` bytes (COPY_ALL: to the end) in pieces, into the digest and, if there is one, another file. */
static enum err read_through(struct pace *p, struct file *in, struct file *out, int64_t left, struct digest_state *d,
                             uint64_t *bytes)
{
    char *piece = mem_alloc(PIECE);
    uint64_t at = 0, synced = 0;
    size_t got = PIECE;
    enum err err = ERR_OK;

    while (left != 0 && got > 0) {
        size_t want = left < 0 || left > PIECE ? PIECE : (size_t)left;
        TRY(file_read(in, piece, want, at, &got));
        TRY(got < want && left > 0 ? ERR_CORRUPT : ERR_OK);
        digest_add(d, piece, got);
        if (out)
            TRY(file_write(out, piece, got, at));
        at += got;
        left -= left < 0 ? 0 : (int64_t)got;
        if (out && at - synced >= SYNC_BYTES) {
            TRY(file_sync(out));
            synced = at;
        }
        pace(p, got);
    }
    *bytes = at;
out:
    mem_free(piece);
    return err;
}

enum err copy_file(struct pace *p, const char *from, const char *to, int64_t bytes, struct str tail, struct copied *out)
{
    struct fs *fs = p->env->fs;
    struct file *in = NULL, *made = NULL;
    struct digest_state *d;
    struct copied c = {0};
    enum err err;

    digest_begin(&d);
    TRY(fs_open(fs, from, FS_READ, &in));
    TRY(fs_open(fs, to, FS_CREATE_NEW, &made));
    TRY(read_through(p, in, made, bytes, d, &c.bytes));
    if (tail.len)
        TRY(file_write(made, tail.p, tail.len, c.bytes));
    digest_add(d, tail.p, tail.len);
    c.bytes += tail.len;
    TRY(file_sync(made));
out:
    file_close(in);
    file_close(made);
    digest_end(d, &c.digest);
    if (err == ERR_OK)
        *out = c;
    return err;
}

enum err copy_digest(struct pace *p, const char *path, struct copied *out)
{
    struct file *in = NULL;
    struct digest_state *d;
    struct copied c = {0};
    enum err err;

    digest_begin(&d);
    TRY(fs_open(p->env->fs, path, FS_READ, &in));
    TRY(read_through(p, in, NULL, COPY_ALL, d, &c.bytes));
out:
    file_close(in);
    digest_end(d, &c.digest);
    if (err == ERR_OK)
        *out = c;
    return err;
}

enum err copy_bytes(struct pace *p, struct str bytes, const char *to, struct copied *out)
{
    struct file *made = NULL;
    struct digest_state *d;
    enum err err;

    digest_begin(&d);
    digest_add(d, bytes.p, bytes.len);
    TRY(fs_open(p->env->fs, to, FS_CREATE_NEW, &made));
    TRY(file_write(made, bytes.p, bytes.len, 0));
    TRY(file_sync(made));
    pace(p, bytes.len);
    out->bytes = bytes.len;
out:
    file_close(made);
    digest_end(d, err == ERR_OK ? &out->digest : NULL);
    return err;
}
