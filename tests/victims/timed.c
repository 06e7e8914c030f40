// A thread for each way to wait with a timeout that does not come while a test runs. Prints `ready` once all have been started.

#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FUTEX_WAIT_PRIVATE 128  // musl has no linux/futex.h

static pthread_mutex_t free_mutex = PTHREAD_MUTEX_INITIALIZER, taken = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static uint32_t word;
static const struct timespec hour = {3600, 0};

static struct timespec in_an_hour(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_sec += 3600;
    return time;
}

static void *on_condition(void *nothing) {
    struct timespec time = in_an_hour(CLOCK_REALTIME);
    pthread_mutex_lock(&free_mutex);
    pthread_cond_timedwait(&condition, &free_mutex, &time);
    return nothing;
}

static void *on_semaphore(void *nothing) {
    struct timespec time = in_an_hour(CLOCK_REALTIME);
    sem_timedwait(&semaphore, &time);
    return nothing;
}

static void *on_mutex(void *nothing) {
    struct timespec time = in_an_hour(CLOCK_REALTIME);
    pthread_mutex_timedlock(&taken, &time);
    return nothing;
}

static void *by_poll(void *nothing) {
    int ends[2];
    if (pipe(ends)) return nothing;
    struct pollfd polled = {ends[0], POLLIN, 0};
    poll(&polled, 1, 3600 * 1000);
    return nothing;
}

static void *by_poll_of_none(void *nothing) {
    poll(NULL, 0, 3600 * 1000);
    return nothing;
}

static void *by_nanosleep(void *nothing) {
    nanosleep(&hour, NULL);
    return nothing;
}

static void *by_clock_nanosleep(void *nothing) {
    clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL);
    return nothing;
}

// The number of the call comes from elsewhere: a register of the caller, a word in memory, an exclusive or.
static void *by_syscall_futex(void *nothing) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hour, NULL, 0);
    return nothing;
}

static void *by_syscall_nanosleep(void *nothing) {
    syscall(SYS_nanosleep, &hour, NULL);
    return nothing;
}

static void *by_number_in_memory(void *nothing) {
    static volatile long number = SYS_futex;
    register const struct timespec *fourth __asm__("r10") = &hour;
    long result;
    __asm__ volatile("mov %1, %%rax\n\tsyscall" : "=&a"(result) : "m"(number), "D"(&word), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(fourth) : "rcx", "r11", "memory");
    return nothing;
}

static void *by_exclusive_or(void *nothing) {
    long result;
    __asm__ volatile("mov $0x55, %%eax\n\txor $0x52, %%eax\n\tsyscall" : "=&a"(result) : "D"(NULL), "S"(0L), "d"(3600 * 1000L) : "rcx", "r11", "memory");
    return nothing;
}

static void *by_push_and_pop(void *nothing) {
    long result;
    __asm__ volatile("push $35\n\tpop %%rax\n\tsyscall" : "=&a"(result) : "D"(&hour), "S"(NULL) : "rcx", "r11", "memory");
    return nothing;
}

int main(void) {
    void *(*ways[])(void *) = {
        on_condition, on_semaphore, on_mutex, by_poll, by_poll_of_none, by_nanosleep, by_clock_nanosleep,
        by_syscall_futex, by_syscall_nanosleep, by_number_in_memory, by_exclusive_or, by_push_and_pop,
    };
    pthread_mutex_lock(&taken);
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, ways[way], NULL)) return 1;
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
