#include "base/fs.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct posix_file {
    struct file file;
    int fd;
};

static int fd_of(struct file *f) { return container_of(f, struct posix_file, file)->fd; }

/* Of a call on what is on the disk already. Memory that it lacked is no reason to repeat it: what it did is unknown. */
static enum err failed(int e)
{
    enum err err = err_from_errno(e);
    return err == ERR_SCARCE ? ERR_IO : err;
}

/* The answer to a system call that says -1 and errno. */
static enum err checked(int r) { return r < 0 ? failed(errno) : ERR_OK; }

static enum err posix_open(struct fs *s, const char *path, enum fs_mode mode, struct file **out)
{
    static const int flags[] = {
        [FS_READ] = O_RDONLY,
        [FS_WRITE] = O_RDWR,
        [FS_CREATE] = O_RDWR | O_CREAT,
        [FS_CREATE_NEW] = O_RDWR | O_CREAT | O_EXCL,
    };
    int fd;
    do
        fd = open(path, flags[mode] | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return err_from_errno(errno);
    struct posix_file *f = mem_new(struct posix_file);
    *f = (struct posix_file){{s->ops}, fd};
    *out = &f->file;
    return ERR_OK;
}

static void posix_close(struct file *f)
{
    close(fd_of(f)); /* what matters was synced, and that was checked */
    mem_free(container_of(f, struct posix_file, file));
}

static enum err posix_read(struct file *f, void *p, size_t n, uint64_t at, size_t *got)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(fd_of(f), (char *)p + done, n - done, (off_t)(at + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return failed(errno);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return ERR_OK;
}

/* Takes `done` bytes, and what is empty behind them, from the front of v. */
static void iov_advance(struct iovec **v, int *n, size_t done)
{
    while (*n > 0 && done >= (*v)->iov_len) {
        done -= (*v)->iov_len;
        (*v)++;
        (*n)--;
    }
    if (*n > 0) {
        (*v)->iov_base = (char *)(*v)->iov_base + done;
        (*v)->iov_len -= done;
    }
}

static enum err posix_writev(struct file *f, struct iovec *v, int n, uint64_t at)
{
    for (iov_advance(&v, &n, 0); n > 0;) {
        ssize_t r = pwritev(fd_of(f), v, n < IOV_MAX ? n : IOV_MAX, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? failed(errno) : ERR_IO;
        at += (uint64_t)r;
        iov_advance(&v, &n, (size_t)r);
    }
    return ERR_OK;
}

static enum err posix_sync(struct file *f) { return checked(fdatasync(fd_of(f))); }

static enum err posix_truncate(struct file *f, uint64_t size) { return checked(ftruncate(fd_of(f), (off_t)size)); }

/* Large writes leave large folios in the page cache, and each small fdatasync would then rewrite a whole one: so the
 * pages are dropped once they are on the disk. */
static void posix_forget(struct file *f) { (void)posix_fadvise(fd_of(f), 0, 0, POSIX_FADV_DONTNEED); }

static enum err posix_fill(struct file *f, uint64_t size)
{
    enum { STEP = 1 << 20 };
    char *zeros = mem_alloc(STEP);
    enum err err;

    for (uint64_t at = 0; at < size; at += STEP)
        TRY(file_write(f, zeros, size - at < STEP ? size - at : STEP, at));
    TRY(posix_sync(f));
    posix_forget(f); /* only a matter of speed */
out:
    mem_free(zeros);
    return err;
}

static enum err posix_size(struct file *f, uint64_t *out)
{
    struct stat st;
    if (fstat(fd_of(f), &st) < 0)
        return err_from_errno(errno);
    *out = (uint64_t)st.st_size;
    return ERR_OK;
}

static enum err posix_lock(struct file *f)
{
    int r = flock(fd_of(f), LOCK_EX | LOCK_NB);
    return r < 0 && errno == EWOULDBLOCK ? ERR_LOCKED : checked(r);
}

static void posix_ahead(struct file *f, uint64_t at, size_t n)
{
    (void)posix_fadvise(fd_of(f), (off_t)at, (off_t)n, POSIX_FADV_WILLNEED);
}

static enum err posix_rename(struct fs *s, const char *from, const char *to)
{
    (void)s;
    return checked(rename(from, to));
}

static enum err posix_link(struct fs *s, const char *from, const char *to)
{
    (void)s;
    return checked(link(from, to));
}

static enum err posix_remove(struct fs *s, const char *path)
{
    (void)s;
    return checked(remove(path));
}

static enum err posix_mkdir(struct fs *s, const char *path)
{
    struct stat st;
    (void)s;
    if (mkdir(path, 0700) == 0)
        return ERR_OK;
    int why = errno;
    bool is_there = why == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return is_there ? ERR_OK : failed(why);
}

static enum err posix_sync_dir(struct fs *s, const char *path)
{
    (void)s;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    enum err err = checked(fsync(fd));
    close(fd);
    return err;
}

static enum err posix_list(struct fs *s, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    (void)s;
    DIR *dir = opendir(path);
    if (!dir)
        return err_from_errno(errno);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    enum err err = errno ? failed(errno) : ERR_OK;
    closedir(dir);
    return err;
}

static enum err posix_space(struct fs *s, const char *path, uint64_t *free_bytes)
{
    struct statvfs st;
    (void)s;
    if (statvfs(path, &st) < 0)
        return err_from_errno(errno);
    *free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return ERR_OK;
}

struct fs *fs_posix(void)
{
    static const struct fs_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .writev = posix_writev,
        .sync = posix_sync,
        .truncate = posix_truncate,
        .fill = posix_fill,
        .size = posix_size,
        .lock = posix_lock,
        .ahead = posix_ahead,
        .forget = posix_forget,
        .rename = posix_rename,
        .link = posix_link,
        .remove = posix_remove,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .space = posix_space,
    };
    static struct fs posix = {&ops}; /* never written: not const only because an fs is passed as mutable */
    return &posix;
}
