/*
 * What every C and C++ program of the corpus is made with: functions that write down that they were entered and where they
 * return to, so that the program itself can tell each thread's stack.
 *
 * A thread prints one line before it stays where it is, innermost function first:
 *
 *     chain TID TOKEN...
 *
 * `name@0x12` is a frame of that function at that address, `name` one at an address nobody knows, `name?` one that may be
 * missing, `?` a frame without a name, `..` any frames of libraries, `<signal>` what the kernel laid, `root` the thread's outermost frame (of the main
 * thread with the address of _start, of others with its own if it has no name). `ready` follows when as many threads as were announced have printed theirs.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A function that stays a function, whatever the compiler knows of its callers. */
#ifdef __clang__
#define PLAIN __attribute__((noinline, used))
#else
#define PLAIN __attribute__((noipa, used))
#endif
/* Something to do after a call, so that it does not become a jump. */
#define AFTER_CALL() __asm__ volatile("" ::: "memory")

struct entered {
    const char *name;
    void *returns_to;
    /* If the function entered before did not call it: what did, and what else lies between them. */
    const char *by;
    const char *between;
};

static __thread struct entered entered[64];
static __thread int entered_count;
/* How the stack ends if not with the thread's own root: the last function returns nowhere, or it returns to the root. */
static __thread enum { ENDS_WITH_THREAD, ENDS_NOWHERE, ENDS_BEHIND_LAST } ends;
static int still_to_come;
extern char _start[];

#define ENTER(function) enter(function, __builtin_return_address(0), NULL, NULL)
#define ENTER_HANDLER(function, between) enter(function, __builtin_return_address(0), "<signal>", between)
/* A function that a library calls back. */
#define ENTER_CALLBACK(function) enter(function, __builtin_return_address(0), "?", "..")

static inline void enter(const char *name, void *returns_to, const char *by, const char *between) {
    struct entered *one = &entered[entered_count++];
    one->name = name;
    one->returns_to = returns_to;
    one->by = by;
    one->between = between;
}

static inline void add(char *line, size_t size, const char *name, const void *address) {
    size_t length = strlen(line);
    /* A recursion is one token for many frames at several addresses. */
    if (address != NULL && strchr(name, '*') == NULL)
        snprintf(line + length, size - length, " %s@%p", name, address);
    else
        snprintf(line + length, size - length, " %s", name);
}

static inline void say(const char *line) {
    if (write(1, line, strlen(line)) < 0)
        _exit(1);
}

/*
 * Where a thread's outermost frame is, if its function has no name to tell it by: musl's threads end behind the call of their
 * function with exit(2), in code without a symbol. Its address is what that call has put at the very top of the stack.
 */
static inline void *root_of_thread(void) {
#ifdef __GLIBC__
    return NULL;
#else
    static const unsigned char exits[] = {0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05};
    pthread_attr_t attributes;
    void *stack;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0 || pthread_attr_getstack(&attributes, &stack, &size) != 0)
        _exit(1);
    for (char **word = (char **)((char *)stack + size) - 1; word > (char **)stack; word--)
        /* The C library is smaller than this. */
        if (labs(*word - (char *)pthread_getattr_np) < 1 << 19 && memcmp(*word, exits, sizeof exits) == 0)
            return *word;
    _exit(1);
#endif
}

/* Prints this thread's chain; `inner` tells what will lie inside of the function entered last. */
static inline void announce(const char *inner) {
    char line[4096];
    void *address = NULL;
    snprintf(line, sizeof line, "chain %ld %s", (long)syscall(SYS_gettid), inner);
    for (int i = entered_count - 1; i >= 0; i--) {
        const struct entered *one = &entered[i];
        add(line, sizeof line, one->name, address);
        address = one->returns_to;
        if (one->by != NULL) {
            add(line, sizeof line, one->by, address);
            add(line, sizeof line, one->between, NULL);
            address = NULL;
        }
    }
    if (ends == ENDS_BEHIND_LAST)
        add(line, sizeof line, "root", address);
    if (ends == ENDS_WITH_THREAD) {
        add(line, sizeof line, "?", address);
        add(line, sizeof line, "..", NULL);
        add(line, sizeof line, "root", syscall(SYS_gettid) == getpid() ? _start : root_of_thread());
    }
    strcat(line, "\n");
    say(line);
}

/* As many threads will call `arrive`; to be called before the first of them is started. */
static inline void expect_threads(int count) {
    __atomic_store_n(&still_to_come, count, __ATOMIC_SEQ_CST);
}

static inline void arrive(void) {
    if (__atomic_sub_fetch(&still_to_come, 1, __ATOMIC_SEQ_CST) == 0)
        say("ready\n");
}

/* Stays in the kernel for ever. */
static inline void stay(void) {
    announce("..");
    arrive();
    for (;;)
        pause();
}

/* Waits until another thread has run for so long that it must have got where it spins: it has a handful of instructions
 * to go there, and this is millions. Then arrives in its place. */
static inline void arrive_for_spinner(pthread_t spinner, const int *is_about_to) {
    clockid_t clock;
    struct timespec begun, now;
    while (!__atomic_load_n(is_about_to, __ATOMIC_SEQ_CST))
        sched_yield();
    if (pthread_getcpuclockid(spinner, &clock) != 0 || clock_gettime(clock, &begun) != 0)
        _exit(1);
    do {
        sched_yield();
        clock_gettime(clock, &now);
    } while ((now.tv_sec - begun.tv_sec) * 1000000000L + now.tv_nsec - begun.tv_nsec < 2000000);
    arrive();
}
