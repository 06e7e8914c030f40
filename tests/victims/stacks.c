/*
 * Threads parked in every kind of wait, at known depths, for comparing stack walkers.
 *
 * `stacks N` starts N - 1 threads besides the main one. Each is named KIND-DEPTH: below it there are DEPTH calls of
 * `descend`, and then `wait_in_KIND`. `ready` is printed once each has announced itself and sleeps in the kernel.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A function that stays a function, called with what looks like any arguments. */
#define PLAIN __attribute__((noipa, used))
/* Something to do after a call, so that it does not become a jump. */
#define AFTER_CALL() atomic_fetch_add(&after_call, 1)

static atomic_int arrived, after_call, futex_word;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t write_held = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static int pipe_ends[2], epoll_descriptor, listener, queue;
static pthread_t first;

/* Calls that a tracer interrupts fail with EINTR; the thread then goes back to where it was. */

PLAIN static void wait_in_cond(void) {
    pthread_mutex_lock(&cond_mutex);
    atomic_fetch_add(&arrived, 1);
    for (;;)
        pthread_cond_wait(&never, &cond_mutex);
}

PLAIN static void wait_in_mutex(void) {
    atomic_fetch_add(&arrived, 1);
    pthread_mutex_lock(&held);
    AFTER_CALL();
}

PLAIN static void wait_in_rwlock(void) {
    atomic_fetch_add(&arrived, 1);
    pthread_rwlock_rdlock(&write_held);
    AFTER_CALL();
}

PLAIN static void wait_in_barrier(void) {
    atomic_fetch_add(&arrived, 1);
    pthread_barrier_wait(&barrier);
    AFTER_CALL();
}

PLAIN static void wait_in_sem(void) {
    atomic_fetch_add(&arrived, 1);
    while (sem_wait(&semaphore) != 0)
        ;
}

PLAIN static void wait_in_poll(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    atomic_fetch_add(&arrived, 1);
    while (poll(&entry, 1, -1) < 0)
        ;
}

PLAIN static void wait_in_epoll(void) {
    struct epoll_event event;
    atomic_fetch_add(&arrived, 1);
    while (epoll_wait(epoll_descriptor, &event, 1, -1) < 0)
        ;
}

PLAIN static void wait_in_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    atomic_fetch_add(&arrived, 1);
    while (select(pipe_ends[0] + 1, &set, NULL, NULL, NULL) < 0)
        ;
}

PLAIN static void wait_in_sleep(void) {
    struct timespec left = {.tv_sec = 1000000};
    atomic_fetch_add(&arrived, 1);
    while (nanosleep(&left, &left) != 0)
        ;
}

PLAIN static void wait_in_read(void) {
    char byte;
    atomic_fetch_add(&arrived, 1);
    while (read(pipe_ends[0], &byte, 1) < 0)
        ;
}

PLAIN static void wait_in_accept(void) {
    atomic_fetch_add(&arrived, 1);
    while (accept(listener, NULL, NULL) < 0)
        ;
}

