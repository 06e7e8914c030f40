/*
 * Threads parked below every kind of frame whose address a stack walker finds by a register, for walks without
 * registers.
 *
 * `frames` starts a thread for each pair of a frame and a wait; each is named FRAME-WAIT. Below it `descend` calls
 * itself a few times, then comes the frame, and then the wait. `ready` is printed once each has announced itself and
 * sleeps in the kernel.
 *
 * Whatever the frame, its function first calls `scribble`, so that the stack below it is full of return addresses and
 * frame pointers of calls that are over, the likes of which the real ones have to be told from.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <dirent.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PLAIN __attribute__((noipa, used))
/* Something to do after a call, so that it does not become a jump. */
#define AFTER_CALL() atomic_fetch_add(&after_call, 1)

static atomic_int arrived, after_call, futex_word;
static int pipe_ends[2], epoll_descriptor;

PLAIN static void wait_in_read(void) {
    char byte;
    atomic_fetch_add(&arrived, 1);
    while (read(pipe_ends[0], &byte, 1) < 0)
        ;
}

PLAIN static void wait_in_epoll(void) {
    struct epoll_event event;
    atomic_fetch_add(&arrived, 1);
    while (epoll_wait(epoll_descriptor, &event, 1, -1) < 0)
        ;
}

PLAIN static void wait_in_futex(void) {
    atomic_fetch_add(&arrived, 1);
    for (;;)
        syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

PLAIN static void wait_in_sleep(void) {
    struct timespec left = {.tv_sec = 1000000};
    atomic_fetch_add(&arrived, 1);
    while (nanosleep(&left, &left) != 0)
        ;
}

PLAIN static void wait_in_poll(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    atomic_fetch_add(&arrived, 1);
    while (poll(&entry, 1, -1) < 0)
        ;
}

/* In the frame of the program itself, not of the C library. */
PLAIN static void wait_in_raw(void) {
    atomic_fetch_add(&arrived, 1);
    for (;;) {
        long result = SYS_futex;
        register long timeout __asm__("r10") = 0;
        __asm__ volatile("syscall"
                         : "+a"(result)
                         : "D"(&futex_word), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(timeout)
                         : "rcx", "r11", "memory");
    }
}

typedef void wait_function(void);
typedef void frame_function(wait_function *wait, int number);

PLAIN static int scribble(int depth) {
    volatile char here[48];
    here[depth % 48] = 1;
    if (depth > 0)
        scribble(depth - 1);
    return AFTER_CALL() + here[0];
}

PLAIN static void plain(wait_function *wait, int number) {
    (void)number;
    scribble(12);
    wait();
    AFTER_CALL();
}

PLAIN static void with_alloca(wait_function *wait, int number) {
    scribble(12);
    volatile char *bytes = alloca(64 + number % 7 * 32);
    bytes[0] = 1;
    wait();
    AFTER_CALL();
}

PLAIN static void with_array(wait_function *wait, int number) {
    volatile int words[number % 50 + 1];
    words[0] = 1;
    scribble(12);
    wait();
    AFTER_CALL();
}

PLAIN static void realigned(wait_function *wait, int number) {
    volatile char bytes[128] __attribute__((aligned(64)));
    bytes[number % 128] = 1;
    scribble(12);
    wait();
    AFTER_CALL();
}

PLAIN static void realigned_with_alloca(wait_function *wait, int number) {
    volatile char bytes[128] __attribute__((aligned(64)));
    bytes[number % 128] = 1;
    scribble(12);
    volatile char *more = alloca(64 + number % 7 * 32);
    more[0] = 1;
    wait();
    AFTER_CALL();
}

PLAIN static void with_buffer(wait_function *wait, int number) {
    volatile char bytes[1 << 14];
    bytes[number] = 1;
    wait();
    AFTER_CALL();
}

PLAIN static int with_arguments(wait_function *wait, long a, long b, long c, long d, long e, long f, long g, long h) {
    wait();
    return AFTER_CALL() + a + b + c + d + e + f + g + h;
}

/* Its stack pointer is lower than its prologue left it while it calls. */
PLAIN static void pushes_arguments(wait_function *wait, int number) {
    scribble(12);
    AFTER_CALL();
    with_arguments(wait, number, 2, 3, 4, 5, 6, 7, 8);
    AFTER_CALL();
}

PLAIN static void tail_target(wait_function *wait, int number) {
    volatile char *bytes = alloca(64 + number % 7 * 32);
    bytes[0] = 1;
    wait();
    AFTER_CALL();
}

/* With optimization its call is a jump: what called it seems to have called `tail_target`. */
PLAIN static void tail_call(wait_function *wait, int number) {
    tail_target(wait, number);
}

PLAIN static void through(frame_function *volatile frame, wait_function *wait, int number) {
    frame(wait, number);
    AFTER_CALL();
}

PLAIN static void indirect(wait_function *wait, int number) {
    scribble(12);
    through(with_alloca, wait, number);
    AFTER_CALL();
}

PLAIN static void do_nothing(void) {
    AFTER_CALL();
}

PLAIN static void one_caller(wait_function *wait, int number) {
    volatile char bytes[256];
    bytes[number % 256] = 1;
    with_buffer(wait, number);
    AFTER_CALL();
}

PLAIN static void another_caller(wait_function *wait, int number) {
    with_buffer(wait, number);
    AFTER_CALL();
}

/* In the buffer of the function that waits lies a whole stack from before: another way to the same function. */
PLAIN static void stale(wait_function *wait, int number) {
    one_caller(do_nothing, number);
    another_caller(wait, number);
    AFTER_CALL();
}

struct wait_kind {
    const char *name;
    wait_function *wait;
};

static const struct wait_kind waits[] = {
    {"read", wait_in_read},   {"epoll", wait_in_epoll}, {"futex", wait_in_futex},
    {"sleep", wait_in_sleep}, {"poll", wait_in_poll},   {"raw", wait_in_raw},
};

/* Each frame has a caller that calls it by name; these are called by address. */
#define CALLED_BY_NAME(frame)                                            \
    PLAIN static void calls_##frame(wait_function *wait, int number) {   \
        frame(wait, number);                                             \
        AFTER_CALL();                                                    \
    }
