// Mutexes: threads that wait for each other's, for their own, or for one that is held for an hour.
//
//   mutexes abba|ring|errorcheck|recursive|pi    each thread holds one and waits for the next one's
//   mutexes twice                                a thread takes a normal mutex that it holds
//   mutexes joined                               the same, and main has its address and waits for the thread's end
//   mutexes convoy                               30 wait for one whose holder sleeps
//   mutexes chain      A waits for B, B for C, and C reads from a pipe that stays empty
#include "truth.h"

static pthread_mutex_t locks[3];
static pthread_barrier_t all_hold;
static int count = 2, ends[2];
static char empty;

static void *member(void *argument) {
    intptr_t own = (intptr_t)argument;
    pthread_mutex_lock(&locks[own]);
    meet_at(&all_hold);
    pthread_mutex_lock(&locks[(own + 1) % count]);
    return NULL;
}

static void *twice(void *argument) {
    pthread_mutex_lock(&locks[0]);
    pthread_mutex_lock(&locks[0]);
    return argument;
}

static void *holder(void *argument) {
    pthread_mutex_lock(&locks[0]);
    pthread_barrier_wait(&all_hold);
    nanosleep(&(struct timespec){HOUR, 0}, NULL);
    pthread_mutex_unlock(&locks[0]);
    return argument;
}

static void *waiter(void *argument) {
    pthread_mutex_lock(&locks[0]);
    pthread_mutex_unlock(&locks[0]);
    return argument;
}

// Takes its own and then the next one's; the last one reads from the pipe.
static void *linked(void *argument) {
    intptr_t own = (intptr_t)argument;
    pthread_mutex_lock(&locks[own]);
    meet_at(&all_hold);
    if (own < 2) pthread_mutex_lock(&locks[own + 1]);
    else must(read(ends[0], &empty, 1) == 1, "read");
    return NULL;
}

// Of mutexes that hand on priority the kernel refuses the wait that closes the cycle. glibc lets
// that thread sleep for ever on a word of its own stack then: there is a cycle, though one of its
// waits is not to be seen any more.
static void cycle(void) {
    until_passed(count);
    for (int i = 0; i < count; i++) until_in(tid_of(i), SYS_futex);
    until_in(getpid(), SYS_futex);
    say("kind deadlock\n");
    for (int i = 0; i < count; i++) say("accused %d\nresource mutex %p\n", tid_of(i), (void *)&locks[i]);
}

static void itself(void) {
    until_in(tid_of(0), SYS_futex);
    say("kind self-deadlock\naccused %d\nholder %d\nresource mutex %p\n", tid_of(0), tid_of(0), (void *)&locks[0]);
}

static void convoy(void) {
    for (int i = 1; i <= 30; i++) until_in(tid_of(i), SYS_futex);
    until_in(tid_of(0), SYS_clock_nanosleep);
    say("kind convoy\naccused %d\nholder %d\nresource mutex %p\n", tid_of(0), tid_of(0), (void *)&locks[0]);
}

static void chain(void) {
    until_passed(count);
    until_in(tid_of(0), SYS_futex);
    until_in(tid_of(1), SYS_futex);
    until_in(tid_of(2), SYS_read);
    say("kind convoy\naccused %d\nholder %d\nresource mutex %p\n", tid_of(2), tid_of(2), (void *)&locks[2]);
}

int main(int arguments, char **argument) {
    const char *which = arguments > 1 ? argument[1] : "abba";
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    if (!strcmp(which, "errorcheck")) pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    if (!strcmp(which, "recursive")) pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    if (!strcmp(which, "pi")) must(!pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT), "inheritance");
    for (int i = 0; i < 3; i++) must(!pthread_mutex_init(&locks[i], &kind), "pthread_mutex_init");

    int is_chain = !strcmp(which, "chain"), is_joined = !strcmp(which, "joined"), is_twice = is_joined || !strcmp(which, "twice"), is_convoy = !strcmp(which, "convoy");
    pthread_mutex_t *volatile kept = is_joined ? &locks[0] : NULL;
    if (is_chain) must(!pipe(ends), "pipe");
    if (is_chain || !strcmp(which, "ring")) count = 3;
    pthread_barrier_init(&all_hold, NULL, is_convoy ? 2 : (unsigned)count);
    herald(is_chain ? chain : is_twice ? itself : is_convoy ? convoy : cycle);
    pthread_t first = start(0, is_chain ? linked : is_twice ? twice : is_convoy ? holder : member);
    if (is_convoy) pthread_barrier_wait(&all_hold);
    int last = is_convoy ? 30 : is_twice ? 0 : count - 1;
    for (int i = 1; i <= last; i++) start(i, is_chain ? linked : is_convoy ? waiter : member);
    pthread_join(first, NULL);
    return kept != NULL;
}
