// A thread called "waiter" that waits for a word to change, and a main thread that does one thing for each byte on standard input,
// and prints its letter when that is done:
//
//   m  lets the waiter go, who goes on to wait by the same instructions, with the same arguments and stack pointer, elsewhere
//   w  changes the word behind the one that is waited for
//   n  calls the waiter "renamed"
//   h  handles a real-time signal from now on
//   s  keeps the waiter's CPU busy, by a thread of higher priority, for 600 ms, and lets the waiter go meanwhile; "?" if that is
//      not permitted
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct {
    volatile uint32_t turn, owner;
} word;

__attribute__((noinline)) static long wait_for(uint32_t turn) {
    long ended = 0;
    while (word.turn == turn) ended = syscall(SYS_futex, &word.turn, FUTEX_WAIT, turn, 0, 0, 0);
    word.turn = turn;
    return ended;
}

__attribute__((noinline)) static long in_one_place(void) {
    return wait_for(0) + 1;
}

__attribute__((noinline)) static long in_another(void) {
    return wait_for(0) + 2;
}

static void *wait_in_turn(void *unused) {
    (void)unused;
    long sum = 0;
    prctl(PR_SET_NAME, "waiter");
    for (;;) {
        sum += in_one_place();
        sum += in_another();
    }
    return (void *)sum;
}

static void let_go(void) {
    word.turn = 1;
    syscall(SYS_futex, &word.turn, FUTEX_WAKE, 1, 0, 0, 0);
}

static void pin(pthread_t thread, int cpu) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    pthread_setaffinity_np(thread, sizeof only, &only);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static volatile int busy;

static void *keep_busy(void *unused) {
    double begun = now();
    busy = 1;
    while (now() - begun < 0.6) continue;
    busy = 0;
    return unused;
}

static int starve(pthread_t waiter) {
    pthread_attr_t attributes;
    struct sched_param priority = {.sched_priority = 50};
    cpu_set_t only;
    pthread_t hog;
    CPU_ZERO(&only);
    CPU_SET(1, &only);
    pin(pthread_self(), 0);
    pin(waiter, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    pthread_attr_setschedparam(&attributes, &priority);
    pthread_attr_setaffinity_np(&attributes, sizeof only, &only);
    if (pthread_create(&hog, &attributes, keep_busy, NULL)) return 0;
    while (!busy) sched_yield();
    let_go();
    pthread_join(hog, NULL);
    return 1;
}

static void ignore_it(int number) { (void)number; }

int main(void) {
    pthread_t waiter;
    // It must not outlive its test.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Blocked by all threads: it stays pending.
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    if (pthread_create(&waiter, NULL, wait_in_turn, NULL)) return 1;
    puts("ready");
    for (char byte; fflush(stdout), read(0, &byte, 1) == 1; printf("%c\n", byte)) {
        if (byte == 'm') let_go();
        if (byte == 'w') word.owner = 0x12345678;
        if (byte == 'h') signal(SIGRTMIN + 3, ignore_it);
        if (byte == 'n') pthread_setname_np(waiter, "renamed");
        if (byte == 's' && !starve(waiter)) byte = '?';
    }
}
