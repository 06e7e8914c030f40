// A signal's handler on a stack of its own that lies across mappings, deep enough to be in the first of them.
//   remapped   its upper half was mapped anew, shared
//   file       its lower half is memory of a file, as a program's .data is before its .bss
// With one more argument in another thread than the main one.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (64 << 10)
static volatile int kept;
static char *stack;

__attribute__((noinline)) static int deeper(int n) {
    volatile char room[1024];
    memset((char *)room, n, sizeof room);
    if (n == 0) pause();
    else kept = deeper(n - 1);
    return room[n];
}

static void handles(int signal) {
    // 40 KiB: past the upper half.
    kept = deeper(40) + signal;
}

__attribute__((noinline)) static void interrupted(int n) {
    raise(SIGUSR1);
    kept = n;
}

static void *runs(void *argument) {
    stack_t signals = {.ss_sp = stack, .ss_size = SIZE};
    sigaltstack(&signals, 0);
    interrupted(*(int *)argument);
    return 0;
}

int main(int argc, char **argv) {
    stack = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!strcmp(argv[1], "file")) {
        FILE *file = tmpfile();
        if (!file || ftruncate(fileno(file), SIZE / 2)) return 2;
        mmap(stack, SIZE / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fileno(file), 0);
    } else {
        mmap(stack + SIZE / 2, SIZE / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    struct sigaction action = {.sa_handler = handles, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, 0);
    puts("ready");
    fflush(stdout);
    pthread_t thread;
    if (argc > 2) {
        pthread_create(&thread, 0, runs, &argc);
        pthread_join(thread, 0);
    } else {
        runs(&argc);
    }
    return 0;
}
