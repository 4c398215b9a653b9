/* parley_retention: `parley retention`: shows or sets how long a running server keeps a conversation's entries. */
#pragma once

int retention(int argc, char **argv);
void retention_help(void);
