// An event loop with so many descriptors in its epoll set that turns once a millisecond. For each line that it is sent it prints
// the longest turn since the last one, in nanoseconds.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments) {
    int descriptors = count > 1 ? atoi(arguments[1]) : 5000;
    struct rlimit limit = {(rlim_t)descriptors + 64, (rlim_t)descriptors + 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    int set = epoll_create1(0);
    for (int each = 0; each < descriptors; each++) {
        int event = eventfd(0, EFD_NONBLOCK);
        struct epoll_event wanted = {EPOLLIN, {.fd = event}};
        if (event < 0 || epoll_ctl(set, EPOLL_CTL_ADD, event, &wanted)) {
            printf("no room\nready\n");
            return 0;
        }
    }
    struct epoll_event input = {EPOLLIN, {.fd = 0}};
    epoll_ctl(set, EPOLL_CTL_ADD, 0, &input);
    printf("ready\n");
    fflush(stdout);
    int64_t longest = 0, last = now();
    for (;;) {
        struct epoll_event event;
        int found = epoll_wait(set, &event, 1, 1);
        int64_t turn = now();
        longest = turn - last > longest ? turn - last : longest;
        last = turn;
        char line[64];
        if (found == 1) {
            if (read(0, line, sizeof line) <= 0) {
                return 0;
            }
            printf("%lld\n", (long long)longest);
            fflush(stdout);
            longest = 0;
            last = now();
        }
    }
}
