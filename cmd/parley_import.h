/* parley_import: `parley import`. */
#pragma once

int import_file(int argc, char **argv);
void import_help(void);
