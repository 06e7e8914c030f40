// Makes itself a daemon when its standard input ends: forks twice, with a session of its own between, and ends. With an argument
// the last process executes a program that sleeps. Prints the pid of what goes on.

#include <stdio.h>
#include <unistd.h>

int main(int count, char **words) {
    char byte;
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {}
    // The stream is closed and the pid is printed by the one that stays.
    if (fork()) _exit(0);
    setsid();
    if (fork()) _exit(0);
    printf("%d\n", getpid());
    fflush(stdout);
    if (count > 1) execlp("sleep", "sleep", "3600", (char *)0);
    pause();
    return 0;
}
