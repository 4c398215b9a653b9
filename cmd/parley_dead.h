/* parley_dead: `parley dead list|show|replay|drop`: the records that the tables could not take. */
#pragma once
int dead(int argc, char **argv);
void dead_help(void);
