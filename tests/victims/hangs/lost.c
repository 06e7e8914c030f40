// Threads that nothing will wake: what could have woken them has passed, waits itself, or does not
// exist.
//
//   lost condvar        signalled before anything waited, and no predicate is asked
//   lost word           a futex word was changed, and no wake-up sent
//   lost barrier        three were to come, two came
//   lost semaphore      all workers want a slot that only they could give back
//   lost join           two threads join each other
#include "truth.h"
#include <semaphore.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t happened = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t three, both;
static sem_t slots;
static _Atomic int word;
static pthread_t threads[2];
static const char *which;

static void *wait_for_event(void *argument) {
    pthread_mutex_lock(&lock);
    pthread_cond_wait(&happened, &lock);
    pthread_mutex_unlock(&lock);
    return argument;
}

static void *wait_for_word(void *argument) {
    while (!word) syscall(SYS_futex, &word, 128, 0, NULL, NULL, 0);
    return argument;
}

static void *meet(void *argument) {
    pthread_barrier_wait(&three);
    return argument;
}

static void *use_slot(void *argument) {
    sem_wait(&slots);
    sem_post(&slots);
    return argument;
}

static void *join_other(void *argument) {
    threads[(intptr_t)argument] = pthread_self();
    meet_at(&both);
    pthread_join(threads[!argument], NULL);
    return argument;
}

static int is(const char *name) { return !strcmp(which, name); }

static void truth(void) {
    int count = is("semaphore") ? 4 : is("barrier") || is("join") ? 2 : 1;
    if (is("join")) until_passed(count);
    for (int i = 0; i < count; i++) until_in(tid_of(i), SYS_futex);
    if (is("word")) word = 1;
    if (!is("join")) until_in(getpid(), SYS_futex);
    say("kind %s\n", is("semaphore") ? "pool-exhausted" : is("join") ? "deadlock" : "lost-wakeup");
    for (int i = 0; i < count; i++) say("accused %d\n", tid_of(i));
    if (is("condvar")) say("resource condvar %p\n", (void *)&happened);
    if (is("word")) say("resource futex %p\n", (void *)&word);
    if (is("barrier")) say("resource barrier %p\n", (void *)&three);
    if (is("semaphore")) say("resource semaphore %p\n", (void *)&slots);
    if (is("join")) say("resource thread %d\nresource thread %d\n", tid_of(0), tid_of(1));
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    which = argument[1];
    pthread_barrier_init(&three, NULL, 3);
    pthread_barrier_init(&both, NULL, 2);
    sem_init(&slots, 0, 0);
    pthread_cond_signal(&happened);
    herald(truth);
    void *(*work)(void *) = is("condvar") ? wait_for_event : is("word") ? wait_for_word : is("barrier") ? meet
        : is("semaphore") ? use_slot : join_other;
    pthread_t first = start(0, work);
    for (int i = 1; i < (is("semaphore") ? 4 : is("barrier") || is("join") ? 2 : 1); i++) start(i, work);
    if (is("join")) pause();
    pthread_join(first, NULL);
}
