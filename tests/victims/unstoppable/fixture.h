// What the processes of a fixture know of each other. unstoppable.c says which processes there are.

#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum { SIBLINGS = 8, PAGE = 4096 };

// In a memfd that keeper, guard, server and target share, and the test reads; its first word counts the turns of the
// target's running thread.
struct shared {
    _Atomic uint64_t turns;
    _Atomic pid_t guard, server, target;
    // The thread that blocks; 0 until it is about to.
    _Atomic pid_t blocked;
    // Siblings that are about to wait.
    _Atomic int parked;
    // Requests that the FUSE server has received and will never answer.
    _Atomic int unanswered;
    // The target's userfaultfd, as a number in its own table and as an address; 0 and NULL until there is one.
    _Atomic int userfault;
    void *_Atomic faulting_page;
};

// What was made before the processes part ways; a copy is in each of them. Descriptors are -1 where a mode needs none.
struct fixture {
    struct shared *shared;
    const char *directory;
    int shared_file;
    // Of the FUSE server only: its end aborts the connection.
    int fuse;
    // Aborts the FUSE connection of this number.
    int fuse_abort;
    unsigned connection;
    // The root of a mounted file system, to thaw it by.
    int frozen_root;
};

struct mode {
    const char *name;
    // Makes what the mode needs, before there is any other process. Exits by skip() where that cannot be had.
    void (*prepare)(struct fixture *);
    // In the target: a thread that must be in the kernel first, or NULL, and the one that cannot be stopped from then
    // on.
    void (*before)(const struct fixture *);
    void (*block)(const struct fixture *);
    // How it is known to have blocked: the system call it is in, and how many requests the server leaves unanswered.
    long system_call;
    int unanswered;
    // The states it may show: D, or S where the kernel waits interruptibly and cannot be interrupted all the same.
    const char *states;
};

// Ends a fixture that cannot be had on this machine, and tells the test why.
__attribute__((noreturn, format(printf, 1, 2))) void skip(const char *why, ...);
// Ends a process of the fixture for a reason that is a defect.
__attribute__((noreturn)) void fail(const char *what);

// target.c
const struct mode *mode_named(const char *name);
__attribute__((noreturn)) void run_target(const struct fixture *, const struct mode *);

// fuse_mount.c
void mount_fuse(struct fixture *);
// fuse_server.c
__attribute__((noreturn)) void serve_fuse(const struct fixture *);

// loop_image.c
void mount_image(struct fixture *);

// guard.c
__attribute__((noreturn)) void run_guard(struct fixture *, const struct mode *, pid_t keeper, int seconds);
// Unblocks, kills, collects and unmounts everything that this process has become the parent of.
void release(struct fixture *);

#endif
