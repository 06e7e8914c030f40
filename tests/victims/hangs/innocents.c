// Programs that only look as if they hung: some wait for work, some are made to resemble locks,
// some are busy.
//
//   innocents pool|epoll|sleepers|recursive             nothing to do
//   innocents word|stdio|forked|namespace               no lock, or nothing waits for it
//   innocents acceptors|handler|late|answered           others than it seems end the wait
//   innocents ordered|worked|turns|timed|polled|rwlock  all go on
#include "truth.h"
#include <sched.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/socket.h>

// As glibc lays out a mutex: a lock word, a count, the owner's tid. And its stdio locks: the owner
// is a pointer.
static struct { int lock; unsigned count; int owner; unsigned users; int kind; } word = {2, 1, 0, 1, 0};
static struct { int lock, count; void *owner; } stdio_like = {2, 1, NULL};
static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t slots;
static int listens[1];
static _Atomic int news;
static _Atomic long rounds;
static long expected[4] = {SYS_clock_nanosleep, SYS_pause, SYS_rt_sigtimedwait, SYS_accept};

static int listener(void) {
    int file = socket(AF_INET, SOCK_STREAM, 0);
    must(!listen(file, 8), "listen");
    return file;
}

static void *wait_for_work(void *argument) {
    pthread_mutex_lock(&locks[0]);
    for (;;) pthread_cond_wait(&work, &locks[0]);
    return argument;
}

static void *sleep_somehow(void *argument) {
    sigset_t some;
    int number;
    sigemptyset(&some), sigaddset(&some, SIGUSR1);
    switch ((intptr_t)argument) {
    case 0: sleep(HOUR); break;
    case 1: pause(); break;
    case 2: pthread_sigmask(SIG_BLOCK, &some, NULL), sigwait(&some, &number); break;
    default: accept(listener(), NULL, NULL);
    }
    return argument;
}

static void *idle(void *argument) {
    for (;;) pause();
    return argument;
}

static void *hold(void *argument) {
    pthread_mutex_lock(&locks[0]);
    for (;;) pause();
    return argument;
}

static void *wait_on(void *argument) {
    void *of = argument ? (void *)&stdio_like : (void *)&word;
    for (;;) syscall(SYS_futex, of, 128, 2, NULL, NULL, 0);
    return NULL;
}

static void some_work(void) { for (volatile int i = 0; i < 20000; i++) {} }

static void *in_order(void *argument) {
    for (;; rounds++) {
        pthread_mutex_lock(&locks[0]), pthread_mutex_lock(&locks[1]);
        some_work();
        pthread_mutex_unlock(&locks[1]), pthread_mutex_unlock(&locks[0]);
    }
    return argument;
}

static void *work_in_pieces(void *argument) {
    for (;; rounds++) {
        pthread_mutex_lock(&locks[0]);
        usleep(50000);
        pthread_mutex_unlock(&locks[0]);
        sched_yield();
    }
    return argument;
}

static void *take_turns(void *argument) {
    for (;; rounds++) {
        pthread_mutex_lock(&locks[0]);
        usleep(600000);
        pthread_mutex_unlock(&locks[0]);
        usleep(1000);
    }
    return argument;
}

static void *wait_for_a_while(void *argument) {
    for (;; rounds++) {
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += 100000000;
        if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
        sem_timedwait(&slots, &end);
    }
    return argument;
}

static void *poll_always(void *argument) {
    struct epoll_event event;
    for (int set = epoll_create1(0);; rounds++) epoll_wait(set, &event, 1, 0), sched_yield();
    return argument;
}

static void *read_or_write(void *argument) {
    for (;; rounds++) {
        argument ? pthread_rwlock_rdlock(&rwlock) : pthread_rwlock_wrlock(&rwlock);
        some_work();
        pthread_rwlock_unlock(&rwlock);
        usleep(1000);
    }
    return NULL;
}

static void start_all(int first, int last, void *(*what)(void *), long call) {
    for (int i = first; i <= last; i++) start(i, what);
    for (int i = first; call && i <= last; i++) until_in(tid_of(i), call);
}

static void innocent(void) { say("kind none\n"), ready(); }

// Threads take turns at accepting connections: the one that does has the lock.
static void *accept_in_turn(void *argument) {
    pthread_mutex_lock(&locks[1]);
    accept(listens[0], NULL, NULL);
    return argument;
}

