// The guard: starts server and target, waits until the thread has blocked, and ends everything in time.
//
// It shares no memory map with the target, opens nothing that could block it, and never waits without a limit.

#define _GNU_SOURCE
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

static void pass_a_millisecond(void) { nanosleep(&(struct timespec){0, 1000000}, NULL); }

// A duplicate of the target's userfaultfd, or -1.
static int userfault_of(const struct shared *shared) {
    if (!shared->userfault) return -1;
    int target = (int)syscall(SYS_pidfd_open, shared->target, 0);
    int found = target < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, target, shared->userfault, 0);
    if (target >= 0) close(target);
    return found;
}

// Ends each wait that may be going on. What is not going on is no error, and each may begin after this has looked.
static void unblock(const struct fixture *fixture) {
    if (fixture->fuse_abort >= 0 && write(fixture->fuse_abort, "1", 1) < 0 && errno != ENOTCONN) {
        fprintf(stderr, "unstoppable: aborting the FUSE connection: %s\n", strerror(errno));
    }
    if (fixture->frozen_root >= 0 && ioctl(fixture->frozen_root, FITHAW, 0) < 0 && errno != EINVAL) {
        fprintf(stderr, "unstoppable: thawing the file system: %s\n", strerror(errno));
    }
    int userfault = userfault_of(fixture->shared);
    if (userfault >= 0) {
        struct uffdio_zeropage zero = {.range = {(uintptr_t)fixture->shared->faulting_page, PAGE}};
        // It fails where the page is there by now, or the target has gone.
        ioctl(userfault, UFFDIO_ZEROPAGE, &zero);
        close(userfault);
    }
}

void release(struct fixture *fixture) {
    // Killed first: a thread that was not yet blocked will not block once it has been unblocked.
    if (fixture->shared->target > 0) kill(fixture->shared->target, SIGKILL);
    if (fixture->shared->server > 0) kill(fixture->shared->server, SIGKILL);
    for (int turn = 0;; turn++) {
        unblock(fixture);
        pid_t collected;
        while ((collected = waitpid(-1, NULL, WNOHANG)) > 0) {
            // A number that may be given to somebody else from now on.
            if (collected == fixture->shared->target) fixture->shared->target = 0;
            if (collected == fixture->shared->server) fixture->shared->server = 0;
        }
        if (collected < 0 && errno == ECHILD) break;
        if (turn % 10000 == 9999) fprintf(stderr, "unstoppable: still blocked after %d s\n", turn / 1000);
        pass_a_millisecond();
    }
    unblock(fixture);
    // The loop device is let go of with the last user of what is mounted from it.
    if (fixture->frozen_root >= 0) close(fixture->frozen_root);
    if (umount2(fixture->directory, MNT_DETACH) < 0) fail("unmounting");
}

// A child that dies with its parent and is deaf to the test's end of the pipes.
static pid_t start_child(const struct fixture *fixture, _Atomic pid_t *recorded) {
    pid_t guard = getpid();
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) {
        *recorded = child;
        return child;
    }
    *recorded = getpid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != guard) _exit(1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0) _exit(1);
    if (fixture->fuse_abort >= 0) close(fixture->fuse_abort);
    if (fixture->frozen_root >= 0) close(fixture->frozen_root);
    return 0;
}

// A word of a file in /proc of one of the target's threads.
static int read_word(const struct shared *shared, pid_t thread, const char *file, const char *format, void *word) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", shared->target, thread, file);
    FILE *stream = fopen(path, "re");
    if (!stream) return 0;
    int found = fscanf(stream, format, word);
    fclose(stream);
    return found == 1;
}

// The names in front of states are the ones the target has given to its threads: without blanks.
static char state_of(const struct shared *shared, pid_t thread) {
    char state;
    return read_word(shared, thread, "stat", "%*d %*s %c", &state) ? state : 'X';
}

// Whether its first thread is ending. A pidfd would tell of its end when the last of its threads has ended, and that is
// the one that cannot; nor does the first one get as far as being a zombie where it waits for the lock of the memory
// map.
static int has_ended(const struct shared *shared) {
    enum { EXITING = 0x4 };
    unsigned flags;
    return !read_word(shared, shared->target, "stat", "%*d %*s %*c %*d %*d %*d %*d %*d %u", &flags) || flags & EXITING;
}

static int has_blocked(const struct shared *shared, const struct mode *mode) {
    pid_t blocked = shared->blocked;
    if (!blocked || shared->parked < SIBLINGS || shared->unanswered < mode->unanswered) return 0;
    long call;
    return read_word(shared, blocked, "syscall", "%ld", &call) && call == mode->system_call
        && strchr(mode->states, state_of(shared, blocked));
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Until something happens that ends the fixture, or the time is over, or the thread has blocked if that is waited for.
static void watch(struct pollfd ends[2], int64_t until_ms, const struct shared *shared, const struct mode *awaited) {
    while (now_ms() < until_ms && !has_ended(shared)) {
        if (awaited && has_blocked(shared, awaited)) return;
        // Often while it is waited for; afterwards only the target's end has to be looked for.
        if (poll(ends, 2, awaited ? 1 : 50) > 0) return;
    }
}

void run_guard(struct fixture *fixture, const struct mode *mode, pid_t keeper, int seconds) {
    struct shared *shared = fixture->shared;
    // What is sent to the test's session or its terminal is not for the guard.
    if (setsid() < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) fail("setsid");
    shared->guard = getpid();
    int64_t until_ms = now_ms() + seconds * 1000LL;
    int keeper_handle = (int)syscall(SYS_pidfd_open, keeper, 0);
    if (keeper_handle < 0 || getppid() != keeper) _exit(1);
    if (fixture->fuse >= 0) {
        if (start_child(fixture, &shared->server) == 0) serve_fuse(fixture);
        close(fixture->fuse);
        fixture->fuse = -1;
    }
    if (start_child(fixture, &shared->target) == 0) run_target(fixture, mode);
    struct pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {keeper_handle, POLLIN, 0}};
    printf("guard %d\ntarget %d\nshared %d\n", shared->guard, shared->target, fixture->shared_file);
    if (shared->server) printf("server %d\nconnection %u\n", shared->server, fixture->connection);
    fflush(stdout);
    watch(ends, until_ms, shared, mode);
    if (has_blocked(shared, mode)) {
        printf("blocked %d\nready\n", shared->blocked);
        fflush(stdout);
        watch(ends, until_ms, shared, NULL);
    } else {
        fprintf(stderr, "unstoppable: %s ended before its thread had blocked\n", mode->name);
    }
    release(fixture);
    exit(0);
}
