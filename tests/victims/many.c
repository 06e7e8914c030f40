// As many threads as its argument says, which sleep; every tenth wakes once a second.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

__attribute__((noinline)) static void *wait_for_work(void *argument) {
    pthread_mutex_lock(&lock);
    for (;;)
        pthread_cond_wait(&never, &lock);
    return argument;
}

__attribute__((noinline)) static void *wake_each_second(void *argument) {
    for (;;)
        usleep(1000000);
    return argument;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, i % 10 ? wait_for_work : wake_each_second, NULL))
            return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
