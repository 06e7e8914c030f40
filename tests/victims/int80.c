// 64-bit code that waits in calls made by `int $0x80`: what it hands over lies below 4 GiB. Prints `ready` once all threads run.

#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char *low;

static long call(long number, long first, long second, long third, long fourth) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(fourth) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static void *by_poll(void *nothing) {
    int ends[2];
    if (pipe(ends)) return nothing;
    struct pollfd *polled = (struct pollfd *)low;
    *polled = (struct pollfd){ends[0], POLLIN, 0};
    call(168, (long)polled, 1, -1, 0);
    return nothing;
}

static void *by_futex(void *nothing) {
    call(240, (long)(low + 64), 128, 0, 0);
    return nothing;
}

static void *by_pause(void *nothing) {
    call(29, 0, 0, 0, 0);
    return nothing;
}

int main(void) {
    void *(*ways[])(void *) = {by_poll, by_futex, by_pause};
    low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED) return 1;
    for (unsigned way = 0; way < 3; way++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, ways[way], NULL)) return 1;
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
