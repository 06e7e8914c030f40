// Waits below functions of its own; made for lli, which compiles it while it runs.
#include <stdio.h>
#include <unistd.h>

static volatile int kept;

__attribute__((noinline)) int jitted_leaf(int n) {
    volatile char room[24] = {1};
    kept = pause();
    return kept + room[n];
}

__attribute__((noinline)) int jitted_middle(int n) {
    volatile int room[20] = {n};
    return n > 0 ? jitted_middle(n - 1) + room[2] : jitted_leaf(n) + room[1];
}

int main(void) {
    puts("ready");
    fflush(NULL);
    return jitted_middle(3) + kept;
}
