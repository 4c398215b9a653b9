/* parley_export: `parley export`. */
#pragma once

int export_all(int argc, char **argv);
void export_help(void);
