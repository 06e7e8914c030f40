// Stacks whose way out is lost, as stack switchers and memory errors leave them. Further out lie frames of functions that have not
// called, in order, what the thread is in. It blocks in a call that is read in place by default, below a function that finds
// its caller by a frame pointer.
//   bottom    the function that began the present stack returns to nowhere
//   waiting   so does the very function that waits
#include <alloca.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static volatile int kept;
static int polls;
static int loses_own;
static struct epoll_event event;

// Where nothing is mapped.
static void lose(void *frame) { ((volatile uintptr_t *)frame)[1] = (uintptr_t)1 << 32 | 1; }

__attribute__((noinline)) static int waits(int n) {
#ifdef ROOM
    char *room = alloca(n * 24 + 40);
    room[n] = 1;
#endif
    if (loses_own) lose(__builtin_frame_address(0));
    while (epoll_wait(polls, &event, 1, -1) < 0) {}
    _exit(n);
}

__attribute__((noinline)) static int own_work(int n) {
    int result = waits(n);
    kept = result;
    return result + 1;
}

__attribute__((noinline)) static void begins_stack(int n) {
    if (!loses_own) lose(__builtin_frame_address(0));
    kept = own_work(n);
    _exit(0);
}

typedef int (*step)(int);
static volatile step next;

__attribute__((noinline)) static int somebody_else(int n) {
    char room[90];
    memset(room, n, sizeof room);
    begins_stack(n);
    return room[n];
}

__attribute__((noinline)) static int by_pointer(int n) {
    int result = next(n);
    kept = result;
    return result + 1;
}

int main(int argc, char **argv) {
    polls = epoll_create1(0);
    loses_own = argc > 1 && !strcmp(argv[1], "waiting");
    next = somebody_else;
    puts("ready");
    fflush(stdout);
    step first = by_pointer;
    __asm__("" : "+r"(first));
    int result = first(argc);
    kept = result;
    return 0;
}
