// A bare stop: seizes, interrupts, awaits and lets go of every thread, one after the other, and nothing else.
//
//   bare_stop PID ROUNDS MILLISECONDS
//
// That is the least that any tool does which stops a thread, and what it does to the target no tool that stops can avoid.
// It prints how many stops there were. A thread that does not stop within 5 min ends it: the kernel then lets go of all.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int rounds = atoi(arguments[2]);
    long stops = 0, milliseconds = atol(arguments[3]);
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/task", arguments[1]);
    for (int round = 0; round < rounds; round++) {
        DIR *directory = opendir(path);
        if (!directory) return 1;
        for (struct dirent *entry; (entry = readdir(directory));) {
            pid_t tid = atoi(entry->d_name);
            // One that has ended in the meantime cannot be seized.
            if (tid == 0 || ptrace(PTRACE_SEIZE, tid, 0, 0)) continue;
            alarm(300);
            if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) || waitpid(tid, NULL, __WALL) != tid) return 1;
            if (ptrace(PTRACE_DETACH, tid, 0, 0)) return 1;
            stops++;
        }
        alarm(0);
        closedir(directory);
        nanosleep(&pause, NULL);
    }
    printf("%ld\n", stops);
    return 0;
}
