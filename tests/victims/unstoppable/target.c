// The target: a thread that cannot be stopped, eight that wait for a futex, one that counts, and main.
//
// Everything that needs the lock of the memory map (creating threads, above all) is done before the thread blocks;
// after that nothing here asks for memory.

#define _GNU_SOURCE
#include "fixture.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

// Posted by nobody.
static sem_t never;
// What blocked threads would go on to do with their results; so that no call is the last thing a function does.
static volatile long came_back;

struct thread {
    const struct fixture *fixture;
    void (*work)(const struct fixture *);
};

static int open_below(const struct fixture *fixture, const char *name, int flags) {
    char path[PAGE];
    snprintf(path, sizeof path, "%s/%s", fixture->directory, name);
    return open(path, flags | O_CLOEXEC, 0600);
}

NOINLINE static void blocked_in_futex(const struct fixture *fixture) {
    (void)fixture;
    came_back += sem_wait(&never);
}

// The child has the parent's memory until it executes something; it never does, and dies with the thread that made it.
NOINLINE static void blocked_in_vfork(const struct fixture *fixture) {
    (void)fixture;
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    came_back++;
}

// Waits for the server, at first interruptibly; after the attempt to interrupt it, no longer so.
NOINLINE static void blocked_in_fuse_read(const struct fixture *fixture) {
    static char buffer[PAGE];
    int file = open_below(fixture, "fuse/direct", O_RDONLY);
    if (file < 0) fail("fuse/direct");
    came_back += read(file, buffer, sizeof buffer);
}

NOINLINE static void looks_up_first(const struct fixture *fixture) {
    came_back += open_below(fixture, "fuse/lost", O_RDONLY);
}

// Waits for the thread that looks up the same name, which waits for the server.
NOINLINE static void blocked_in_fuse_open(const struct fixture *fixture) {
    came_back += open_below(fixture, "fuse/lost", O_RDONLY);
}

// A file is opened before: opening it would be what blocks.
NOINLINE static void blocked_in_frozen_write(const struct fixture *fixture) {
    int file = open_below(fixture, "image/file", O_WRONLY | O_CREAT);
    if (file < 0 || ioctl(file, FIFREEZE, 0) < 0) fail("FIFREEZE");
    came_back += write(file, "x", 1);
}

// The kernel copies what is in the pipe to a page that is not there, and nobody brings it.
NOINLINE static void blocked_in_userfault(const struct fixture *fixture) {
    int ends[2];
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (page == MAP_FAILED || userfault < 0 || pipe(ends) < 0 || write(ends[1], "x", 1) != 1) fail("userfaultfd");
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)page, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (ioctl(userfault, UFFDIO_API, &api) < 0) fail("UFFDIO_API");
    if (ioctl(userfault, UFFDIO_REGISTER, &range) < 0) fail("UFFDIO_REGISTER");
    fixture->shared->faulting_page = page;
    fixture->shared->userfault = userfault;
    came_back += read(ends[0], page, 1);
}

// The page stays locked for as long as the server does not answer.
NOINLINE static void locks_a_page(const struct fixture *fixture) {
    static char buffer[PAGE];
    int file = open_below(fixture, "fuse/mixed", O_RDONLY);
    if (file < 0) fail("fuse/mixed");
    came_back += read(file, buffer, sizeof buffer);
}

// A file that is read past the page cache has its pages thrown out of it before it is mapped: with the lock of the
// memory map in its hands, this waits for the locked page.
NOINLINE static void blocked_in_mmap(const struct fixture *fixture) {
    int file = open_below(fixture, "fuse/mixed", O_RDONLY);
    if (file < 0) fail("fuse/mixed");
    came_back += (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
}

static void *run(void *argument) {
    const struct thread *thread = argument;
    thread->work(thread->fixture);
    // Unblocked: the fixture is being ended.
    for (;;) pause();
    return NULL;
}

NOINLINE static void wait_like_a_sibling(const struct fixture *fixture) {
    fixture->shared->parked++;
    came_back += sem_wait(&never);
}

NOINLINE static void count_turns(const struct fixture *fixture) {
    for (;; fixture->shared->turns++) {
        for (volatile int i = 0; i < 1000; i++) {}
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
}

static void become_blocked(const struct fixture *fixture);

static void start(const struct fixture *fixture, const char *name, void (*work)(const struct fixture *)) {
    // Never freed: the threads use them to the end.
    struct thread *thread = malloc(sizeof *thread);
    pthread_t handle;
    *thread = (struct thread){fixture, work};
    if (pthread_create(&handle, NULL, run, thread) != 0 || pthread_setname_np(handle, name) != 0) fail(name);
}

static void prepare_userfault(struct fixture *fixture) {
    (void)fixture;
    int userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (userfault < 0) skip("userfaultfd");
    close(userfault);
}

static const struct mode modes[] = {
    {"plain", NULL, NULL, blocked_in_futex, SYS_futex, 0, "S"},
    {"vfork", NULL, NULL, blocked_in_vfork, SYS_vfork, 0, "D"},
    {"fuse-read", mount_fuse, NULL, blocked_in_fuse_read, SYS_read, 1, "SD"},
    {"fuse-open-second", mount_fuse, looks_up_first, blocked_in_fuse_open, SYS_openat, 1, "D"},
    {"frozen", mount_image, NULL, blocked_in_frozen_write, SYS_write, 0, "D"},
    {"userfault", prepare_userfault, NULL, blocked_in_userfault, SYS_read, 0, "SD"},
    {"mmap-lock", mount_fuse, locks_a_page, blocked_in_mmap, SYS_mmap, 1, "D"},
};

const struct mode *mode_named(const char *name) {
    for (size_t number = 0; number < sizeof modes / sizeof *modes; number++) {
        if (strcmp(modes[number].name, name) == 0) return &modes[number];
    }
    return NULL;
}

static const struct mode *own_mode;

static void become_blocked(const struct fixture *fixture) {
    fixture->shared->blocked = gettid();
    own_mode->block(fixture);
}

static void pass_a_millisecond(void) { nanosleep(&(struct timespec){0, 1000000}, NULL); }

void run_target(const struct fixture *fixture, const struct mode *mode) {
    own_mode = mode;
    sem_init(&never, 0, 0);
    start(fixture, "counter", count_turns);
    for (int number = 1; number <= SIBLINGS; number++) {
        char name[16];
        snprintf(name, sizeof name, "sibling-%d", number);
        start(fixture, name, wait_like_a_sibling);
    }
    while (fixture->shared->parked < SIBLINGS || fixture->shared->turns == 0) pass_a_millisecond();
    if (mode->before) start(fixture, "before", mode->before);
    // It has to be in the server's hands, or the other one would be first.
    while (mode->before && fixture->shared->unanswered == 0) pass_a_millisecond();
    start(fixture, "blocked", become_blocked);
    blocked_in_futex(fixture);
    _exit(0);
}
