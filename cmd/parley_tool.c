#include "cmd/parley_tool.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int tool_complain(const char *what, const char *why)
{
    fprintf(stderr, "parley: %s%s%s\n", what, why && *why ? ": " : "", why ? why : "");
    return 1;
}

void tool_help(const char *text, const struct conf_option *options, size_t n)
{
    struct buf b = {0};

    buf_str(&b, str_c(text));
    conf_help(options, n, &b);
    fwrite(b.p, 1, b.len, stdout);
    buf_deinit(&b);
}

char *tool_path(const char *dir, const char *name)
{
    struct buf b = {0};

    buf_printf(&b, "%s/%s%c", dir, name, 0);
    return b.p;
}

/* Idle class for the disk (glibc has no name for the call or its numbers): best effort on both. */
void tool_be_nice(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };

    (void)!setpriority(PRIO_PROCESS, 0, 19);
    (void)!syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
}

bool tool_is_there(struct env *env, const char *path)
{
    struct file *f = NULL;
    enum err err = fs_open(env->fs, path, FS_READ, &f);

    file_close(f);
    return err != ERR_NOT_FOUND;
}

int tool_ask(int fd, const char *line, struct buf *out)
{
    FILE *io = fdopen(fd, "r+");
    char *got = NULL;
    size_t cap = 0;
    ssize_t n;
    int result = -1;

    fprintf(io, "%s\n", line);
    fflush(io);
    while (result < 0 && (n = getline(&got, &cap, io)) > 0) {
        if (str_eq(str_of(got, (size_t)n), STR("ok\n"))) {
            result = 0;
        } else if (str_starts(str_of(got, (size_t)n), STR("error "))) {
            got[n - 1] = '\0';
            result = tool_complain(got + strlen("error "), NULL);
        } else {
            buf_add(out, got, (size_t)n);
        }
    }
    free(got); /* getline's */
    fclose(io);
    return result < 0 ? tool_complain("the server ended before it answered", NULL) : result;
}

void tool_bytes(uint64_t n, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    int i = 0;

    for (; v >= 1024 && i < 4; i++)
        v /= 1024;
    snprintf(out, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}
