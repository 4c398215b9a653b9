/* parley stores: which stores a data folder has, and how many shards each holds. */
#pragma once

int stores_list(int argc, char **argv);
void stores_list_help(void);
