#include "proto/code.h"

#define CODE_TEXT(id, text, status) [CODE_##id] = text,
static const char *const texts[] = {CODES(CODE_TEXT)};
#define CODE_STATUS(id, text, status) [CODE_##id] = status,
static const int statuses[] = {CODES(CODE_STATUS)};

const char *code_text(enum code c) { return texts[c]; }
int code_status(enum code c) { return statuses[c]; }
