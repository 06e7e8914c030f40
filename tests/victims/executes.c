// Starts twenty threads and executes itself a few milliseconds later, again and again: executing ends the threads. Each time all its
// threads are named after the number of the time, which is in `generation` too. How long a time is, in microseconds, may be given, and
// the number of the last one, after which it ends.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

volatile int generation;

static void *sleep_for_ever(void *unused) {
    (void)unused;
    for (;;) pause();
}

int main(int count, char **arguments) {
    pthread_t thread;
    char name[16], number[16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    generation = count > 2 ? atoi(arguments[2]) : 1;
    snprintf(name, sizeof name, "gen-%d", generation);
    prctl(PR_SET_NAME, name);
    for (int i = 0; i < 20; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL)) return 1;
    if (generation == 1) {
        puts("ready");
        fflush(stdout);
    }
    char *time = count > 1 ? arguments[1] : "3000";
    usleep(atoi(time));
    if (count > 3 && generation >= atoi(arguments[3])) return 0;
    // Always as long: then all lies where it did, where addresses are not randomized.
    snprintf(number, sizeof number, "%06d", generation + 1);
    char *again[] = {arguments[0], time, number, count > 3 ? arguments[3] : NULL, NULL};
    execv("/proc/self/exe", again);
    return 1;
}
