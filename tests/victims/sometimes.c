// A function that takes stack of any size only now and then, called through a pointer, in a call that is read in place: with an
// argument it has taken some, without it has not.
#include <alloca.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

static volatile int kept;
static int polls;
static struct epoll_event event;

__attribute__((noinline)) static void waits(void) {
    while (epoll_wait(polls, &event, 1, -1) < 0) {}
}

__attribute__((noinline)) static int sometimes(size_t n) {
    char buffer[64], *room = buffer;
    if (n > sizeof buffer) room = alloca(n);
    memset(room, 3, n);
    waits();
    kept = room[n - 1];
    return kept;
}

__attribute__((noinline)) static int in_a_loop(size_t n) {
    char *last = 0;
    for (size_t i = 0; i < n; i++) {
        char *room = alloca(i + 16);
        room[0] = (char)i;
        last = room;
    }
    int result = sometimes(n);
    kept = last[0] + result;
    return kept;
}

static int (*volatile pointer)(size_t) = in_a_loop;

__attribute__((noinline)) static int calls_through(size_t n) {
    int result = pointer(n);
    kept = result;
    return result + 1;
}

int main(int argc, char **argv) {
    (void)argv;
    polls = epoll_create1(0);
    puts("ready");
    fflush(stdout);
    int result = calls_through(argc > 1 ? 500 : 40);
    kept = result;
    return 0;
}
