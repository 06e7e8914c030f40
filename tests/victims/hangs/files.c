// File locks that another process holds.
//
//   files flock|fcntl PATH      a child holds the lock and sleeps
//   files pair PATH PATH        two children hold one each and want the other's
#include "truth.h"
#include <sys/file.h>

static pid_t child;
static const char *path;

static void lock(const char *of, int by_fcntl) {
    int file = open(of, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(file >= 0, of);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    must(!(by_fcntl ? fcntl(file, F_SETLKW, &whole) : flock(file, LOCK_EX)), "the lock");
}

static void waits(void) {
    char text[64];
    until_in(child, SYS_pause);
    do kernel_says(getpid(), "syscall", text, sizeof text);
    while (strtol(text, NULL, 10) != SYS_flock && strtol(text, NULL, 10) != SYS_fcntl);
    until_in(getpid(), strtol(text, NULL, 10));
    say("kind waits-for-file-lock\naccused %d\nholder %d\nresource file %s\n", getpid(), child, path);
}

// A child that takes one lock, says so, and takes the other once it may.
static pid_t crossed(const char *first, const char *second, int say_so, int may) {
    char byte = 0;
    pid_t pid = forked();
    if (pid) return pid;
    lock(first, 0);
    must(write(say_so, &byte, 1) == 1 && read(may, &byte, 1) == 1, "a pipe");
    lock(second, 0);
    _exit(0);
}

int main(int arguments, char **argument) {
    must(arguments > 2, "arguments");
    int held[2], both[2];
    char bytes[2] = "";
    must(!pipe(held) && !pipe(both), "pipe");
    path = argument[2];
    if (!strcmp(argument[1], "pair")) {
        pid_t one = crossed(path, argument[3], held[1], both[0]), other = crossed(argument[3], path, held[1], both[0]);
        must(read(held[0], bytes, 1) == 1 && read(held[0], bytes, 1) == 1 && write(both[1], bytes, 2) == 2, "a pipe");
        until_in(one, SYS_flock);
        until_in(other, SYS_flock);
        say("target %d\ntarget %d\nkind deadlock\naccused %d\naccused %d\n", one, other, one, other);
        say("resource file %s\nresource file %s\n", path, argument[3]);
        ready();
        pause();
    }
    int by_fcntl = !strcmp(argument[1], "fcntl");
    if (!(child = forked())) {
        lock(path, by_fcntl);
        must(write(held[1], bytes, 1) == 1, "a pipe");
        for (;;) pause();
    }
    must(read(held[0], bytes, 1) == 1, "a pipe");
    herald(waits);
    lock(path, by_fcntl);
}
