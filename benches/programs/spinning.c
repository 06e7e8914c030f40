// argv[1] threads that run all the time. It says `ready` when they do.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) static void spins(void) {
    for (;;)
        __asm__ volatile("pause");
}

__attribute__((noinline)) static void *runs(void *argument) {
    spins();
    __asm__ volatile("");
    return argument;
}

int main(int count, char **argument) {
    pthread_t thread;
    alarm(1800);
    for (int number = count > 1 ? atoi(argument[1]) : 1; number > 0; number--)
        if (pthread_create(&thread, NULL, runs, NULL) != 0)
            return 1;
    puts("ready");
    fflush(stdout);
    pause();
}