static void post(int number) {
    (void)number;
    sem_post(&slots);
}

// Its word changes long before it is woken.
static void *wait_for_news(void *argument) {
    while (!news) syscall(SYS_futex, &news, 128, 0, NULL, NULL, 0);
    return argument;
}

static void *answer_late(void *argument) {
    sleep(HOUR);
    must(write(*(int *)argument, "1", 1) == 1, "an answer");
    return argument;
}

// The other process waits for a command, and another of its threads will answer.
static void ask(void) {
    int commands[2], answers[2];
    char byte;
    must(!pipe(commands) && !pipe(answers), "pipes");
    pid_t child = forked();
    if (!child) {
        pthread_t thread;
        pthread_create(&thread, NULL, answer_late, &answers[1]);
        must(read(commands[0], &byte, 1) == 1, "a command");
    }
    close(answers[1]);
    until_in(child, SYS_read);
    say("target %d\ntarget %d\n", getpid(), child);
    innocent();
    must(read(answers[0], &byte, 1) == 1, "an answer");
}

int main(int arguments, char **argument) {
    must(arguments > 1, "an argument");
    const char *which = argument[1];
    int is_namespace = !strcmp(which, "namespace");
    if (is_namespace && syscall(SYS_unshare, 0x20000000)) {
        say("skipped no PID namespace can be made here: %s\nready\n", strerror(errno));
        return 0;
    }
    if (!strcmp(which, "forked") || is_namespace) {
        if (!is_namespace) start_all(0, 0, hold, SYS_pause);
        pid_t child = forked();
        if (!child && is_namespace) word.owner = (start(0, idle), tid_of(0)), wait_on(NULL);
        while (!child) pause();
        until_in(child, is_namespace ? SYS_futex : SYS_pause);
        say("target %d\n", child);
    } else if (!strcmp(which, "pool")) start_all(0, 3, wait_for_work, SYS_futex);
    else if (!strcmp(which, "sleepers")) {
        for (int i = 0; i < 4; i++) start_all(i, i, sleep_somehow, expected[i]);
    } else if (!strcmp(which, "word")) {
        start_all(0, 0, wait_on, SYS_futex);
        start_all(1, 1, idle, SYS_pause);
        word.owner = tid_of(1);
    } else if (!strcmp(which, "stdio")) {
        stdio_like.owner = (void *)pthread_self();
        start_all(1, 1, wait_on, SYS_futex);
    } else if (!strcmp(which, "recursive")) {
        pthread_mutex_t *lock = &(pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
        pthread_mutex_lock(lock), pthread_mutex_lock(lock);
        innocent();
        sleep(HOUR);
    } else if (!strcmp(which, "acceptors")) {
        listens[0] = listener();
        start_all(0, 0, accept_in_turn, SYS_accept), start_all(1, 3, accept_in_turn, SYS_futex);
    } else if (!strcmp(which, "handler")) {
        signal(SIGALRM, post);
        alarm(HOUR);
        innocent();
        for (;;) sem_wait(&slots);
    } else if (!strcmp(which, "late")) {
        start_all(0, 0, wait_for_news, SYS_futex);
        news = 1;
    } else if (!strcmp(which, "answered")) {
        ask();
    } else if (!strcmp(which, "ordered")) start_all(0, 7, in_order, 0);
    else if (!strcmp(which, "worked")) start_all(0, 2, wait_for_work, SYS_futex), start_all(3, 3, work_in_pieces, 0);
    else if (!strcmp(which, "turns")) start_all(0, 2, take_turns, 0);
    else if (!strcmp(which, "timed")) start_all(0, 2, wait_for_a_while, 0);
    else if (!strcmp(which, "polled")) start_all(0, 2, idle, SYS_pause), start_all(3, 3, poll_always, 0);
    else if (!strcmp(which, "rwlock")) start_all(0, 3, read_or_write, 0);
    else must(!strcmp(which, "epoll"), "a known argument");

    int goes_on = strstr("ordered worked turns timed polled rwlock", which) != NULL;
    while (goes_on && rounds < 3) a_moment();
    innocent();
    if (!strcmp(which, "pool")) accept(listener(), NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(0);
    epoll_ctl(set, EPOLL_CTL_ADD, listener(), &event);
    for (;;) strcmp(which, "epoll") ? pause() : epoll_wait(set, &event, 1, -1);
}
