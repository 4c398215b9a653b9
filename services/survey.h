/* survey: all conversations of a user, asked of their owners: what sync and conversation.list begin with.
 *
 *   survey_start     the tables say which they are (waiting for whatever was committed)      → listed
 *   survey_look      each owner says of each what is new, and when it was last active        → looked
 *   survey_print     of the first rows, in their order, the owners print as much as has room → printed
 *   survey_ok        ends the request, whose `out` the op has written around that
 *
 * A failure on the way ends the request. A reactor runs SURVEYS_MAX at a time, the others wait for their turn: so
 * memory is bounded however many somebody asks for at once. Of one user it runs SURVEYS_OF_USER, and users take turns:
 * so who has many conversations and asks often delays nobody else. Thread: the reactor's. Memory: a survey is part of a
 * struct in its request's arena. */
#pragma once
#include "services/inner.h"
#include "services/reactor.h"

enum { SURVEYS_MAX = 64, SURVEYS_OF_USER = 2 };

struct survey;
typedef void survey_fn(struct reactor *r, struct survey *s);
struct survey {
    /* the op's */
    struct request *q;
    enum conv_batch_kind kind; /* how to look: CONV_LOOK_NEW or CONV_LOOK_ALL */
    survey_fn *listed, *looked, *printed;
    /* the rows, in any order that the op gives them between two calls; `listed` gets them by conversation */
    struct inner_conv_row *v;
    size_t n;
    /* of printing: how much has room, what is left of it, and how many rows are through */
    size_t entries, bytes;
    bool is_first, is_full;
    size_t done;
    /* the survey's own */
    struct link link;
    struct surveyor *by;
    survey_fn *then;
    size_t end;
    unsigned asking;
    bool is_printing, is_pumping;
    enum code code;
    const char *why;
    int64_t retry_after_ms;
};

void surveys_create(struct surveys **out);
void surveys_destroy(struct surveys *all);

void survey_start(struct reactor *r, struct survey *s);
void survey_look(struct reactor *r, struct survey *s);
/* The first n rows, as `kind` has it: CONV_SYNC or CONV_LIST, appended to the request's `out` behind a '['. */
void survey_print(struct reactor *r, struct survey *s, enum conv_batch_kind kind, size_t n);
void survey_ok(struct reactor *r, struct survey *s);

/* Orders of rows: by (activity, conv), negative activities for the latest first; and the open ones before the others, 0
 * where both are alike. */
int survey_compare(int64_t activity, const struct conv_id *c, int64_t other_activity, const struct conv_id *other);
int survey_open_first(const struct inner_conv_row *a, const struct inner_conv_row *b);
