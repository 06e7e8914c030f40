// Threads that run for ever.
//
//   spins forever     an empty loop
//   spins lock        a lock that is spun on, and whose holder sleeps
#include "truth.h"

static pthread_spinlock_t lock;

static void *hold(void *argument) {
    pthread_spin_lock(&lock);
    nanosleep(&(struct timespec){HOUR, 0}, NULL);
    pthread_spin_unlock(&lock);
    return argument;
}

// It has used this many of the kernel's ticks of a CPU.
static long ticks(void) {
    char text[512];
    kernel_says(getpid(), "stat", text, sizeof text);
    char *at = strrchr(text, ')');
    for (int field = 2; field < 14; field++) at = strchr(at + 1, ' ');
    return strtol(at, NULL, 10);
}

static void spins(void) {
    long before = ticks();
    while (ticks() < before + 10) a_moment();
    say("kind busy-loop\naccused %d\n", getpid());
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    if (!strcmp(argument[1], "lock")) {
        pthread_spin_init(&lock, 0);
        start(0, hold);
        until_in(tid_of(0), SYS_clock_nanosleep);
        herald(spins);
        pthread_spin_lock(&lock);
    }
    herald(spins);
    for (;;) __asm__ volatile("");
}
