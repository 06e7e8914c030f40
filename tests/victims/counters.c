// Threads that each count in memory shared with the test: FILE holds one 64-bit counter for each of them.
//
// They wait in different ways, so that a kill of whoever holds them finds some asleep, some on their way and one running.

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 7 };

static _Atomic uint64_t *counters;
static sem_t ping, pong;
static int ends[2];

static void pass(long nanoseconds) {
    struct timespec time = {0, nanoseconds};
    nanosleep(&time, NULL);
}

static void *run(void *argument) {
    long own = (long)argument;
    for (;; counters[own]++) {
        switch (own) {
        // Busy half of the time: the machine has other tests to run.
        case 0: for (volatile int i = 0; i < 50000; i++) {} pass(100000); break;
        case 1: pass(200000); break;
        case 2: sem_wait(&ping); pass(50000); sem_post(&pong); break;
        case 3: sem_post(&ping); sem_wait(&pong); break;
        case 4: poll(NULL, 0, 1); break;
        case 5: pass(100000); if (write(ends[1], "x", 1) != 1) abort(); break;
        case 6: { char byte; if (read(ends[0], &byte, 1) != 1) abort(); break; }
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    int file = open(arguments[count - 1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, THREADS * sizeof *counters) < 0 || pipe(ends) < 0) return 1;
    counters = mmap(NULL, THREADS * sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    for (long number = 1; number < THREADS; number++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, (void *)number) != 0) return 1;
    }
    puts("ready");
    fflush(stdout);
    run((void *)0);
}
