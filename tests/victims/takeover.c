// It executes itself for ever, each time from another thread than the main thread, whose place that one takes: while the main thread
// waits, or after it has ended.
//
//   takeover main-waits|main-ends
//
// Prints "ready" once.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *execute(void *how) {
    char *again[] = {"takeover", how, "again", NULL};
    execv("/proc/thread-self/exe", again);
    abort();
}

int main(int count, char **arguments) {
    pthread_t thread;
    // It must not outlive the test.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (count == 2) {
        puts("ready");
        fflush(stdout);
    }
    if (pthread_create(&thread, NULL, execute, arguments[1])) abort();
    if (strcmp(arguments[1], "main-ends") == 0) syscall(SYS_exit, 0);
    for (;;) pause();
}
