#include "cmd/parley_backup_dir.h"
#include "cmd/parley_tool.h"
#include <stdlib.h>

struct names {
    char **v;
    size_t n;
};

static void note(void *arg, const char *name)
{
    struct names *names = arg;

    names->v = mem_realloc(names->v, (names->n + 1) * sizeof names->v[0]);
    names->v[names->n++] = mem_dup(str_c(name));
}

static void names_deinit(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        mem_free(names->v[i]);
    mem_free(names->v);
}

static bool is_half(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".part") == 0;
}

static int by_time(const void *a, const void *b)
{
    const struct backup_list *x = a, *y = b;

    if (x->begun_ms != y->begun_ms)
        return x->begun_ms < y->begun_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* A backup is what its folder is called: a copy under another name is one, too. */
static void take(struct backup_list *l, const char *name)
{
    mem_free(l->name);
    l->name = mem_dup(str_c(name));
}

enum err backup_dir_read(struct fs *fs, const char *dir, struct backup_list **out, size_t *n, size_t *n_halves,
                         size_t *n_bad)
{
    struct names names = {0};
    struct backup_list *v = NULL;
    enum err err;

    *n = *n_halves = *n_bad = 0;
    TRY(fs_list(fs, dir, note, &names));
    v = mem_new_array(struct backup_list, names.n + 1);
    for (size_t i = 0; i < names.n; i++) {
        char *path = tool_path(dir, names.v[i]);
        enum err is = is_half(names.v[i]) ? ERR_AGAIN : backup_list_read(fs, path, &v[*n]);

        mem_free(path);
        *n_halves += is == ERR_AGAIN;
        *n_bad += is == ERR_CORRUPT || is == ERR_UNSUPPORTED;
        if (is == ERR_OK)
            take(&v[(*n)++], names.v[i]);
    }
    if (*n)
        qsort(v, *n, sizeof v[0], by_time);
    *out = v;
out:
    names_deinit(&names);
    return err;
}

void backup_dir_free(struct backup_list *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        backup_list_deinit(&v[i]);
    mem_free(v);
}

/* A file has no list of names, whatever the error is called. */
enum err backup_dir_remove(struct fs *fs, const char *path)
{
    struct names names = {0};
    enum err err = ERR_OK;

    if (fs_list(fs, path, note, &names) == ERR_OK) {
        for (size_t i = 0; i < names.n && err == ERR_OK; i++) {
            char *inner = tool_path(path, names.v[i]);
            err = backup_dir_remove(fs, inner);
            mem_free(inner);
        }
    }
    names_deinit(&names);
    if (err == ERR_OK)
        err = fs_remove(fs, path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err backup_dir_clean(struct fs *fs, const char *dir)
{
    struct names names = {0};
    enum err err;

    TRY(fs_list(fs, dir, note, &names));
    for (size_t i = 0; i < names.n && err == ERR_OK; i++) {
        char *path = tool_path(dir, names.v[i]);
        if (is_half(names.v[i]))
            err = backup_dir_remove(fs, path);
        mem_free(path);
    }
out:
    names_deinit(&names);
    return err;
}
