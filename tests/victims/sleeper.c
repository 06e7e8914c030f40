// Two threads that sleep for ever, in functions with names to look for.

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) static void *rest(void *argument) {
    for (;;) pause();
    return argument;
}

__attribute__((noinline)) static void doze(void) {
    for (;;) pause();
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, rest, NULL)) return 1;
    puts("ready");
    fflush(stdout);
    doze();
}
