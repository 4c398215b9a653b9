/* spare: memory for what is small, lives for a moment and is often freed on another thread than it was made on (events,
 * answers): each thread keeps blocks that were freed on it and hands them out again.
 *
 * Blocks are multiples of 128 bytes; what is larger than SPARE_MAX is malloc's. A block has no header: who frees it
 * says how much was asked for. A thread keeps SPARES_MAX bytes at most, what two thousand connections with a few
 * answers and events each are sent in one turn; beyond that malloc gets a block of the size that there is most of.
 * Where less is freed on a thread than is asked of it, malloc gives the rest. What a thread keeps is freed when it
 * ends. Under AddressSanitizer each block is malloc's own, so that a use after its end is seen. Thread: any; a block
 * may be freed on another one than it was asked for on. */
#pragma once
#include "base/mem.h"

enum { SPARE_MAX = 1024, SPARES_MAX = 2 << 20 };

void *spare_alloc(size_t bytes);        /* aborts when there is none; not zeroed, aligned to 16 */
void spare_free(void *p, size_t bytes); /* bytes: what spare_alloc was given. NULL is fine */
size_t spare_room(size_t bytes);        /* how much of it may be had in the block that comes for `bytes` */
size_t spare_kept(void);                /* bytes that the calling thread keeps */
