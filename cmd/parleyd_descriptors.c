#include "cmd/parleyd_descriptors.h"
#include "storage/lsm.h"
#include <sys/resource.h>

enum {
    MOST = 1 << 18, /* libwebsockets has a table of so many for each reactor */
    FOR_PROCESS = 64,
    FOR_STORE = LSM_TABLES_MAX + 8, /* and those that are being made or still read */
    FOR_THREAD = 16,                /* a log, its segments, an event loop */
    CONNECTIONS_MIN = 64,
};

uint32_t descriptors_raise(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return 0;
    if (l.rlim_cur < l.rlim_max && l.rlim_cur < MOST) {
        rlim_t before = l.rlim_cur;

        l.rlim_cur = l.rlim_max < MOST ? l.rlim_max : MOST;
        if (setrlimit(RLIMIT_NOFILE, &l) != 0)
            l.rlim_cur = before;
    }
    return l.rlim_cur < MOST ? (uint32_t)l.rlim_cur : MOST;
}

enum err descriptors_share(uint32_t all, unsigned stores, unsigned threads, uint32_t *connections, uint32_t *wanted)
{
    uint32_t files = FOR_PROCESS + FOR_STORE * stores + FOR_THREAD * threads;

    *wanted = files + CONNECTIONS_MIN;
    if (all < *wanted)
        return ERR_LIMIT;
    *connections = all - files;
    return ERR_OK;
}

enum err descriptors_take(uint32_t *connections)
{
    if (*connections < CONNECTIONS_MIN + FOR_STORE)
        return ERR_LIMIT;
    *connections -= FOR_STORE;
    return ERR_OK;
}

void descriptors_give(uint32_t *connections) { *connections += FOR_STORE; }
