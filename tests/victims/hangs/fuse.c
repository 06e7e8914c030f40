// A file system whose server, the first process, has seen the request and never answers it. The
// child asks.
//
//   fuse DIRECTORY
#include "truth.h"
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    char options[128], path[256];
    static char request[1 << 17];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (device < 0 || mount("hangs", argument[1], "fuse.hangs", MS_NOSUID | MS_NODEV, options)) {
        say("skipped no FUSE file system can be mounted here: %s\nready\n", strerror(errno));
        return 0;
    }
    const struct fuse_in_header *asked = (void *)request;
    must(read(device, request, sizeof request) > 0 && asked->opcode == FUSE_INIT, "FUSE_INIT");
    struct { struct fuse_out_header head; struct fuse_init_out body; } answer = {
        {sizeof answer, 0, asked->unique}, {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 65536}};
    must(write(device, &answer, sizeof answer) == sizeof answer, "the answer");

    pid_t child = forked();
    if (!child) {
        struct stat its;
        close(device);
        snprintf(path, sizeof path, "%s/never", argument[1]);
        _exit(stat(path, &its) ? 1 : 0);
    }
    do must(read(device, request, sizeof request) > 0, "a request");
    while (asked->opcode != FUSE_LOOKUP);
    until_in(child, SYS_newfstatat);
    say("target %d\nkind fuse\naccused %d\nholder %d\nresource file %s\n", child, child, getpid(), argument[1]);
    until_the_end();
    umount2(argument[1], MNT_FORCE | MNT_DETACH);
    close(device);
    waitpid(child, NULL, 0);
}
