/* parley_verify: `parley verify`. */
#pragma once

int verify(int argc, char **argv);
void verify_help(void);
