/* simnode: a file or folder of a simulated disk: what programs see, what is on the disk, and the changes between the
 * two, which a power cut decides about. Used by simdisk alone; its essay stands in simnode.c.
 *
 * Thread: one at a time. Memory: nodes belong to the disk; namings borrow them. */
#pragma once
#include "base/mem.h"
#include "tests/lib/simrand.h"

enum { SECTOR = 512 };

struct image {
    uint8_t *p;
    size_t len, cap;
};

/* A write to a file, or a new size, that is not synced. */
struct change {
    uint64_t tick; /* when */
    uint64_t off, len;
    uint8_t *bytes; /* NULL: zeros */
    uint64_t size;  /* of the file behind it */
};

/* What happens to names of a folder at once: one name gets a node or loses it; by a rename, two. */
struct naming {
    uint64_t tick;
    size_t n;
    struct named {
        char *name;
        struct simnode *node; /* NULL: none */
    } names[2];
};

struct names {
    struct named *v;
    size_t n;
};

struct simnode {
    bool is_folder, is_locked, is_marked;
    unsigned links, handles; /* names that programs see; open files */
    struct image cache, disk;
    struct change *changes;
    size_t n_changes, cap_changes;
    struct names cached_names, disk_names;
    struct naming *namings;
    size_t n_namings, cap_namings;
};

/* Which of the changes since the last sync are on the disk when the power goes. */
struct cut {
    enum cut_kind { CUT_NOTHING, CUT_ALL, CUT_UNTIL, CUT_ANY } kind;
    uint64_t until;   /* CUT_UNTIL: all before this tick, none behind it */
    unsigned percent; /* CUT_ANY: each with this chance */
    struct simrand *rand;
};

void simnode_free(struct simnode *n);
void simnode_write(struct simnode *n, uint64_t tick, const void *p, uint64_t len, uint64_t off); /* p NULL: zeros */
void simnode_resize(struct simnode *n, uint64_t tick, uint64_t size);
/* The node of that name, NULL when there is none. */
struct simnode *simnode_find(const struct simnode *folder, struct str name);
/* Gives a name to a node (NULL: takes it away), and another one at once if name2 is not empty. */
void simnode_name(struct simnode *folder, uint64_t tick, struct str name, struct simnode *node, struct str name2,
                  struct simnode *node2);
void simnode_sync(struct simnode *n);
/* A sync that failed, as on Linux: some of it is on the disk, the rest never will be, though programs still see it; the
 * next sync has nothing to do. A folder's changes stay: a journal that failed answers no later sync with OK either. */
void simnode_sync_failed(struct simnode *n, const struct cut *c);
/* The power goes: programs see what is on the disk. */
void simnode_cut(struct simnode *n, const struct cut *c);
