#include "tests/lib/faultfs.h"
#include "base/mem.h"

struct faultfs {
    struct fs fs; /* what callers hold */
    struct fs *inner;
    struct faults faults;
};

struct fault_file {
    struct file file;
    struct file *inner;
    struct faultfs *owner;
};

static struct faultfs *of_fs(struct fs *s) { return container_of(s, struct faultfs, fs); }
static struct fault_file *of_file(struct file *f) { return container_of(f, struct fault_file, file); }

static enum err fault_open(struct fs *s, const char *path, enum fs_mode mode, struct file **out)
{
    struct file *inner;
    enum err err;

    TRY(faults_enter(&of_fs(s)->faults, FAULT_OPEN, path));
    TRY(fs_open(of_fs(s)->inner, path, mode, &inner));
    struct fault_file *f = mem_new(struct fault_file);
    *f = (struct fault_file){{s->ops}, inner, of_fs(s)};
    *out = &f->file;
out:
    return err;
}

static void fault_close(struct file *f)
{
    file_close(of_file(f)->inner);
    mem_free(of_file(f));
}

/* The call on the wrapped file or folder, unless it is to fail. */
#define ON_FILE(f, op, call)                                           \
    struct file *inner = of_file(f)->inner;                            \
    enum err err = faults_enter(&of_file(f)->owner->faults, op, NULL); \
    return err == ERR_OK ? (call) : err
#define ON_FS(s, op, path, call)                              \
    struct fs *inner = of_fs(s)->inner;                       \
    enum err err = faults_enter(&of_fs(s)->faults, op, path); \
    return err == ERR_OK ? (call) : err

static enum err fault_read(struct file *f, void *p, size_t n, uint64_t at, size_t *got)
{
    ON_FILE(f, FAULT_READ, file_read(inner, p, n, at, got));
}
static enum err fault_writev(struct file *f, struct iovec *v, int n, uint64_t at)
{
    ON_FILE(f, FAULT_WRITE, file_writev(inner, v, n, at));
}
static enum err fault_sync(struct file *f) { ON_FILE(f, FAULT_SYNC, file_sync(inner)); }
static enum err fault_truncate(struct file *f, uint64_t size)
{
    ON_FILE(f, FAULT_TRUNCATE, file_truncate(inner, size));
}
static enum err fault_fill(struct file *f, uint64_t size) { ON_FILE(f, FAULT_FILL, file_fill(inner, size)); }
static enum err fault_size(struct file *f, uint64_t *out) { ON_FILE(f, FAULT_SIZE, file_size(inner, out)); }
static enum err fault_lock(struct file *f) { ON_FILE(f, FAULT_LOCK, file_lock(inner)); }
static enum err fault_rename(struct fs *s, const char *from, const char *to)
{
    ON_FS(s, FAULT_RENAME, from, fs_rename(inner, from, to));
}
static enum err fault_link(struct fs *s, const char *from, const char *to)
{
    ON_FS(s, FAULT_LINK, from, fs_link(inner, from, to));
}
static enum err fault_remove(struct fs *s, const char *path) { ON_FS(s, FAULT_REMOVE, path, fs_remove(inner, path)); }
static enum err fault_mkdir(struct fs *s, const char *path) { ON_FS(s, FAULT_MKDIR, path, fs_mkdir(inner, path)); }
static enum err fault_sync_dir(struct fs *s, const char *path)
{
    ON_FS(s, FAULT_SYNC_DIR, path, fs_sync_dir(inner, path));
}
static enum err fault_list(struct fs *s, const char *path, void (*each)(void *, const char *), void *arg)
{
    ON_FS(s, FAULT_LIST, path, fs_list(inner, path, each, arg));
}
static enum err fault_space(struct fs *s, const char *path, uint64_t *free_bytes)
{
    ON_FS(s, FAULT_SPACE, path, fs_space(inner, path, free_bytes));
}

static const struct fs_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .writev = fault_writev,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .fill = fault_fill,
    .size = fault_size,
    .lock = fault_lock,
    .rename = fault_rename,
    .link = fault_link,
    .remove = fault_remove,
    .mkdir = fault_mkdir,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .space = fault_space,
};

void faultfs_create(struct fs *inner, struct faultfs **out)
{
    struct faultfs *f = mem_new(struct faultfs);

    f->fs.ops = &fault_ops;
    f->inner = inner;
    faults_init(&f->faults);
    *out = f;
}

void faultfs_destroy(struct faultfs *f)
{
    if (!f)
        return;
    faults_deinit(&f->faults);
    mem_free(f);
}

struct fs *faultfs_fs(struct faultfs *f) { return &f->fs; }

struct faults *faultfs_faults(struct faultfs *f) { return &f->faults; }
