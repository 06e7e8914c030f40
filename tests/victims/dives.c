// Goes down a recursion of seven mebibytes, and comes back up. It takes each step when a byte comes on standard input, and tells
// when it is there.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FRAME = 7 << 10, FRAMES = 1 << 10 };

static void step(const char *word) {
    char byte;
    puts(word);
    fflush(stdout);
    if (read(0, &byte, 1) != 1) _exit(0);
}

__attribute__((noinline)) static int dive(int left) {
    volatile char room[FRAME];
    room[0] = (char)left;
    if (left > 0) return dive(left - 1) + room[0];
    step("deep");
    return room[0];
}

int main(void) {
    // It must not outlive its test.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    step("ready");
    int sum = dive(FRAMES);
    for (;;) step(sum ? "back" : "up");
}
