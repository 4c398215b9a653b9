/* script: what senders write, such that a receiver can tell from an entry alone who sent it, as which of theirs, when,
 * and whether a byte of it is wrong.
 *
 *   cid      RUN.SENDER.COUNTER        RUN is different in every run, for a cid is remembered for ever; SENDER counts
 *                                      over all processes of a run
 *   content  {"type":"text","text":"START……"}    START: 16 hex digits of microseconds; filled up to the wanted size
 * from a pad, beginning at a place that depends on sender and counter
 *
 * Memory: the writers write at most SCRIPT_CID_MAX and script_content_max bytes. Thread: read only once made. */
#pragma once
#include "base/mem.h"

enum { SCRIPT_CID_MAX = 30, SCRIPT_RUN = 8, SCRIPT_START = 16 };
struct script {
    char run[SCRIPT_RUN + 1]; /* and the first dot */
    size_t fill;              /* bytes of text behind START */
    char *pad;
};

void script_init(struct script *s, uint32_t run, uint64_t seed, size_t text_bytes);
void script_deinit(struct script *s);
size_t script_content_max(const struct script *s);

size_t script_cid(const struct script *s, char *out, uint32_t sender, uint32_t counter);
/* False: not a cid of this run. */
bool script_cid_read(const struct script *s, struct str cid, uint32_t *sender, uint32_t *counter);
size_t script_content(const struct script *s, char *out, uint32_t sender, uint32_t counter, uint64_t start_us);
/* False: not byte for byte what script_content writes for some start. */
bool script_content_read(const struct script *s, struct str content, uint32_t sender, uint32_t counter,
                         uint64_t *start_us);
