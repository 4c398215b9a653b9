/* The SQL files go into the program as they are, by the assembler's .incbin, which looks where the compiler's -I says.
 */
#include "schema/migrations.h"

#define SQL_FILE(name, path)                                                                   \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" path "\"\n.byte 0\n.popsection\n"); \
    extern const char name[]

SQL_FILE(sql_001, "schema/001_tables.sql");
SQL_FILE(sql_002, "schema/002_letters.sql");
SQL_FILE(sql_003, "schema/003_rebuild.sql");

const char *const migrations[] = {sql_001, sql_002, sql_003};
const int migrations_count = sizeof migrations / sizeof migrations[0];
