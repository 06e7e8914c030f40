// Stacks deeper than anybody wants to read.
//
//   deep N            recurses N times and waits
//   deep over         recurses until the stack is used up, and waits in the handler of that, on a stack of its own
//   deep thread       the same in a thread
//   deep N THREADS    so many threads recurse N times each and wait
//
// Prints "ready" and then how many frames of `recurse` there are on one stack.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

static volatile long most, frames;
static pthread_barrier_t *recursed;

static void wait_here(void) {
    printf("ready\n%ld\n", frames);
    fflush(stdout);
    for (;;) pause();
}

__attribute__((noinline)) static long recurse(long left) {
    volatile long here = left;
    frames = most - here + 1;
    if (here == 0) {
        if (recursed) pthread_barrier_wait(recursed);
        while (recursed) pause();
        wait_here();
    }
    return recurse(here - 1) + here;
}

static void handle(int signal, siginfo_t *info, void *context) {
    const unsigned char *code = (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    (void)signal, (void)info;
    // What ran into the guard is the call of one more, or that one's beginning: then it is there, and has not counted itself.
    if (*code != 0xe8) frames++;
    wait_here();
}

static void *run_over(void *unused) {
    (void)unused;
    stack_t other = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    sigaltstack(&other, NULL);
    sigaction(SIGSEGV, &action, NULL);
    most = 1l << 40;
    return (void *)recurse(most);
}

static void *run_deep(void *unused) {
    (void)unused;
    return (void *)recurse(most);
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc < 2) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!strcmp(argv[1], "over")) return run_over(NULL) != NULL;
    if (!strcmp(argv[1], "thread")) {
        if (pthread_create(&thread, NULL, run_over, NULL)) return 1;
        return pthread_join(thread, NULL);
    }
    most = atol(argv[1]);
    if (argc == 2) return (int)recurse(most);
    static pthread_barrier_t all;
    unsigned threads = (unsigned)atoi(argv[2]);
    pthread_barrier_init(&all, NULL, threads + 1);
    recursed = &all;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, run_deep, NULL)) return 1;
    pthread_barrier_wait(&all);
    wait_here();
}
