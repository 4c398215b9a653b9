/* lookup_state: what the handlers of the lookup share. */
#pragma once
#include "base/loop.h"
#include "schema/db.h"
#include "services/lookup.h"

struct lookup {
    struct lookup_conf conf;
    struct world *world;
    struct db *db;
    struct loop *loop;
    struct port *port;
};
void lookup_answer(struct lookup *l, struct request *r); /* it is ok */
void lookup_fail(struct lookup *l, struct request *r, enum code code, const char *why);
void lookup_broken(struct lookup *l, struct request *r, enum err err); /* the tables cannot be read */
