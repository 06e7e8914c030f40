// Read-write locks whose holder, or one of their holders, will not give them back.
//
//   rwlocks reader      a reader sleeps, a writer waits
//   rwlocks writer      a writer sleeps, four readers wait
//   rwlocks upgrade     a reader wants to write
#include "truth.h"

struct shop { pthread_rwlock_t lock; int sold; } shop = {PTHREAD_RWLOCK_INITIALIZER, 0};
static int want_readers;

__attribute__((noinline)) static void serve(struct shop *of) {
    sleep(HOUR);
    of->sold++;
}

__attribute__((noinline)) static void read_for_long(struct shop *of) {
    pthread_rwlock_rdlock(&of->lock);
    serve(of);
    pthread_rwlock_unlock(&of->lock);
}

__attribute__((noinline)) static void write_for_long(struct shop *of) {
    pthread_rwlock_wrlock(&of->lock);
    serve(of);
    pthread_rwlock_unlock(&of->lock);
}

__attribute__((noinline)) static void upgrade(struct shop *of) {
    pthread_rwlock_rdlock(&of->lock);
    pthread_rwlock_wrlock(&of->lock);
    of->sold++;
    pthread_rwlock_unlock(&of->lock);
}

static void *hold(void *argument) {
    (want_readers ? write_for_long : read_for_long)(&shop);
    return argument;
}

static void *both(void *argument) {
    upgrade(&shop);
    return argument;
}

static void *want(void *argument) {
    if (want_readers) pthread_rwlock_rdlock(&shop.lock);
    else pthread_rwlock_wrlock(&shop.lock);
    return argument;
}

static void convoy(void) {
    for (int i = 1; i <= (want_readers ? 4 : 1); i++) until_in(tid_of(i), SYS_futex);
    until_in(tid_of(0), SYS_clock_nanosleep);
    say("kind convoy\naccused %d\nholder %d\nresource rwlock %p\n", tid_of(0), tid_of(0), (void *)&shop.lock);
}

static void itself(void) {
    until_in(tid_of(0), SYS_futex);
    say("kind self-deadlock\naccused %d\nholder %d\nresource rwlock %p\n", tid_of(0), tid_of(0), (void *)&shop.lock);
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    int is_upgrade = !strcmp(argument[1], "upgrade");
    want_readers = !strcmp(argument[1], "writer");
    herald(is_upgrade ? itself : convoy);
    pthread_t first = start(0, is_upgrade ? both : hold);
    if (!is_upgrade) {
        until_in(tid_of(0), SYS_clock_nanosleep);
        for (int i = 1; i <= (want_readers ? 4 : 1); i++) start(i, want);
    }
    pthread_join(first, NULL);
}
