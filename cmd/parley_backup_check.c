#include "cmd/parley_backup_check.h"
#include "cmd/parley_tool.h"
#include <inttypes.h>
#include <stdio.h>

static void say(const char *path, const char *what) { printf("damaged: file %s offset 0: %s\n", path, what); }

static bool is_whole(struct pace *p, const char *path, const struct backup_file *f)
{
    struct copied c = {0};
    enum err err = copy_digest(p, path, &c);
    char text[96];

    if (err != ERR_OK) {
        say(path, err == ERR_NOT_FOUND ? "it is missing" : err_text(err));
        return false;
    }
    if (c.bytes != f->bytes) {
        snprintf(text, sizeof text, "it has %" PRIu64 " bytes, and had %" PRIu64, c.bytes, f->bytes);
        say(path, text);
        return false;
    }
    if (!digest_eq(&c.digest, &f->digest)) {
        say(path, "it is not what was backed up");
        return false;
    }
    return true;
}

void backup_check(struct pace *p, const char *folder, const struct backup_list *l, uint64_t *damages)
{
    for (size_t i = 0; i < l->n; i++) {
        char *path = tool_path(folder, l->v[i].path);
        *damages += !is_whole(p, path, &l->v[i]);
        mem_free(path);
    }
}

enum err backup_open(struct env *env, const char *folder, struct backup_list *out, char **why)
{
    enum err err = backup_list_read(env->fs, folder, out);
    struct buf b = {0};

    if (err == ERR_OK)
        return err;
    buf_printf(
        &b, "%s/" BACKUP_LIST ": %s%c", folder,
        err == ERR_NOT_FOUND ? "it is missing: this is no backup, or one that was never finished" : err_text(err), 0);
    *why = b.p;
    return err;
}
