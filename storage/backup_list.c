/* FOLDER/BACKUP, text, lines ended by LF:
 *
 *     parley backup 1
 *     name NAME
 *     epoch WORD                                of the server's history
 *     begun MS                                  what was acknowledged before this moment is in it (since 1970, UTC)
 *     ended MS
 *     new BYTES                                 in files that the backup before did not have
 *     size BYTES PATH                           of each file, by path: its length, and
 *     BLAKE2b-256 (PATH) = DIGEST               its digest, as `b2sum --check` reads it
 *     end FILES BLAKE2b-256-OF-ALL-LINES-BEFORE
 *
 * Written last and at once, when all that it names is synced: so a folder without it, or whose list does not end as it
 * must, is no backup. PATH has no line breaks, is relative and leads nowhere else. */
#include "storage/backup_list.h"
#include <inttypes.h>
#include <stdlib.h>

enum { LIST_MAX = 256 << 20 };
#define FIRST_LINE "parley backup 1"
#define TAG "BLAKE2b-256"

void backup_list_deinit(struct backup_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free(l->v[i].path);
    mem_free(l->v);
    mem_free(l->name);
    mem_free(l->epoch);
    *l = (struct backup_list){0};
}

void backup_list_add(struct backup_list *l, struct str path, uint64_t bytes, const struct digest *d)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = mem_realloc(l->v, l->cap * sizeof l->v[0]);
    }
    l->v[l->n++] = (struct backup_file){mem_dup(path), bytes, *d};
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct backup_file *)a)->path, ((const struct backup_file *)b)->path);
}

static void sort(struct backup_list *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof l->v[0], by_path);
}

const struct backup_file *backup_list_find(const struct backup_list *l, struct str path)
{
    struct backup_file wanted = {.path = mem_dup(path)};
    const struct backup_file *f = l->n ? bsearch(&wanted, l->v, l->n, sizeof l->v[0], by_path) : NULL;

    mem_free(wanted.path);
    return f;
}

uint64_t backup_list_bytes(const struct backup_list *l)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->n; i++)
        sum += l->v[i].bytes;
    return sum;
}

static void digest_of(struct str text, struct digest *out)
{
    struct digest_state *d;

    digest_begin(&d);
    digest_add(d, text.p, text.len);
    digest_end(d, out);
}

void backup_list_encode(struct backup_list *l, struct buf *out)
{
    size_t start = out->len;
    char text[DIGEST_TEXT];
    struct digest all;

    sort(l);
    buf_printf(out, FIRST_LINE "\nname %s\nepoch %s\nbegun %" PRId64 "\nended %" PRId64 "\nnew %" PRIu64 "\n", l->name,
               l->epoch, l->begun_ms, l->ended_ms, l->new_bytes);
    for (size_t i = 0; i < l->n; i++) {
        digest_text(&l->v[i].digest, text);
        buf_printf(out, "size %" PRIu64 " %s\n" TAG " (%s) = %.*s\n", l->v[i].bytes, l->v[i].path, l->v[i].path,
                   DIGEST_TEXT, text);
    }
    digest_of(str_of(out->p + start, out->len - start), &all);
    digest_text(&all, text);
    buf_printf(out, "end %zu %.*s\n", l->n, DIGEST_TEXT, text);
}

/* --- reading --- */

struct reading {
    struct str left;
    struct backup_list *list;
};

/* The rest of the next line, which begins with `word` and a space. */
static bool line(struct reading *r, const char *word, struct str *rest)
{
    struct str one, behind, head;

    if (!str_cut(r->left, '\n', &one, &behind) || !str_cut(one, ' ', &head, rest) || !str_eq(head, str_c(word)))
        return false;
    r->left = behind;
    return true;
}

static bool number(struct reading *r, const char *word, int64_t *out)
{
    struct str rest;
    return line(r, word, &rest) && str_to_i64(rest, 0, INT64_MAX, out);
}

/* It must not lead out of the folder. */
static bool path_is_safe(struct str path)
{
    struct str part, rest = path;

    if (path.len == 0 || path.p[0] == '/')
        return false;
    for (bool more = true; more;) {
        more = str_cut(rest, '/', &part, &rest);
        if (!more)
            part = rest;
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    }
    return true;
}

static bool digest_line(struct reading *r, struct str path, struct digest *out)
{
    struct str rest;
    size_t n = path.len + 5; /* "(" path ") = " */

    return line(r, TAG, &rest) && rest.len == n + DIGEST_TEXT && rest.p[0] == '(' &&
           memcmp(rest.p + 1, path.p, path.len) == 0 && memcmp(rest.p + 1 + path.len, ") = ", 4) == 0 &&
           digest_parse(str_from(rest, n), out);
}

static bool file_lines(struct reading *r, struct str size)
{
    struct str bytes, path;
    struct digest d;
    int64_t n;

    if (!str_cut(size, ' ', &bytes, &path) || !str_to_i64(bytes, 0, INT64_MAX, &n) || !path_is_safe(path) ||
        !digest_line(r, path, &d))
        return false;
    backup_list_add(r->list, path, (uint64_t)n, &d);
    return true;
}

static bool head_lines(struct reading *r)
{
    struct str name, epoch;
    int64_t new_bytes;
    bool ok = line(r, "name", &name) && line(r, "epoch", &epoch) && number(r, "begun", &r->list->begun_ms) &&
              number(r, "ended", &r->list->ended_ms) && number(r, "new", &new_bytes);

    if (!ok)
        return false;
    r->list->name = mem_dup(name);
    r->list->epoch = mem_dup(epoch);
    r->list->new_bytes = (uint64_t)new_bytes;
    return true;
}

static bool last_line(struct reading *r, struct str text)
{
    size_t before = (size_t)(r->left.p - text.p);
    struct str rest, count, digest;
    struct digest said, is;
    int64_t n;

    if (!line(r, "end", &rest) || r->left.len || !str_cut(rest, ' ', &count, &digest) ||
        !str_to_i64(count, 0, INT64_MAX, &n) || (size_t)n != r->list->n || !digest_parse(digest, &said))
        return false;
    digest_of(str_of(text.p, before), &is);
    return digest_eq(&said, &is);
}

enum err backup_list_decode(struct str text, struct backup_list *out)
{
    struct backup_list l = {0};
    struct reading r = {.list = &l};
    struct str first, size;
    bool ok;

    if (!str_cut(text, '\n', &first, &r.left) || !str_starts(first, STR("parley backup ")))
        return ERR_CORRUPT;
    if (!str_eq(first, STR(FIRST_LINE)))
        return ERR_UNSUPPORTED;
    ok = head_lines(&r);
    while (ok && line(&r, "size", &size))
        ok = file_lines(&r, size);
    ok = ok && last_line(&r, text);
    sort(&l);
    for (size_t i = 1; ok && i < l.n; i++)
        ok = strcmp(l.v[i - 1].path, l.v[i].path) != 0;
    if (ok)
        *out = l;
    else
        backup_list_deinit(&l);
    return ok ? ERR_OK : ERR_CORRUPT;
}

enum err backup_list_read(struct fs *fs, const char *folder, struct backup_list *out)
{
    struct buf path = {0};
    struct str text = {0};
    enum err err;

    buf_printf(&path, "%s/" BACKUP_LIST "%c", folder, 0);
    TRY(fs_read_all(fs, path.p, LIST_MAX, &text));
    TRY(backup_list_decode(text, out));
out:
    mem_free((void *)(uintptr_t)text.p);
    buf_deinit(&path);
    return err;
}
