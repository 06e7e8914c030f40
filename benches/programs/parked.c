// A process with N threads that are parked ten frames deep, and on request a heartbeat.
//
//   parked THREADS [HEARTBEAT_FILE [HEARTBEATS]]
//
// Prints "ready" when all threads are parked. With a file, one more thread, or as many as are asked for, beats without pause and keeps in the file's
// first eight bytes the longest gap it saw between two beats, in nanoseconds; whoever measures sets it to zero. A host
// that does not allow so many threads is told on standard error. As a shared library it lends its heartbeat to
// parked.py.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t parked;

__attribute__((noinline)) static int deeper(int depth) {
    volatile char used[400];
    used[0] = (char)depth;
    if (depth == 0) {
        pthread_barrier_wait(&parked);
        pthread_mutex_lock(&lock);
        for (;;) pthread_cond_wait(&never, &lock);
    }
    return deeper(depth - 1) + used[0];
}

static void *park(void *unused) {
    (void)unused;
    return (void *)(intptr_t)deeper(10);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void *beat(void *file);
void *beat(void *file) {
    _Atomic uint64_t *longest = file;
    uint64_t last = now();
    for (;;) {
        uint64_t this = now();
        uint64_t known = *longest;
        while (this - last > known && !atomic_compare_exchange_weak(longest, &known, this - last)) {}
        last = this;
    }
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 10;
    pthread_t thread;
    pthread_attr_t small;
    // It must not outlive whoever measures it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    pthread_barrier_init(&parked, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++)
        if ((errno = pthread_create(&thread, &small, park, NULL))) {
            fprintf(stderr, "only %d of %d threads can be started: %s\n", i, threads, strerror(errno));
            return 1;
        }
    pthread_barrier_wait(&parked);
    // They pass the barrier holding nothing; once this gets the lock after them, each waits on the condition.
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    if (argc > 2) {
        int file = open(argv[2], O_RDWR);
        void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared == MAP_FAILED) return 1;
        for (int i = argc > 3 ? atoi(argv[3]) : 1; i > 0; i--)
            if (pthread_create(&thread, &small, beat, shared)) return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
