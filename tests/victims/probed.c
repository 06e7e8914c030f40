// Two functions whose return addresses a tracer replaces, each called directly by another one, and a third that is called through a
// pointer; the innermost function pauses or, with an argument, polls.
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

static volatile int kept;
static int polls = -1;
static struct epoll_event event;

__attribute__((noinline)) static void waits(void) {
    if (polls < 0) while (pause()) {}
    else while (epoll_wait(polls, &event, 1, -1) < 0) {}
}

__attribute__((noinline)) int probed_inner(int n) {
    waits();
    kept = n;
    return n + 1;
}

__attribute__((noinline)) static int middle(int n) {
    volatile char room[200];
    room[n] = 1;
    kept = n + 1;
    int result = probed_inner(n);
    kept = result + room[n];
    return result;
}

__attribute__((noinline)) int probed_outer(int n) {
    int result = middle(n);
    kept = result;
    return result + 2;
}

__attribute__((noinline)) static int calls_probed(int n) {
    puts("once more");
    int result = probed_outer(n);
    kept = result;
    return result + 3;
}

int main(int argc, char **argv) {
    if (argc > 1) polls = epoll_create1(0);
    (void)argv;
    puts("ready");
    fflush(stdout);
    int result = calls_probed(argc);
    kept = result;
    return 0;
}
