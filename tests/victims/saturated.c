// Threads of four kinds, so many of each: they run, wait for a condition for ever, wait in epoll_wait for ever, and do
// so in a way that may be disturbed once.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

__attribute__((noinline)) static void spins(void) {
    for (;;)
        __asm__ volatile("pause");
}

__attribute__((noinline)) static void *runs(void *argument) {
    spins();
    __asm__ volatile("");
    return argument;
}

__attribute__((noinline)) static void *waits(void *argument) {
    pthread_mutex_lock(&lock);
    for (;;)
        pthread_cond_wait(&never, &lock);
    return argument;
}

__attribute__((noinline)) static void *polls(void *argument) {
    struct epoll_event event;
    int set = epoll_create1(0);
    for (;;)
        // A stop that is noticed ends it.
        if (epoll_wait(set, &event, 1, -1) < 0)
            abort();
    return argument;
}

__attribute__((noinline)) static void *polls_twice(void *argument) {
    struct epoll_event event;
    int set = epoll_create1(0);
    // The second stop that is noticed ends it.
    for (int disturbed = 0; disturbed < 2; disturbed++)
        epoll_wait(set, &event, 1, -1);
    abort();
    return argument;
}

int main(int count, char **argument) {
    void *(*kinds[])(void *) = {runs, waits, polls, polls_twice};
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    alarm(600);
    for (int kind = 0; kind < 4 && kind + 1 < count; kind++)
        for (int number = atoi(argument[kind + 1]); number > 0; number--)
            if (pthread_create(&thread, &small, kinds[kind], NULL) != 0)
                return 1;
    puts("ready");
    fflush(stdout);
    pause();
}
