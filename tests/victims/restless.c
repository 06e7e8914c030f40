// Threads that never stay where they are: some go up and down a recursion and sleep on the way, and others are born and die.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { RESTLESS = 8, SHORT_LIVED = 4 };

static void nap(unsigned *seed) {
    struct timespec time = {0, 1000000 + rand_r(seed) % 9000000};
    nanosleep(&time, NULL);
}

__attribute__((noinline)) static int deeper(unsigned *seed, int left) {
    int found = 0;
    if (rand_r(seed) % 3 == 0) nap(seed);
    if (left > 0) found = deeper(seed, left - 1);
    if (rand_r(seed) % 4 == 0) nap(seed);
    return found + 1;
}

static void *wander(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number;
    char name[16];
    snprintf(name, sizeof name, "restless %u", seed);
    prctl(PR_SET_NAME, name);
    for (;;) deeper(&seed, rand_r(&seed) % 20);
    return NULL;
}

static void *live_briefly(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number;
    deeper(&seed, 3);
    return NULL;
}

int main(void) {
    pthread_t thread, lives[SHORT_LIVED];
    // It must not outlive its test.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uintptr_t i = 1; i <= RESTLESS; i++)
        if (pthread_create(&thread, NULL, wander, (void *)i)) return 1;
    puts("ready");
    fflush(stdout);
    for (uintptr_t generation = 1;; generation++) {
        for (int i = 0; i < SHORT_LIVED; i++)
            if (pthread_create(&lives[i], NULL, live_briefly, (void *)(generation * SHORT_LIVED + (uintptr_t)i))) return 1;
        for (int i = 0; i < SHORT_LIVED; i++) pthread_join(lives[i], NULL);
    }
}
