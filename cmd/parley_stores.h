/* parley_stores: `parley stores list`: which stores a folder has and what they hold; `add`, `drain` and `status`: of a
 * running server, asked by its admin socket. */
#pragma once

int stores_list(int argc, char **argv);
void stores_list_help(void);
int stores_add(int argc, char **argv);
void stores_add_help(void);
int stores_drain(int argc, char **argv);
void stores_drain_help(void);
int stores_status(int argc, char **argv);
void stores_status_help(void);
