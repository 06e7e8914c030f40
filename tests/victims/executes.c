// Starts twenty threads and executes itself a few milliseconds later, again and again: executing ends the threads.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

static void *sleep_for_ever(void *unused) {
    (void)unused;
    for (;;) pause();
}

int main(int count, char **arguments) {
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 20; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL)) return 1;
    if (count < 2) {
        puts("ready");
        fflush(stdout);
    }
    usleep(3000);
    char *again[] = {arguments[0], "again", NULL};
    execv("/proc/self/exe", again);
    return 1;
}
