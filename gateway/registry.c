#include "gateway/registry.h"
#include "base/hash.h"
#include <assert.h>

struct local_user {
    user_id user;
    struct link links;
};

static bool is_user(const void *value, const void *key)
{
    return ((const struct local_user *)value)->user == *(const user_id *)key;
}

static struct local_user *find(const struct registry *r, user_id user)
{
    return map_get(&r->users, hash_u64(user), is_user, &user);
}

void registry_deinit(struct registry *r)
{
    assert(r->users.count == 0);
    map_deinit(&r->users);
}

bool registry_add(struct registry *r, user_id user, struct link *l)
{
    struct local_user *u = find(r, user);
    bool first = !u;

    if (first) {
        u = mem_new(struct local_user);
        u->user = user;
        list_init(&u->links);
        map_add(&r->users, hash_u64(user), u);
    }
    list_push(&u->links, l);
    return first;
}

bool registry_remove(struct registry *r, user_id user, struct link *l)
{
    struct local_user *u = find(r, user);

    assert(u);
    list_remove(l);
    if (!list_is_empty(&u->links))
        return false;
    map_take(&r->users, hash_u64(user), is_user, &user);
    mem_free(u);
    return true;
}

struct link *registry_get(const struct registry *r, user_id user)
{
    struct local_user *u = find(r, user);

    return u ? &u->links : NULL;
}
