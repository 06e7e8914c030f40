// Mutexes whose holder is not another living thread of the process that waits.
//
//   owners exited     it ended with the mutex held
//   owners forked     a process forked while it held the mutex, and the child wants it
//   owners shared     it is a thread of another process, which sleeps
//   owners killed     it was a thread of another process, which was killed
#include "truth.h"
#include <sys/mman.h>

struct shared { pthread_mutex_t lock; _Atomic int holder; };
static struct shared *shared;

static void *hold(void *argument) {
    pthread_mutex_lock(&shared->lock);
    shared->holder = own_tid();
    nanosleep(&(struct timespec){HOUR, 0}, NULL);
    return argument;
}

static void *leave(void *argument) {
    pthread_mutex_lock(&shared->lock);
    shared->holder = own_tid();
    return argument;
}

static void *want(void *argument) {
    pthread_mutex_lock(&shared->lock);
    return argument;
}

static void abandoned(void) {
    until_in(tid_of(1), SYS_futex);
    say("kind abandoned-lock\naccused %d\nholder %d\n", tid_of(1), shared->holder);
    say("resource mutex %p\n", (void *)&shared->lock);
}

static void elsewhere(void) {
    until_in(tid_of(1), SYS_futex);
    until_in(shared->holder, SYS_clock_nanosleep);
    say("kind convoy\naccused %d\nholder %d\n", shared->holder, shared->holder);
    say("resource mutex %p\n", (void *)&shared->lock);
}

static void in_the_child(pid_t child) {
    until_in(child, SYS_futex);
    say("target %d\nkind abandoned-lock\naccused %d\nholder %d\n", child, child, shared->holder);
    say("resource mutex %p\n", (void *)&shared->lock);
    ready();
    pause();
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    const char *which = argument[1];
    int is_private = !strcmp(which, "forked");
    int flags = MAP_ANONYMOUS | (is_private ? MAP_PRIVATE : MAP_SHARED);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, flags, -1, 0);
    must(shared != MAP_FAILED, "mmap");
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    int is_shared = !strcmp(which, "shared") || !strcmp(which, "killed");
    if (is_shared) pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->lock, &kind);

    pid_t child = 0;
    if (!strcmp(which, "exited")) {
        pthread_join(start(0, leave), NULL);
        until_gone(tid_of(0));
    } else if (is_private) {
        start(0, hold);
        until_in(tid_of(0), SYS_clock_nanosleep);
        if (!(child = forked())) pthread_mutex_lock(&shared->lock);
        in_the_child(child);
    } else if (!(child = forked())) {
        pthread_join(start(0, hold), NULL);
    } else {
        while (!shared->holder) a_moment();
        until_in(shared->holder, SYS_clock_nanosleep);
    }
    if (!strcmp(which, "killed")) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    herald(strcmp(which, "shared") ? abandoned : elsewhere);
    pthread_join(start(1, want), NULL);
}
