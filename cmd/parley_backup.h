/* parley_backup: `parley backup` and `parley backup list`. */
#pragma once

int backup(int argc, char **argv);
void backup_help(void);
int backup_list_all(int argc, char **argv);
void backup_list_help(void);
