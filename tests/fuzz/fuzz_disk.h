/* fuzz_disk: files of an input's bytes, on a simulated disk. */
#pragma once
#include "tests/lib/simdisk.h"
#include "tests/lib/simenv.h"
#include <stdlib.h>

static inline void fuzz_put(struct simdisk *d, const char *dir, const char *path, struct str bytes)
{
    struct fs *fs = simdisk_fs(d);
    struct file *f;

    if (fs_mkdirs(fs, dir) != ERR_OK || fs_open(fs, path, FS_CREATE, &f) != ERR_OK ||
        file_write(f, bytes.p, bytes.len, 0) != ERR_OK || file_sync(f) != ERR_OK || fs_sync_dir(fs, dir) != ERR_OK)
        abort();
    file_close(f);
}