CALLED_BY_NAME(plain)
CALLED_BY_NAME(with_alloca)
CALLED_BY_NAME(with_array)
CALLED_BY_NAME(realigned)
CALLED_BY_NAME(realigned_with_alloca)
CALLED_BY_NAME(with_buffer)
CALLED_BY_NAME(pushes_arguments)
CALLED_BY_NAME(tail_call)

struct frame_kind {
    const char *name;
    frame_function *frame;
};

static const struct frame_kind frames[] = {
    {"plain", calls_plain},
    {"alloca", calls_with_alloca},
    {"array", calls_with_array},
    {"aligned", calls_realigned},
    {"both", calls_realigned_with_alloca},
    {"buffer", calls_with_buffer},
    {"push", calls_pushes_arguments},
    {"tail", calls_tail_call},
    {"indirect", indirect},
    {"pointer", with_array},
    {"stale", stale},
};

enum { WAITS = sizeof waits / sizeof *waits, FRAMES = sizeof frames / sizeof *frames, THREADS = WAITS * FRAMES };

PLAIN static int descend(int number, int depth) {
    if (depth == 0)
        frames[number / WAITS].frame(waits[number % WAITS].wait, number);
    else
        descend(number, depth - 1);
    return AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    int number = (int)(long)argument;
    descend(number, number % 5);
    AFTER_CALL();
    return NULL;
}

static void check(int failed, const char *what) {
    if (failed) {
        perror(what);
        exit(1);
    }
}

/* Whether every thread but this one sleeps. */
static int all_sleep(void) {
    DIR *tasks = opendir("/proc/self/task");
    check(tasks == NULL, "/proc/self/task");
    int sleep = 1;
    for (struct dirent *entry; sleep && (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
            continue;
        char path[64], text[256] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        check(file == NULL, path);
        check(fgets(text, sizeof text, file) == NULL, path);
        fclose(file);
        sleep = strrchr(text, ')')[2] == 'S';
    }
    closedir(tasks);
    return sleep;
}

int main(void) {
    check(pipe(pipe_ends) != 0, "pipe");
    epoll_descriptor = epoll_create1(0);
    check(epoll_descriptor < 0, "epoll_create1");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 18);
    for (long number = 0; number < THREADS; number++) {
        pthread_t thread;
        check(pthread_create(&thread, &attributes, run_thread, (void *)number) != 0, "pthread_create");
        char name[16];
        snprintf(name, sizeof name, "%.8s-%s", frames[number / WAITS].name, waits[number % WAITS].name);
        pthread_setname_np(thread, name);
    }
    while (atomic_load(&arrived) < THREADS || !all_sleep())
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    puts("ready");
    fflush(stdout);
    plain(wait_in_read, 0);
    return 0;
}
