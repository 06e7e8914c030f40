// Locks inside the C library.
//
//   inside stdio              a thread sleeps with stdout locked, others print
//   inside malloc             a signal handler allocates, and has interrupted an allocation
//   inside handler            a signal handler takes the lock that the interrupted code holds
//   inside loader PLUGIN.so   its constructor, run by dlopen, joins a thread that calls dlopen
#include "truth.h"
#include <dlfcn.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int begun;
static const char *plugin;

static void *print_for_long(void *argument) {
    flockfile(stdout);
    sleep(HOUR);
    funlockfile(stdout);
    return argument;
}

static void *print(void *argument) {
    printf("a line\n");
    return argument;
}

static void stdio(void) {
    until_in(tid_of(0), SYS_clock_nanosleep);
    for (int i = 1; i <= 3; i++) until_in(tid_of(i), SYS_futex);
    say("kind convoy\naccused %d\nholder %d\nresource stdio-lock %p\n", tid_of(0), tid_of(0), (void *)stdout->_lock);
}

static void allocate(int number) {
    void *volatile piece = malloc(5000 + (size_t)number);
    free(piece);
}

static void take(int number) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 50; i++) allocate(number);
    pthread_mutex_unlock(&lock);
}

// Interrupts the main thread until it waits in the handler.
static void interrupt(void) {
    char text[256];
    while (!begun) a_moment();
    do {
        syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
        for (int i = 0; i < 50; i++) sched_yield();
        kernel_says(getpid(), "syscall", text, sizeof text);
    } while (strncmp(text, "202 ", 4));
    uintptr_t word = until_in(getpid(), SYS_futex);
    say("kind self-deadlock\naccused %d\nholder %d\nresource lock %#lx\n", getpid(), getpid(), (unsigned long)word);
}

static void loader(void) {
    until_in(getpid(), SYS_futex);
    while (!getenv("HANGS_LOADER_TID")) a_moment();
    int other = atoi(getenv("HANGS_LOADER_TID"));
    uintptr_t word = until_in(other, SYS_futex);
    say("kind deadlock\naccused %d\naccused %d\n", getpid(), other);
    say("resource thread %d\nresource mutex %#lx\n", other, (unsigned long)word);
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    if (!strcmp(argument[1], "stdio")) {
        herald(stdio);
        pthread_t first = start(0, print_for_long);
        until_in(tid_of(0), SYS_clock_nanosleep);
        for (int i = 1; i <= 3; i++) start(i, print);
        pthread_join(first, NULL);
    } else if (!strcmp(argument[1], "loader")) {
        plugin = argument[2];
        herald(loader);
        must(dlopen(plugin, RTLD_NOW) != NULL, "dlopen");
    }
    int is_malloc = !strcmp(argument[1], "malloc");
    signal(SIGUSR1, is_malloc ? allocate : take);
    herald(interrupt);
    for (begun = 1;;) is_malloc ? allocate(0) : take(0);
}
