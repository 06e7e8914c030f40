// Forks a worker, prints its pid, and forks another when its standard input ends, as servers that fork workers beforehand do.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int worker(void) {
    int pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        for (;;) pause();
    }
    return pid;
}

int main(void) {
    char byte;
    signal(SIGCHLD, SIG_IGN);
    int first = worker();
    printf("ready\n%d\n", first);
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {}
    int second = worker();
    printf("%d\n", second);
    fflush(stdout);
    pause();
    return 0;
}
