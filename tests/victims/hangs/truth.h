// What the programs in this directory share: each brings itself into a situation, makes sure that
// it is in it by what the kernel says of its threads, and prints the truth about it (`kind`,
// `accused`, `holder`, `resource`, `target`, `since`), then `ready`.
//
// Nothing here sleeps instead of a condition, and nothing is printed through stdio, whose locks are
// some of the situations.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __cplusplus
#include <atomic>
#define _Atomic(type) std::atomic<type>
#else
#include <stdatomic.h>
#endif

#define THREADS 64
#define HOUR 3600
#define say(...) dprintf(1, __VA_ARGS__)

static _Atomic(int) tids[THREADS];

__attribute__((unused)) static int own_tid(void) { return (int)syscall(SYS_gettid); }

static void must(int holds, const char *what) {
    if (holds) return;
    say("failed %s: %s\n", what, strerror(errno));
    _exit(3);
}

static void a_moment(void) {
    static const struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
}

// What the kernel says of a thread, of any process: its state, or the call it sleeps in.
static void kernel_says(int task, const char *what, char *text, int size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", task, what);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, (size_t)size - 1);
    text[length > 0 ? length : 0] = 0;
    if (file >= 0) close(file);
}

// The tid of the thread with this number, once it has one.
__attribute__((unused)) static int tid_of(int number) {
    while (!tids[number]) a_moment();
    return tids[number];
}

// How many threads are past the point where they meet: the barrier where they do is a futex, too.
static _Atomic(int) passed;

__attribute__((unused)) static void meet_at(pthread_barrier_t *all) {
    pthread_barrier_wait(all);
    passed++;
}

__attribute__((unused)) static void until_passed(int count) {
    while (passed < count) a_moment();
}

// Waits until a thread has slept in this call for some looks; returns the call's first argument.
__attribute__((unused)) static uintptr_t until_in(int task, long number) {
    char text[256], before[256] = "";
    for (int same = 0; same < 3; a_moment()) {
        kernel_says(task, "syscall", text, sizeof text);
        int there = text[0] >= '0' && text[0] <= '9' && strtol(text, NULL, 10) == number;
        same = there && !strcmp(text, before) ? same + 1 : 0;
        strcpy(before, text);
    }
    return strtoul(strchr(text, ' '), NULL, 16);
}

__attribute__((unused)) static char state_of(int task) {
    char text[512];
    kernel_says(task, "stat", text, sizeof text);
    char *end = strrchr(text, ')');
    return end ? end[2] : 0;
}

__attribute__((unused)) static void until_state(int task, char state) {
    while (state_of(task) != state) a_moment();
}

// Waits until there is no such thread any more.
__attribute__((unused)) static void until_gone(int task) {
    while (state_of(task)) a_moment();
}

struct begun { int number; void *(*work)(void *); };

static void *begin(void *argument) {
    struct begun its = *(struct begun *)argument;
    char name[16];
    snprintf(name, sizeof name, "worker-%d", its.number);
    prctl(PR_SET_NAME, name);
    tids[its.number] = own_tid();
    return its.work((void *)(intptr_t)its.number);
}

// Starts thread NUMBER, called worker-NUMBER, with its number as argument; its tid is in `tids`
// when this returns.
__attribute__((unused)) static pthread_t start(int number, void *(*work)(void *)) {
    static struct begun all[THREADS];
    pthread_t thread;
    all[number].number = number;
    all[number].work = work;
    must(!pthread_create(&thread, NULL, begin, &all[number]), "pthread_create");
    tid_of(number);
    return thread;
}

// A child that does not outlive its parent; 0 in the child.
__attribute__((unused)) static pid_t forked(void) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (!pid) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void ready(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    say("since %lld.%03ld\nready\n", (long long)now.tv_sec, now.tv_nsec / 1000000);
}

static void *reveal(void *truth) {
    ((void (*)(void))truth)();
    ready();
    return NULL;
}

// Where all threads are part of the situation, one more waits until they are, prints the truth, and
// is gone.
__attribute__((unused)) static void herald(void (*truth)(void)) {
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(!pthread_create(&thread, NULL, reveal, (void *)truth), "pthread_create");
    pthread_detach(thread);
}

// Where something must be undone, the first process waits for the end of the test: the end of its
// input.
__attribute__((unused)) static void until_the_end(void) {
    char byte;
    say("undoes\n");
    ready();
    while (read(0, &byte, 1) > 0) {}
}
