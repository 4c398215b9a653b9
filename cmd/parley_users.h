/* parley_users: `parley users …`. */
#pragma once

int users_seed(int argc, char **argv);
void users_seed_help(void);
