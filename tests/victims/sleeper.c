// Two threads that sleep for ever, in functions with names to look for. With the argument `undumpable` the process is one
// that its own user may not look at.

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((noinline)) static void *rest(void *argument) {
    for (;;) pause();
    return argument;
}

__attribute__((noinline)) static void doze(void) {
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "undumpable") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, rest, NULL)) return 1;
    puts("ready");
    fflush(stdout);
    doze();
}
