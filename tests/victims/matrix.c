// The side-effect matrix: for each blocking call a thread that waits in it, in a function row_NAME of its own, and
// counts what it notices of being looked at: EINTR, short counts, wrong results, changed bytes, timeouts not on time.
//
//   matrix DIR        (an empty directory)
//
// Prints `ready` once every thread has been seen blocked in its call, and at the first byte (or the end) of standard
// input a line for each row and `done`:
//
//   row NAME tid N kind KIND calls N eintr N short N wrong N changed N late_us N
//   absent NAME why
//
// A row of kind `infinite` blocks once, and is released at the end by what it waits for. Until then its stack, with all
// that it gave to the kernel, must keep every byte. A row of kind `finite` waits 100 ms again and again, and compares
// what it gave to the kernel after each timeout. An EINTR is counted and the call made again; a count that is short is
// counted and the rest transferred. How late is too late is for the test to say.
//
// Not here: calls that nothing can interrupt (vfork, a file system that does not answer), as no stop comes to them.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define TIMEOUT (100 * MS)
// Longer than any run, in seconds.
#define AGES 100000
#define STACK (64 * 1024)
#define PAGE 4096
#define LARGE (1024 * 1024)

// By how much a timeout may come before its time: not at all; by what two clocks may drift apart in 100 ms; by the tick
// that a socket's timeouts are counted in.
enum { EXACT = 0, CLOCKS = MS / 2, TICKS = 10 * MS };

struct row {
    const char *name;
    // The system call in which it is blocked, by number.
    long number;
    void (*run)(struct row *);
    // Makes what an infinite row waits for happen; NULL for a finite one. Runs on the main thread.
    void (*release)(struct row *);
    // What the main thread must have done before the row's thread begins, if anything.
    void (*prepare)(struct row *);
    const char *absent;
    int in, out, other;
    void *object;
    _Atomic uint32_t word;
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int entered, done;
    _Atomic long calls, eintr, shorter, wrong, changed;
    _Atomic int64_t late;
    char *stack, *before;
    long calls_before;
};

static _Atomic int ending;
static const char *directory;
static unsigned char large[LARGE];
static const char eight[8] = "released";
static __thread struct row *self;

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000 * MS + time.tv_nsec;
}

static struct timespec spec(int64_t ns) { return (struct timespec){ns / (1000 * MS), ns % (1000 * MS)}; }

static void wrong(struct row *r, const char *what, long long found, long long wanted) {
    if (r->wrong++ >= 5) return;
    fprintf(stderr, "%s: %s %lld instead of %lld (errno %d)\n", r->name, what, found, wanted, errno);
}

static void expect(struct row *r, const char *what, long long found, long long wanted) {
    if (found != wanted) wrong(r, what, found, wanted);
}

// What must not fail for a row to be what it claims to be.
static long must(struct row *r, const char *what, long result) {
    if (result >= 0) return result;
    fprintf(stderr, "%s: %s: %s\n", r->name, what, strerror(errno));
    exit(1);
}
#define MUST(r, call) must(r, #call, (call))

// pthread functions return what others put into errno.
static int to_errno(int result) {
    errno = result;
    return result ? -1 : 0;
}

static void unchanged(struct row *r, const void *found, const void *wanted, size_t size) {
    for (size_t i = 0; i < size; i++) r->changed += ((const char *)found)[i] != ((const char *)wanted)[i];
}

static int64_t begin(struct row *r) {
    r->calls++;
    r->entered = 1;
    return now(CLOCK_MONOTONIC);
}

// A finite call has returned: with this errno, or with 0 where none is wanted, and on time.
static void timed_out(struct row *r, int64_t begun, int64_t early, long result, int wanted) {
    int64_t late = now(CLOCK_MONOTONIC) - begun - TIMEOUT;
    if (result == -1 && errno == EINTR) {
        r->eintr++;
        return;
    }
    if (wanted ? result != -1 || errno != wanted : result != 0) wrong(r, "timed out with", result, wanted ? -1 : 0);
    else if (late < -early) wrong(r, "waited ns", late + TIMEOUT, TIMEOUT);
    if (late > r->late) r->late = late;
}

// An infinite call, made again when it was interrupted.
#define BLOCK(r, call) \
    ({ \
        long result_; \
        do { \
            begin(r); \
            result_ = (call); \
        } while (result_ == -1 && errno == EINTR && ++(r)->eintr); \
        result_; \
    })

// A call that transfers bytes; `done` of them are through already.
#define TRANSFER(r, size, call) \
    for (long done = 0; done < (long)(size);) { \
        long part_ = BLOCK(r, call); \
        if (part_ <= 0) { \
            wrong(r, "transferred", part_, (long)(size) - done); \
            break; \
        } \
        done += part_; \
        if (done < (long)(size)) (r)->shorter++; \
    }

// A row's function: on its thread's stack under its own name, whatever the compiler does.
#define ROW(name) static __attribute__((noipa)) void row_##name(struct row *r)

static void give_eight(struct row *r) { expect(r, "released by", write(r->out, eight, 8), 8); }
static void check_eight(struct row *r, const char *bytes) { unchanged(r, bytes, eight, 8); }

// Everything that a large transfer puts through, and that it is what was sent.
static void drain_large(struct row *r) {
    static unsigned char drained[LARGE];
    for (long done = 0; done < LARGE;) {
        long part = read(r->out, drained + done, LARGE - done);
        if (part <= 0) {
            wrong(r, "drained", part, LARGE - done);
            return;
        }
        done += part;
    }
    unchanged(r, drained, large, LARGE);
}

// One program in several files, none of them too long to read.
#include "matrix_ready.h"
#include "matrix_sockets.h"
#include "matrix_streams.h"
#include "matrix_locks.h"
#include "matrix_queues.h"
#include "matrix_events.h"
#include "matrix_main.h"
