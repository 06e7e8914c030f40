// A process with one thread that no stop reaches, until somebody unblocks it: `unstoppable MODE DIRECTORY SECONDS`.
//
// Modes: plain (no such thread, to compare with), vfork, fuse-read, fuse-open-second, frozen, userfault, mmap-lock;
// target.c says what each of them does. DIRECTORY is empty, and seen from outside stays so.
//
// Four processes, because some of these threads are beyond SIGKILL and would stay on the machine until it is booted:
//   keeper   what the test starts. It waits for the guard, and does its work should that be killed.
//   guard    in a session of its own. It unblocks, kills and unmounts everything after SECONDS, at the end of standard
//            input (the test has ended, however it did), or when the keeper or the target dies.
//   server   of the FUSE file system, in the modes that have one; it dies with the guard.
//   target   what hangsnap looks at; it dies with the guard.
// All mounts are in a mount namespace of their own. If keeper and guard are killed at the same moment, a file system
// that is frozen stays so; everything else ends with them.
//
// It prints `keeper PID`, `guard PID`, `target PID`, `shared FD` (of the guard: /proc/GUARD/fd/FD is struct shared),
// `server PID` and `connection NUMBER` if there are such, `blocked TID`, and `ready` once the thread is where it cannot
// be stopped; or `skip: WHY`. Exit code 0: nothing is left.

#define _GNU_SOURCE
#include "unstoppable/fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void skip(const char *why, ...) {
    va_list arguments;
    va_start(arguments, why);
    printf("skip: ");
    vprintf(why, arguments);
    printf(" (%s)\n", strerror(errno));
    fflush(stdout);
    exit(0);
}

void fail(const char *what) {
    fprintf(stderr, "unstoppable: %s: %s\n", what, strerror(errno));
    exit(1);
}

// A mount namespace that nothing gets out of, and a tmpfs for whatever else has to be mounted.
static void retire(const char *directory) {
    if (unshare(CLONE_NEWNS) < 0) skip("no mount namespace of its own");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail("private mounts");
    if (mount("none", directory, "tmpfs", 0, NULL) < 0) fail("mounting a tmpfs");
}

int main(int count, char **arguments) {
    const struct mode *mode = count == 4 ? mode_named(arguments[1]) : NULL;
    int seconds = count == 4 ? atoi(arguments[3]) : 0;
    if (!mode || seconds <= 0) {
        fprintf(stderr, "usage: unstoppable MODE DIRECTORY SECONDS\n");
        return 2;
    }
    struct fixture fixture = {.directory = arguments[2], .fuse = -1, .fuse_abort = -1, .frozen_root = -1};
    fixture.shared_file = memfd_create("unstoppable", MFD_CLOEXEC);
    if (fixture.shared_file < 0 || ftruncate(fixture.shared_file, PAGE) < 0) fail("memfd");
    fixture.shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fixture.shared_file, 0);
    if (fixture.shared == MAP_FAILED) fail("mmap");
    // Whoever reads what is printed may have been killed.
    signal(SIGPIPE, SIG_IGN);
    retire(fixture.directory);
    if (mode->prepare) mode->prepare(&fixture);
    // Orphans of the guard come to the keeper, and can be collected.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) fail("PR_SET_CHILD_SUBREAPER");
    pid_t keeper = getpid();
    printf("keeper %d\n", keeper);
    fflush(stdout);
    pid_t guard = fork();
    if (guard < 0) fail("fork");
    if (guard == 0) run_guard(&fixture, mode, keeper, seconds);
    if (fixture.fuse >= 0) close(fixture.fuse);
    int status;
    while (waitpid(guard, &status, 0) < 0) {
        if (errno != EINTR) fail("waitpid");
    }
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    release(&fixture);
    return 0;
}
