/* parley erase: messages lose their content, of a running server. */
#pragma once

int erase_messages(int argc, char **argv);
void erase_help(void);
