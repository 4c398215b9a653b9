/* simdisk: a disk in memory, behind the fs interface, whose faults follow from a seed.
 *
 * Each file and folder is known twice: as programs see it, and as it would be found after a power cut. A sync makes the
 * second like the first. What a cut leaves of the rest is the seed's choice: nothing, all, all up to a moment, or any
 * subset of sectors and names, some torn at a byte (simnode.c). A process that is only killed leaves what it wrote, as
 * the page cache does, for the next one to read; a later cut can still take that away.
 *
 *     simdisk_die_at(d, FAULT_ALL, 17, DEATH_CUT);   the 17th call from now is the process's last
 *     … the code under test; from then on all its calls fail, and it is torn down …
 *     simdisk_boot(d);                               another process finds what is left
 *
 * Calls that fail on order (simdisk_faults): a failed write or fill may have written some of its bytes, a failed sync
 * loses those that it was for, others do nothing.
 *
 * Thread: any; a lock around each call. With one thread, what happens follows from the seed and the calls. */
#pragma once
#include "tests/lib/faults.h"

struct simdisk;

void simdisk_create(uint64_t seed, struct simdisk **out);
void simdisk_destroy(struct simdisk *d);
struct fs *simdisk_fs(struct simdisk *d);
struct faults *simdisk_faults(struct simdisk *d);

enum death {
    DEATH_KILL, /* of the process: the page cache stays */
    DEATH_CUT,  /* of the power */
};
/* From now on all calls fail with IO and do nothing; files can be closed. */
void simdisk_die(struct simdisk *d, enum death how);
/* The n-th call of `ops` from now (from 1) is done in part or not at all, and then it dies. 0: it does not. */
void simdisk_die_at(struct simdisk *d, unsigned ops, uint64_t n, enum death how);
bool simdisk_is_down(struct simdisk *d);
/* For the next process. All files must have been closed. Also takes back what was ordered. */
void simdisk_boot(struct simdisk *d);

/* No more than so many bytes in all files: then FULL. UINT64_MAX: no bound. */
void simdisk_set_capacity(struct simdisk *d, uint64_t bytes);
/* The n-th read from now (from 1) and the `times` - 1 behind it get a wrong bit, if they get any. */
void simdisk_flip(struct simdisk *d, uint64_t n, uint64_t times);
uint64_t simdisk_flipped(struct simdisk *d); /* how many did */
/* A number for all that is there, as programs see it: to know that two runs were the same. */
uint64_t simdisk_sum(struct simdisk *d);
