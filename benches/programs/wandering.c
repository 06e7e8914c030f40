// A process with N threads that wait 20 to 60 frames deep, and go elsewhere when told to.
//
//   wandering THREADS
//
// Prints "ready" when all wait. Each line on standard input is a number: so many threads, others each time, return to
// where they began, go down another way to another depth, and wait there; then it prints "ready" again. The outer frames
// of all ways are the same, as those of a server's workers are.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SHALLOWEST = 20, WAYS = 41, SAME = 12 };

struct wanderer {
    sem_t go;
    uint64_t random;
};

static struct wanderer *wanderers;
static sem_t waiting;

static uint64_t draw(struct wanderer *self) {
    self->random = self->random * 6364136223846793005u + 1442695040888963407u;
    return self->random >> 33;
}

static int deeper(struct wanderer *self, int depth, int left);

#define WAY(name, size)                                                          \
    __attribute__((noinline)) static int name(struct wanderer *self, int depth, int left) { \
        volatile char used[size];                                                \
        used[0] = (char)left;                                                    \
        return deeper(self, depth, left) + used[0];                              \
    }
WAY(parse, 40)
WAY(evaluate, 120)
WAY(look_up, 72)
WAY(send_on, 200)

__attribute__((noinline)) static int deeper(struct wanderer *self, int depth, int left) {
    if (left == 0) {
        sem_post(&waiting);
        while (sem_wait(&self->go)) {}
        return 0;
    }
    switch (depth < SAME ? 0 : draw(self) % 4) {
    case 0: return parse(self, depth + 1, left - 1) + 1;
    case 1: return evaluate(self, depth + 1, left - 1) + 1;
    case 2: return look_up(self, depth + 1, left - 1) + 1;
    default: return send_on(self, depth + 1, left - 1) + 1;
    }
}

static void *wander(void *argument) {
    struct wanderer *self = argument;
    // Each way is two frames.
    for (;;) deeper(self, 0, (SHALLOWEST + (int)(draw(self) % WAYS)) / 2);
}

static void ready(int count) {
    for (int i = 0; i < count; i++)
        while (sem_wait(&waiting)) {}
    puts("ready");
    fflush(stdout);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 10, next = 0, count;
    pthread_t thread;
    pthread_attr_t small;
    // It must not outlive whoever measures it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    wanderers = calloc((size_t)threads, sizeof *wanderers);
    sem_init(&waiting, 0, 0);
    for (int i = 0; i < threads; i++) {
        sem_init(&wanderers[i].go, 0, 0);
        wanderers[i].random = (uint64_t)i;
        if ((errno = pthread_create(&thread, &small, wander, &wanderers[i]))) {
            fprintf(stderr, "only %d of %d threads can be started: %s\n", i, threads, strerror(errno));
            return 1;
        }
    }
    ready(threads);
    while (scanf("%d", &count) == 1) {
        for (int i = 0; i < count; i++) sem_post(&wanderers[(next + i) % threads].go);
        next = (next + count) % threads;
        ready(count);
    }
    for (;;) pause();
}
