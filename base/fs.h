/* fs: every touch of a disk, behind one interface, so that a simulated disk can stand in.
 *
 * Paths are plain C strings. Thread: all calls from any thread; one file's calls must not overlap unless they are
 * reads. Errors: FULL for no space, NOT_FOUND, EXISTS, LOCKED, IO for the rest; and SCARCE
 * where no descriptor was to be had, only from open, sync_dir and list, which then did nothing: wait and repeat it.
 * Nothing is retried except EINTR and short counts; a failed sync must never be repeated by the caller (the pages are
 * gone). */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <sys/uio.h>

struct fs;
struct file;

enum fs_mode {
    FS_READ,       /* must exist */
    FS_WRITE,      /* read and write, must exist */
    FS_CREATE,     /* read and write, made if absent (0600) */
    FS_CREATE_NEW, /* read and write, EXISTS if it is there (0600) */
};

struct fs_ops {
    enum err (*open)(struct fs *, const char *path, enum fs_mode, struct file **out);
    void (*close)(struct file *);
    enum err (*read)(struct file *, void *p, size_t n, uint64_t at,
                     size_t *got);                                          /* fewer only at the end of the file */
    enum err (*writev)(struct file *, struct iovec *v, int n, uint64_t at); /* all of it, or an error; v is used up */
    enum err (*sync)(struct file *);                                        /* fdatasync */
    enum err (*truncate)(struct file *, uint64_t size);
    enum err (*fill)(struct file *, uint64_t size); /* zero-fills [0, size), syncs, drops it from the page cache */
    enum err (*size)(struct file *, uint64_t *out);
    enum err (*lock)(struct file *);                     /* exclusive, whole file, freed by close; LOCKED */
    void (*ahead)(struct file *, uint64_t at, size_t n); /* may be NULL: it is only a hint */
    void (*forget)(struct file *);                       /* the same */
    enum err (*rename)(struct fs *, const char *from, const char *to);
    enum err (*link)(struct fs *, const char *from, const char *to);
    enum err (*remove)(struct fs *, const char *path);
    enum err (*mkdir)(struct fs *, const char *path); /* 0700; ok when it is there */
    enum err (*sync_dir)(struct fs *, const char *path);
    enum err (*list)(struct fs *, const char *path, void (*each)(void *arg, const char *name), void *arg);
    enum err (*space)(struct fs *, const char *path, uint64_t *free_bytes);
};

struct fs {
    const struct fs_ops *ops;
};
struct file {
    const struct fs_ops *ops;
};

#define FS_WRAP static inline MUST_CHECK enum err
FS_WRAP fs_open(struct fs *s, const char *path, enum fs_mode m, struct file **out)
{
    return s->ops->open(s, path, m, out);
}
FS_WRAP fs_rename(struct fs *s, const char *a, const char *b) { return s->ops->rename(s, a, b); }
FS_WRAP fs_link(struct fs *s, const char *a, const char *b) { return s->ops->link(s, a, b); }
FS_WRAP fs_remove(struct fs *s, const char *path) { return s->ops->remove(s, path); }
FS_WRAP fs_mkdir(struct fs *s, const char *path) { return s->ops->mkdir(s, path); }
FS_WRAP fs_sync_dir(struct fs *s, const char *path) { return s->ops->sync_dir(s, path); }
FS_WRAP fs_list(struct fs *s, const char *path, void (*each)(void *, const char *), void *arg)
{
    return s->ops->list(s, path, each, arg);
}
FS_WRAP fs_space(struct fs *s, const char *path, uint64_t *out) { return s->ops->space(s, path, out); }
static inline void file_close(struct file *f)
{
    if (f)
        f->ops->close(f);
}
FS_WRAP file_read(struct file *f, void *p, size_t n, uint64_t at, size_t *got)
{
    return f->ops->read(f, p, n, at, got);
}
FS_WRAP file_writev(struct file *f, struct iovec *v, int n, uint64_t at) { return f->ops->writev(f, v, n, at); }
FS_WRAP file_sync(struct file *f) { return f->ops->sync(f); }
FS_WRAP file_truncate(struct file *f, uint64_t n) { return f->ops->truncate(f, n); }
FS_WRAP file_fill(struct file *f, uint64_t n) { return f->ops->fill(f, n); }
FS_WRAP file_size(struct file *f, uint64_t *out) { return f->ops->size(f, out); }
FS_WRAP file_lock(struct file *f) { return f->ops->lock(f); }
#undef FS_WRAP
/* These bytes will be read soon: several reads then wait for the disk together. */
static inline void file_ahead(struct file *f, uint64_t at, size_t n)
{
    if (f->ops->ahead)
        f->ops->ahead(f, at, n);
}

/* Nobody will read what it holds: what was synced leaves the page cache. */
static inline void file_forget(struct file *f)
{
    if (f->ops->forget)
        f->ops->forget(f);
}

/* Built on the above. */
MUST_CHECK enum err file_write(struct file *f, const void *p, size_t n, uint64_t at);
MUST_CHECK enum err file_read_exact(struct file *f, void *p, size_t n,
                                    uint64_t at); /* CORRUPT when the file ends before */
/* Replaces `path` as a whole: writes path.tmp, syncs, renames, syncs the folder. After a crash: the old one or the new.
 */
MUST_CHECK enum err fs_replace(struct fs *s, const char *path, struct str bytes);
/* Reads a whole file of at most `max` bytes into *out (mem_free it); CORRUPT when larger. */
MUST_CHECK enum err fs_read_all(struct fs *s, const char *path, size_t max, struct str *out);
/* With its parents. A folder above that is there already is taken to be durable: where a start may have been cut short,
 * make the tree level by level. */
MUST_CHECK enum err fs_mkdirs(struct fs *s, const char *path);

struct fs *fs_posix(void);
