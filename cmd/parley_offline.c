/* The tables must hold everything that the logs of earlier starts have for them: a name that stands in a log alone
 * would be given twice, and no server would start on it again. After a server that ended in good order they do. If they
 * don't, the logs' tails are for the server to judge, which knows what its stores have: nothing is touched here. */
#include "cmd/parley_offline.h"
#include "services/seed.h"

enum { NEW_STORES = 4, SEGMENT_BYTES = 16 << 20, SEGMENTS_AHEAD = 2 };

struct offline {
    struct env *env;
    struct data_dir data;
    struct world world;
    struct tables *tables;
    struct segpool *segments;
    struct directory *directory;
    char *log_dir, *tables_path;
    uint64_t log_id;
    bool (*line)(void *arg, struct str line);
    void *line_arg;
    enum code code;
    char why[160];
    enum err failed;
};

static char *path_in(const struct offline *o, const char *name)
{
    struct buf b = {0};

    buf_printf(&b, "%s/%s", o->data.path, name);
    buf_char(&b, '\0');
    return b.p;
}

static void say(char **why, const char *what)
{
    if (!*why)
        *why = mem_dup(str_c(what));
}

static enum err open_data(struct offline *o, const char *path, char **why)
{
    enum err err = data_dir_open(o->env, path, 0, &o->data, why);

    if (err == ERR_INVALID) { /* there is none: made as a server would */
        mem_free(*why);
        *why = NULL;
        err = data_dir_open(o->env, path, NEW_STORES, &o->data, why);
    }
    return err;
}

static enum err is_unapplied(void *arg, const struct log_record *r)
{
    (void)arg;
    (void)r;
    return ERR_AGAIN;
}

static enum err check_logs(struct offline *o, char **why)
{
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    TRY(seglog_list(o->env, o->log_dir, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        uint64_t from = tables_position(o->tables, ids[i]).applied;
        err = seglog_replay(o->env, o->log_dir, ids[i], from, TOPIC_TABLES, is_unapplied, NULL);
        if (err != ERR_OK) {
            say(why, "the server did not end in good order; start it once, then it can be asked while it runs");
            goto out;
        }
    }
out:
    mem_free(ids);
    return err;
}

static void on_failure(void *arg, enum err err) /* the directory said it in its log */
{
    struct offline *o = arg;

    o->failed = err;
    directory_stop(o->directory);
}

static void on_done(void *arg, enum code code, const char *why)
{
    struct offline *o = arg;

    o->code = code;
    snprintf(o->why, sizeof o->why, "%s", why);
    directory_stop(o->directory);
}

static enum err open_directory(struct offline *o)
{
    enum err err;

    bus_create(&(struct bus_conf){.ports = world_ports(&o->world), .key = &o->data.keys.bus}, &o->world.bus);
    TRY(data_dir_next_log_id(o->env, &o->data, &o->log_id));
    TRY(segpool_open(&(struct segpool_conf){o->env, o->log_dir, SEGMENT_BYTES, SEGMENTS_AHEAD, false}, &o->segments));
    TRY(directory_create(&(struct directory_conf){.world = &o->world,
                                                  .tables = o->tables,
                                                  .log_dir = o->log_dir,
                                                  .log_id = o->log_id,
                                                  .segments = o->segments,
                                                  .on_failure = on_failure,
                                                  .arg = o},
                         &o->directory));
out:
    return err;
}

static enum err run(struct offline *o, const struct seed_conf *c, char **why)
{
    o->code = CODE_INTERNAL;
    snprintf(o->why, sizeof o->why, "the log or the tables failed");
    if (seed_start(o->directory, c))
        directory_run(o->directory);
    if (o->code == CODE_OK)
        return ERR_OK;
    say(why, o->why);
    return o->failed != ERR_OK ? o->failed : ERR_INVALID;
}

static bool on_line(void *arg, struct str line)
{
    struct offline *o = arg;
    return o->line(o->line_arg, line);
}

/* The log stays: the next server finds it in the tables already, and removes it. */
static void close_all(struct offline *o)
{
    directory_destroy(o->directory);
    segpool_close(o->segments);
    bus_destroy(o->world.bus);
    tables_close(o->tables);
    data_dir_close(&o->data);
    mem_free(o->log_dir);
    mem_free(o->tables_path);
}

enum err offline_seed(const char *data, struct str prefix, uint64_t count, bool (*line)(void *arg, struct str line),
                      void *arg, char **why)
{
    struct offline o = {.env = env_posix(), .line = line, .line_arg = arg};
    struct seed_conf c = {.prefix = prefix, .count = count, .line = on_line, .done = on_done, .arg = &o};
    enum err err;

    TRY(open_data(&o, data, why));
    o.world = (struct world){.env = o.env, .data = &o.data};
    o.log_dir = path_in(&o, "log");
    o.tables_path = path_in(&o, "tables.db");
    TRY(tables_open(o.env, o.tables_path, &o.tables, why));
    TRY(check_logs(&o, why));
    TRY(open_directory(&o));
    TRY(run(&o, &c, why));
out:
    if (err != ERR_OK)
        say(why, err_text(err));
    close_all(&o);
    return err;
}
