/* proc: what a process of this machine has used, from /proc. Zeros when there is no such process. */
#pragma once
#include "base/str.h"

struct proc_use {
    bool is_there;
    uint64_t cpu_us;             /* user and system, to 10 ms */
    uint64_t rss_kb, rss_top_kb; /* now, and the most so far */
};
struct proc_use proc_use(int64_t pid);
uint64_t proc_own_cpu_us(void); /* this process, to 1 us */
