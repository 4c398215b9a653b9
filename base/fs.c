#include "base/fs.h"
#include "base/buf.h"

enum err file_write(struct file *f, const void *p, size_t n, uint64_t at)
{
    struct iovec v = {(void *)(uintptr_t)p, n}; /* writev reads only */
    return file_writev(f, &v, 1, at);
}

enum err file_read_exact(struct file *f, void *p, size_t n, uint64_t at)
{
    size_t got;
    enum err err = file_read(f, p, n, at, &got);
    return err == ERR_OK && got < n ? ERR_CORRUPT : err;
}

/* The folder that holds `path`, ending in a zero; mem_free it. */
static char *parent_of(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return mem_dup(n ? str_of(path, n) : STR("."));
}

static enum err write_whole(struct fs *s, const char *path, struct str bytes)
{
    struct file *f = NULL;
    enum err err;

    TRY(fs_open(s, path, FS_CREATE, &f));
    TRY(file_truncate(f, 0)); /* a crash may have left one */
    TRY(file_write(f, bytes.p, bytes.len, 0));
    TRY(file_sync(f));
out:
    file_close(f);
    return err;
}

enum err fs_replace(struct fs *s, const char *path, struct str bytes)
{
    struct buf tmp = {0};
    char *parent = parent_of(path);
    bool made = false;
    enum err err;

    buf_printf(&tmp, "%s.tmp%c", path, 0);
    TRY(write_whole(s, tmp.p, bytes));
    TRY(fs_rename(s, tmp.p, path));
    made = true;
    TRY(fs_sync_dir(s, parent));
out:
    if (!made)
        (void)!fs_remove(s, tmp.p); /* it may not even be there, and the first error is the one to tell */
    buf_deinit(&tmp);
    mem_free(parent);
    return err;
}

enum err fs_read_all(struct fs *s, const char *path, size_t max, struct str *out)
{
    struct file *f = NULL;
    char *p = NULL;
    uint64_t size;
    enum err err;

    TRY(fs_open(s, path, FS_READ, &f));
    TRY(file_size(f, &size));
    TRY(size > max ? ERR_CORRUPT : ERR_OK);
    p = mem_try(size);
    TRY(p ? ERR_OK : ERR_NOMEM);
    TRY(file_read_exact(f, p, size, 0));
    *out = str_of(p, size);
    p = NULL;
out:
    mem_free(p);
    file_close(f);
    return err;
}

/* A folder's name is durable when its parent is synced. */
enum err fs_mkdirs(struct fs *s, const char *path)
{
    char *parent = parent_of(path);
    enum err err = fs_mkdir(s, path);

    if (err == ERR_NOT_FOUND && strcmp(parent, path) != 0) {
        TRY(fs_mkdirs(s, parent));
        err = fs_mkdir(s, path);
    }
    TRY(err);
    TRY(fs_sync_dir(s, parent));
out:
    mem_free(parent);
    return err;
}
