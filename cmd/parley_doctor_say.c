#include "cmd/parley_doctor_say.h"
#include "cmd/parley_tool.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void say_finding(struct diagnosis *d, const char *fmt, ...)
{
    va_list ap;

    d->findings++;
    fputs("needs you: ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void say_behind(const char *name, uint64_t bytes, uint64_t ms)
{
    char text[16];

    tool_bytes(bytes, text);
    if (bytes == 0)
        printf("  %s: durably has all of it\n", name);
    else if (ms >= 1000)
        printf("  %s: lacks %s, the oldest of it %" PRIu64 " s old\n", name, text, ms / 1000);
    else
        printf("  %s: lacks %s\n", name, text);
}

void say_letters(struct diagnosis *d, uint64_t n, uint64_t bytes)
{
    char text[16];

    tool_bytes(bytes, text);
    if (n == 0)
        printf("no dead letters wait\n");
    else
        say_finding(d,
                    "%" PRIu64 " dead letter%s (%s): records that the tables could not take; "
                    "`parley dead list --data %s` says why, then replay or drop them",
                    n, n == 1 ? "" : "s", text, d->data);
}

void say_rebuild(uint64_t tables, uint64_t owed, bool is_running)
{
    if (tables)
        printf("the tables held a log for too long and are made anew from the conversations: %" PRIu64
               " shards are left%s\n",
               tables, is_running ? "; until then lists are `unavailable`" : ", which the next start goes on with");
    if (owed)
        printf("what is owed to offline members is made anew from the conversations: %" PRIu64 " shards are left\n",
               owed);
}

int say_end(const struct diagnosis *d)
{
    if (d->findings == 0)
        printf("all is well\n");
    else
        printf("%u thing%s for you to do\n", d->findings, d->findings == 1 ? "" : "s");
    return d->findings ? 1 : 0;
}
