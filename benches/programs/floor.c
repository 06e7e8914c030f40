// The floor: nothing but the system calls that holding and copying a thread takes, in C.
//
//   floor PID one|all ROUNDS PAUSE
//
// Prints for each round the hold of each thread in nanoseconds, then "window" and how long it was from the first
// PTRACE_INTERRUPT to after the last PTRACE_DETACH. A hold is counted from before PTRACE_INTERRUPT until after
// PTRACE_DETACH, as hangsnap counts it. PAUSE microseconds pass from one round to the next, so that caches are as cold
// as a sampler finds them.
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, LIMIT = 64 * 1024 };
static pid_t tids[MOST];
static uint64_t begun[MOST], held[MOST];
static char *arena;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int list(const char *pid) {
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory)) && count < MOST;)
        if (entry->d_name[0] != '.') tids[count++] = atoi(entry->d_name);
    if (directory) closedir(directory);
    return count;
}

static void copy(pid_t tid, pid_t process, char *to) {
    struct user_regs_struct registers;
    struct iovec set = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &set)) return;
    uint64_t from = registers.rsp - 128, end = registers.fs_base > from ? registers.fs_base : from + 16384;
    size_t length = end - from < LIMIT ? end - from : 16384;
    struct iovec local = {to, length}, remote = {(void *)from, length};
    process_vm_readv(process, &local, 1, &remote, 1, 0);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    pid_t process = atoi(argv[1]);
    int all = !strcmp(argv[2], "all"), rounds = atoi(argv[3]), status;
    size_t size = (size_t)MOST * (all ? 16384 : 0) + LIMIT;
    arena = malloc(size);
    if (!arena) return 1;
    memset(arena, 1, size);
    for (int round = 0; round < rounds; round++) {
        if (round) usleep((useconds_t)atoi(argv[4]));
        int count = list(argv[1]);
        if (all) {
            for (int i = 0; i < count; i++) ptrace(PTRACE_SEIZE, tids[i], 0, 0);
            for (int i = 0; i < count; i++) {
                begun[i] = now();
                ptrace(PTRACE_INTERRUPT, tids[i], 0, 0);
            }
            for (int i = 0; i < count; i++) waitpid(tids[i], &status, __WALL);
            for (int i = 0; i < count; i++) copy(tids[i], process, arena + (size_t)i * 16384);
            for (int i = 0; i < count; i++) {
                ptrace(PTRACE_DETACH, tids[i], 0, 0);
                held[i] = now() - begun[i];
            }
        } else {
            for (int i = 0; i < count; i++) {
                ptrace(PTRACE_SEIZE, tids[i], 0, 0);
                begun[i] = now();
                ptrace(PTRACE_INTERRUPT, tids[i], 0, 0);
                waitpid(tids[i], &status, __WALL);
                copy(tids[i], process, arena);
                ptrace(PTRACE_DETACH, tids[i], 0, 0);
                held[i] = now() - begun[i];
            }
        }
        uint64_t window = count ? now() - begun[0] : 0;
        for (int i = 0; i < count; i++) printf("%lu\n", held[i]);
        printf("window %lu\n", window);
    }
}
