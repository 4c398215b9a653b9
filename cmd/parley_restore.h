/* parley_restore: `parley restore`. */
#pragma once

int restore(int argc, char **argv);
void restore_help(void);
