/* login: every user connects and authenticates, a bounded number at a time: a listen queue is bounded too, and a
 * connection refused because of the generator's haste says nothing about the server. */
#include "cmd/parley_load_run.h"
#include <errno.h>
#include <sys/resource.h>

enum { FILES_BESIDE = 16 }; /* standard streams, epoll, /proc */

static bool all_are_in(const struct run *r) { return r->n_in == r->n; }

static void connect_more(struct run *r)
{
    while (r->n_connecting < r->n && r->n_connecting - r->n_in < (size_t)r->o->connecting) {
        if (net_connect(&r->net, &r->peers[r->n_connecting].conn) != ERR_OK) {
            run_fault(r, &r->faults.lost, "connection %zu of %zu: %s", r->n_connecting + 1, r->n, strerror(errno));
            r->is_broken = true;
            return;
        }
        r->n_connecting++;
    }
}

/* One file a connection. */
static enum err allow_files(struct run *r)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return ERR_OK;
    if (r->n + FILES_BESIDE > l.rlim_max) {
        run_fault(r, NULL, "%zu connections need more open files than this process may have (%llu)", r->n,
                  (unsigned long long)l.rlim_max);
        return ERR_INVALID;
    }
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l); /* raising up to the maximum is always allowed */
    return ERR_OK;
}

enum err login_all(struct run *r)
{
    enum err err = allow_files(r);

    if (err != ERR_OK)
        return err;
    connect_more(r);
    if (run_wait(r, all_are_in, connect_more))
        return ERR_OK;
    run_fault(r, NULL, "only %zu of %zu users are logged in, and nothing moves any more", r->n_in, r->n);
    return ERR_INVALID;
}
