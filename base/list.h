/* list: an intrusive doubly linked ring; the head is a link too. Zeroed links are not in any list. */
#pragma once
#include "base/mem.h"

struct link {
    struct link *next, *prev;
};

static inline void list_init(struct link *head) { head->next = head->prev = head; }
static inline bool list_is_empty(const struct link *head) { return head->next == head; }
static inline bool link_is_in(const struct link *l) { return l->next != NULL; }
static inline void list_push(struct link *head, struct link *l) /* at the tail */
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
static inline void list_push_front(struct link *head, struct link *l)
{
    l->next = head->next;
    l->prev = head;
    head->next->prev = l;
    head->next = l;
}
static inline void list_remove(struct link *l) /* no-op when in none */
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->next = l->prev = NULL;
}
/* All of `from`, which is empty then, behind what `to` has. */
static inline void list_move(struct link *to, struct link *from)
{
    while (!list_is_empty(from)) {
        struct link *l = from->next;

        list_remove(l);
        list_push(to, l);
    }
}
#define list_first(head, type, member) (list_is_empty(head) ? NULL : container_of((head)->next, type, member))
#define list_last(head, type, member) (list_is_empty(head) ? NULL : container_of((head)->prev, type, member))
/* Safe against removing `var`, and against the end of the head with the last of its links. */
#define list_each(head, var, type, member)                                                                      \
    for (struct link *l_##var = (head)->next, *n_##var; l_##var != (head) && (n_##var = l_##var->next) != NULL; \
         l_##var = n_##var)                                                                                     \
        for (type *var = container_of(l_##var, type, member); var; var = NULL)