PLAIN static void wait_in_futex(void) {
    atomic_fetch_add(&arrived, 1);
    for (;;)
        syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

PLAIN static void wait_in_pause(void) {
    atomic_fetch_add(&arrived, 1);
    for (;;)
        pause();
}

PLAIN static void wait_in_sigwait(void) {
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    atomic_fetch_add(&arrived, 1);
    for (;;)
        sigwait(&set, &number);
}

PLAIN static void wait_in_join(void) {
    atomic_fetch_add(&arrived, 1);
    pthread_join(first, NULL);
    AFTER_CALL();
}

PLAIN static void wait_in_msgrcv(void) {
    struct {
        long type;
        char text[8];
    } message;
    atomic_fetch_add(&arrived, 1);
    while (msgrcv(queue, &message, sizeof message.text, 0, 0) < 0)
        ;
}

/* Another function of the program between the C library and the wait. */
PLAIN static int compare(const void *left, const void *right) {
    wait_in_futex();
    AFTER_CALL();
    return *(const int *)left - *(const int *)right;
}

PLAIN static void wait_in_qsort(void) {
    int values[] = {5, 1, 4, 2, 3, 9, 7};
    qsort(values, sizeof values / sizeof *values, sizeof *values, compare);
    AFTER_CALL();
}

PLAIN __attribute__((noreturn)) static void never_returns(void) {
    wait_in_futex();
    abort();
}

/* The return address lies behind this function's last instruction: in the next one. */
PLAIN __attribute__((noreturn)) static void wait_in_noreturn(void) {
    never_returns();
}

PLAIN static void follows_noreturn(void) {
    AFTER_CALL();
}

PLAIN static void in_handler(int number, siginfo_t *information, void *context) {
    (void)number, (void)information, (void)context;
    wait_in_futex();
    AFTER_CALL();
}

PLAIN static void wait_in_handler(void) {
    pthread_kill(pthread_self(), SIGUSR1);
    AFTER_CALL();
}

PLAIN static void wait_in_fault(void) {
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
    AFTER_CALL();
}

/* It faults at its very first instruction: the interrupted address is exact, one less would be another function. */
void fault_at_entry(int *nowhere);
__asm__(".text\n"
        ".globl fault_at_entry\n"
        ".type fault_at_entry, @function\n"
        "fault_at_entry:\n"
        ".cfi_startproc\n"
        "    movl $1, (%rdi)\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size fault_at_entry, . - fault_at_entry\n");

PLAIN static void wait_in_entry(void) {
    fault_at_entry(NULL);
    AFTER_CALL();
}

PLAIN static void wait_in_altstack(void) {
    stack_t stack = {.ss_size = 1 << 16};
    stack.ss_sp = malloc(stack.ss_size);
    sigaltstack(&stack, NULL);
    pthread_kill(pthread_self(), SIGALRM);
    AFTER_CALL();
}

struct kind {
    const char *name;
    void (*wait)(void);
};

/* The first is joined by those that join; there is one of it in every run. */
static const struct kind kinds[] = {
    {"pause", wait_in_pause},       {"cond", wait_in_cond},       {"noreturn", wait_in_noreturn},
    {"qsort", wait_in_qsort},       {"handler", wait_in_handler}, {"poll", wait_in_poll},
    {"mutex", wait_in_mutex},       {"join", wait_in_join},       {"fault", wait_in_fault},
    {"sem", wait_in_sem},           {"epoll", wait_in_epoll},     {"select", wait_in_select},
    {"sleep", wait_in_sleep},   {"read", wait_in_read},       {"accept", wait_in_accept},
    {"futex", wait_in_futex},       {"sigwait", wait_in_sigwait}, {"msgrcv", wait_in_msgrcv},
    {"entry", wait_in_entry},       {"rwlock", wait_in_rwlock},   {"barrier", wait_in_barrier},
    {"altstack", wait_in_altstack},
};

struct job {
    const struct kind *kind;
    int depth;
};

PLAIN static int descend(const struct job *job, int depth) {
    if (depth == 0)
        job->kind->wait();
    else
        descend(job, depth - 1);
    return AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    struct job *job = argument;
    descend(job, job->depth - 1);
    AFTER_CALL();
    return NULL;
}

static void check(int failed, const char *what) {
    if (failed) {
        perror(what);
        exit(1);
    }
}

/* Whether every thread but this one sleeps. */
static int all_sleep(void) {
    DIR *tasks = opendir("/proc/self/task");
    check(tasks == NULL, "/proc/self/task");
    int sleep = 1;
    for (struct dirent *entry; sleep && (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
            continue;
        char path[64], text[256] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        check(file == NULL, path);
        check(fgets(text, sizeof text, file) == NULL, path);
        fclose(file);
        sleep = strrchr(text, ')')[2] == 'S';
    }
    closedir(tasks);
    return sleep;
}

static void prepare(void) {
    /* The queue ends with its namespace; otherwise it would outlive the process. */
    check(unshare(CLONE_NEWIPC) != 0, "unshare");
    queue = msgget(IPC_PRIVATE, 0600);
    check(queue < 0, "msgget");
    check(pipe(pipe_ends) != 0, "pipe");
    epoll_descriptor = epoll_create1(0);
    check(epoll_descriptor < 0, "epoll_create1");
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* A socket bound to no name gets one of its own. */
    check(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0, "bind");
    check(listen(listener, 1) != 0, "listen");
    sem_init(&semaphore, 0, 0);
    pthread_barrier_init(&barrier, NULL, 100000);
    pthread_mutex_lock(&held);
    pthread_rwlock_wrlock(&write_held);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct sigaction action = {.sa_sigaction = in_handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    action.sa_flags |= SA_ONSTACK;
    sigaction(SIGALRM, &action, NULL);
    follows_noreturn();
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) - 1 : 9;
    prepare();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 18);
    struct job *jobs = calloc(threads, sizeof *jobs);
    for (int i = 0; i < threads; i++) {
        size_t kind_count = sizeof kinds / sizeof *kinds;
        jobs[i].kind = &kinds[i % kind_count];
        jobs[i].depth = 1 + (i * 7) % 23;
        pthread_t thread;
        int error = pthread_create(&thread, &attributes, run_thread, &jobs[i]);
        errno = error;
        check(error != 0, "pthread_create");
        if (i == 0)
            first = thread;
        char name[16];
        snprintf(name, sizeof name, "%s-%d", jobs[i].kind->name, jobs[i].depth);
        pthread_setname_np(thread, name);
    }
    while (atomic_load(&arrived) < threads || !all_sleep())
        sched_yield();
    puts("ready");
    fflush(stdout);
    pthread_join(first, NULL);
    return 0;
}
