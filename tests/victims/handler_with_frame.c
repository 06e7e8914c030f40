// A signal's handler whose frame is of a size that nobody knows before, so that it keeps a frame pointer, and that sleeps in a
// call of a libc without call frame information.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static volatile int size = 64;

static void handles(int signal) {
    char room[size];
    memset(room, signal, sizeof room);
    struct timespec time = {1000, 0};
    while (nanosleep(&time, &time)) {}
    size = room[3];
}

__attribute__((noinline)) static int raises(int depth) {
    if (depth == 3) raise(SIGUSR1);
    return raises(depth + 1) + depth;
}

static int (*volatile through)(int) = raises;

__attribute__((noinline)) static int calls_through(int depth) {
    volatile int kept = depth;
    return through(depth) + kept;
}

int main(void) {
    signal(SIGUSR1, handles);
    puts("ready");
    fflush(stdout);
    return calls_through(0) + 1;
}
