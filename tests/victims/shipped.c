// A thread that sleeps below functions that no other file can call, as distributions ship programs: without their names.

#include <stdio.h>
#include <unistd.h>

__attribute__((noipa)) static int sleeps_for_ever(int depth) {
    for (;;) depth += pause();
    return depth;
}

__attribute__((noipa)) static int calls_it(int depth) {
    volatile int kept[16] = {depth};
    return sleeps_for_ever(depth + 1) + kept[depth % 16];
}

__attribute__((noipa)) static int begins(int depth) {
    volatile int kept[64] = {depth};
    return calls_it(depth + 1) + kept[depth % 64];
}

int main(int argc, char **argv) {
    (void)argv;
    puts("ready");
    fflush(stdout);
    // What is done after it keeps the call from becoming a jump, which would leave no frame.
    return begins(argc) + 1;
}
