// Takes numbered queued signals and counts them; FILE is shared with
// the test and holds: signals handled, signals out of order, signals without the right origin, turns of a thread that
// only works.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HANDLED, OUT_OF_ORDER, WRONG_ORIGIN, TURNS, COUNTERS };

static _Atomic uint64_t *counters;

static void handle(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    uint64_t expected = ++counters[HANDLED];
    if ((uint32_t)info->si_value.sival_int != expected) counters[OUT_OF_ORDER]++;
    if (info->si_code != SI_QUEUE || info->si_pid != getppid()) counters[WRONG_ORIGIN]++;
}

static void *turn(void *argument) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (;;) {
        for (volatile int i = 0; i < 10000; i++) {}
        counters[TURNS]++;
        usleep(100);
    }
    return argument;
}

int main(int count, char **arguments) {
    int file = open(arguments[count - 1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, COUNTERS * sizeof *counters) < 0) return 1;
    counters = mmap(NULL, COUNTERS * sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, turn, NULL)) return 1;
    puts("ready");
    fflush(stdout);
    // It runs and sleeps in turn, so that signals find it at both.
    for (;;) {
        for (volatile int i = 0; i < 100000; i++) {}
        usleep(200);
    }
}
