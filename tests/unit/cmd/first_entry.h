/* What a pair begins with: 1 writes to `other`. */
#pragma once
#include "proto/record.h"

static inline struct entry first_entry(struct conv_id c, user_id other, struct str content)
{
    return (struct entry){.conv = c,
                          .seq = 1,
                          .kind = ENTRY_MESSAGE,
                          .conv_kind = CONV_PAIR,
                          .from = 1,
                          .device = 1,
                          .ts = 1,
                          .ordinal = 1,
                          .cid = STR("c"),
                          .peer = other,
                          .content = content};
}
