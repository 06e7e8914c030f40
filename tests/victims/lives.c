// What a process may do while it is looked at. Each way of life waits for a byte on standard input before every step it
// takes, so that the test decides when.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static int allowed, lingering, started;

static void step(void) {
    char byte;
    if (read(0, &byte, 1) != 1) _exit(0);
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

// Waits until so many threads may end.
__attribute__((noinline)) static void *linger(void *argument) {
    pthread_mutex_lock(&gate);
    lingering++;
    pthread_cond_signal(&arrived);
    while (allowed < (int)(long)argument) pthread_cond_wait(&opened, &gate);
    pthread_mutex_unlock(&gate);
    return NULL;
}

static pthread_t start(long number) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, linger, (void *)number)) abort();
    // It gives the gate back by waiting: from then on it is where the test looks for it.
    pthread_mutex_lock(&gate);
    started++;
    while (lingering < started) pthread_cond_wait(&arrived, &gate);
    pthread_mutex_unlock(&gate);
    return thread;
}

static void ready(void) {
    say("ready");
    step();
}

static void end_by_itself(void) { ready(); }

static void execute(char *program) {
    start(1);
    ready();
    execl(program, program, "exit", NULL);
    abort();
}

static void *execute_in_thread(void *program) {
    step();
    execl(program, program, "exit", NULL);
    abort();
}

// A thread that is not the first one executes: it takes over the id of the first.
static void execute_from_thread(char *program) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, execute_in_thread, program)) abort();
    say("ready");
    pause();
}

static void fork_child(void) {
    ready();
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    printf("%d\n", child);
    say("forked");
    step();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void make_daemon(void) {
    ready();
    pid_t child = fork();
    if (child == 0) {
        setsid();
        // Whoever waits for the end of the output must not wait for the daemon, and the daemon must not outlive a test
        // that failed.
        fclose(stdout);
        alarm(3600);
        pause();
        _exit(0);
    }
    printf("%d\n", child);
    say("forked");
    step();
}

static void grow_and_shrink(void) {
    pthread_t threads[20];
    ready();
    for (long number = 0; number < 20; number++) threads[number] = start(number < 10 ? 1 : 2);
    say("grown");
    for (int round = 1; round <= 2; round++) {
        step();
        pthread_mutex_lock(&gate);
        allowed = round;
        pthread_cond_broadcast(&opened);
        pthread_mutex_unlock(&gate);
        for (int number = 0; number < 10; number++) pthread_join(threads[(round - 1) * 10 + number], NULL);
        say("shrunk");
    }
    step();
}

static void *live_on(void *argument) {
    ready();
    say("over");
    exit((int)(long)argument);
}

static void leave_first(void) {
    pthread_t thread;
    start(1);
    if (pthread_create(&thread, NULL, live_on, NULL)) abort();
    pthread_exit(NULL);
}

static void *borrow(void *argument) {
    (void)argument;
    // The parent sleeps uninterruptibly until the child ends, which is when the test says so, or soon enough anyway.
    pid_t child = vfork();
    if (child == 0) {
        alarm(3600);
        step();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("over");
    return NULL;
}

static void sleep_uninterruptibly(void) {
    pthread_t thread;
    start(1);
    start(1);
    if (pthread_create(&thread, NULL, borrow, NULL)) abort();
    say("ready");
    pthread_join(thread, NULL);
}

int main(int count, char **arguments) {
    const char *life = count > 1 ? arguments[1] : "";
    if (!strcmp(life, "exit")) end_by_itself();
    else if (!strcmp(life, "exec")) execute(arguments[2]);
    else if (!strcmp(life, "exec-from-thread")) execute_from_thread(arguments[2]);
    else if (!strcmp(life, "fork")) fork_child();
    else if (!strcmp(life, "daemon")) make_daemon();
    else if (!strcmp(life, "threads")) grow_and_shrink();
    else if (!strcmp(life, "first-leaves")) leave_first();
    else if (!strcmp(life, "vfork")) sleep_uninterruptibly();
    else return 1;
    return 0;
}
