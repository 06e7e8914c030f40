// Mounts a FUSE file system at DIRECTORY/fuse, and opens the file that aborts its connection.

#define _GNU_SOURCE
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

void mount_fuse(struct fixture *fixture) {
    fixture->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fixture->fuse < 0) skip("/dev/fuse");
    char path[PAGE], options[128];
    snprintf(path, sizeof path, "%s/fuse", fixture->directory);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fixture->fuse);
    if (mkdir(path, 0700) < 0) fail("mkdir");
    if (mount("unstoppable", path, "fuse", MS_NOSUID | MS_NODEV, options) < 0) skip("mounting FUSE");
    // The connection's number is that of its device. The server does not answer yet, so it must not be asked.
    struct statx seen;
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, &seen) < 0) fail("statx");
    // The namespace is new: whether the control files are mounted elsewhere does not matter.
    const char *control = "/sys/fs/fuse/connections";
    if (mount("unstoppable", control, "fusectl", 0, NULL) < 0 && errno != EBUSY) fail("mounting fusectl");
    fixture->connection = seen.stx_dev_minor;
    snprintf(path, sizeof path, "%s/%u/abort", control, fixture->connection);
    fixture->fuse_abort = open(path, O_WRONLY | O_CLOEXEC);
    if (fixture->fuse_abort < 0) fail(path);
}
