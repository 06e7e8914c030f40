// Spins in one line of an inlined function, and from SIGUSR1 on in another; the line that calls it stays the same.
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t signalled, second;

static void note(int number) {
    (void)number;
    signalled = 1;
}

static inline __attribute__((always_inline)) void spin(void) {
    while (!signalled)
        ;
    second = 1;
    for (;;)
        __asm__ volatile("pause");
}

int main(void) {
    signal(SIGUSR1, note);
    puts("ready");
    fflush(stdout);
    spin();
}
