/* The placement is replaced as a whole, so it is read as it is, whoever owns the folder meanwhile. */
#include "cmd/parley_stores.h"
#include "base/conf.h"
#include "cmd/parley_tool.h"
#include "storage/placement.h"
#include <stdio.h>

struct stores_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct stores_options, data), "data", 0, 0,
     "the server's data folder, running or stopped"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void stores_list_help(void)
{
    tool_help("parley stores list --data DIR\n\nA line for each store: name, state, and how many of the 256 "
              "shards it holds.\n\n",
              options, OPTIONS);
}

static int list(const char *data)
{
    struct data_dir d = {0};
    char *why = NULL;
    int result = 0;

    if (data_dir_look(env_posix(), data, false, &d, &why) == ERR_OK) {
        for (unsigned i = 0; i < d.placement.n_stores; i++)
            printf("%-*s  %-8s  %3u shards\n", STORE_NAME_MAX, d.placement.stores[i].name,
                   store_state_text(d.placement.stores[i].state), placement_shards_of(&d.placement, i));
    } else {
        result = tool_complain(data, why);
    }
    data_dir_close(&d);
    mem_free(why);
    return result;
}

int stores_list(int argc, char **argv)
{
    struct stores_options o = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc != 1)
        tool_complain("what is wanted: parley stores list --data DIR", NULL);
    else
        result = list(o.data);
    mem_free(why);
    return result;
}
