#include "tests/lib/faults.h"

void faults_init(struct faults *f)
{
    *f = (struct faults){0};
    pthread_mutex_init(&f->lock, NULL);
}

void faults_deinit(struct faults *f) { pthread_mutex_destroy(&f->lock); }

static enum err decide(struct faults *f, enum fault_op op)
{
    f->calls[__builtin_ctz((unsigned)op)]++;
    if (!(f->ops & (unsigned)op))
        return ERR_OK;
    if (f->left) {
        f->left--;
        return ERR_OK;
    }
    if (!f->times)
        return ERR_OK;
    f->times--;
    f->has_failed = true;
    return f->err;
}

enum err faults_enter(struct faults *f, enum fault_op op, const char *path)
{
    pthread_mutex_lock(&f->lock);
    fault_hook_fn *hook = f->hook_ops & (unsigned)op ? f->hook : NULL;
    void *arg = f->hook_arg;
    enum err err = decide(f, op);
    pthread_mutex_unlock(&f->lock);
    if (hook)
        hook(arg, op, path);
    return err;
}

void faults_fail(struct faults *f, unsigned ops, uint64_t n, uint64_t times, enum err err)
{
    pthread_mutex_lock(&f->lock);
    f->ops = ops;
    f->left = n - 1;
    f->times = times;
    f->err = err;
    f->has_failed = false;
    pthread_mutex_unlock(&f->lock);
}

void faults_heal(struct faults *f)
{
    pthread_mutex_lock(&f->lock);
    f->ops = 0;
    pthread_mutex_unlock(&f->lock);
}

bool faults_has_failed(struct faults *f)
{
    pthread_mutex_lock(&f->lock);
    bool has = f->has_failed;
    pthread_mutex_unlock(&f->lock);
    return has;
}

uint64_t faults_calls(struct faults *f, unsigned ops)
{
    uint64_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (unsigned left = ops & FAULT_ALL; left; left &= left - 1)
        n += f->calls[__builtin_ctz(left)];
    pthread_mutex_unlock(&f->lock);
    return n;
}

void faults_hook(struct faults *f, unsigned ops, fault_hook_fn *fn, void *arg)
{
    pthread_mutex_lock(&f->lock);
    f->hook_ops = ops;
    f->hook = fn;
    f->hook_arg = arg;
    pthread_mutex_unlock(&f->lock);
}
