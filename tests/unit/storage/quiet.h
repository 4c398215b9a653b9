/* quiet: a test that provokes errors keeps their lines out of the report. */
#pragma once
#include <fcntl.h>
#include <unistd.h>

/* Sends stderr to nowhere; loud() brings it back. */
static inline int quiet(void)
{
    int kept = dup(2), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, 2);
    close(nowhere);
    return kept;
}

static inline void loud(int kept)
{
    dup2(kept, 2);
    close(kept);
}
