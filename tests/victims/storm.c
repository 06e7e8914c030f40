// A storm: threads that are born and die, numbered signals, timers and children, each of them counted on both sides.
//
//   storm FILE        250 threads born and joined a second, 11,000 queued signals a second from another process to
//                     threads that wait in different ways and to the process, two timers of 1 kHz, 50 children a second
//   storm FILE exec   some 200 times a second it executes itself while it has threads, from its first one and from
//                     another in turn, with a queued signal pending
//
// FILE is shared with the test and holds, for each kind, three 64-bit numbers: given, taken, wrong. When standard input
// ends, everything that is under way is let arrive, for at most five minutes; then a line for each kind and "done"
// follow. Everything goes by the clock and catches up when it was late, with pauses in between: it must leave the
// machine room. A system call that a stop ends with EINTR is called again: that table is calls.c's, here only what gets
// lost counts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLEEPS, WORKS, READS_ON_OTHER_STACK, WAITS_FOR_SIGNALS, READS_SIGNALFD, RECEIVERS };
enum { TO_PROCESS = RECEIVERS, STREAMS };
enum { BIRTHS = STREAMS, CHILDREN, CHILD_SIGNALS, TICKS, THREAD_TICKS, EXECUTIONS, KINDS };
static const char *const names[KINDS] = {
    "to-sleeper",    "to-worker", "to-other-stack", "to-sigwaitinfo", "to-signalfd",   "to-process", "births",
    "children",      "SIGCHLD",   "SIGALRM",        "thread-timer",   "executions",
};
enum { AT_ONCE = 8, IN_FLIGHT = 1000, SERIALS = 1 << 26 };
enum { MILLISECOND = 1000000, SECOND = 1000000000 };

struct tally {
    _Atomic uint64_t given, taken, wrong;
};
static struct tally *tallies;
// Shared with the process that sends: whom it sends to, and when to end.
static struct {
    pid_t process, receivers[RECEIVERS];
    _Atomic int ready, begin, over;
} *orders;
static _Atomic uint64_t seen[SERIALS / 64];
static _Atomic int over;
static pid_t sender;
static uint64_t timers_began;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t when) {
    struct timespec time = {(time_t)(when / SECOND), (long)(when % SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {}
}

static void work(int turns) {
    for (volatile int i = 0; i < turns; i++) {}
}

// Every bit of a value is checked: the serial number, and its complement above it.
static uint64_t value_of(uint64_t serial) { return serial | (~serial << 32); }

static void check(struct tally *tally, int ok) {
    if (!ok) tally->wrong++;
}

// ---- queued signals: to one thread each in order, to the process each once ----

static __thread int own = -1;

static void take(int receiver, uint64_t value, int code, pid_t from) {
    struct tally *tally = &tallies[receiver];
    uint64_t expected = ++tally->taken;
    check(tally, value == value_of(expected) && code == SI_QUEUE && from == sender);
}

static void handle_own(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    int before = errno;
    take(own, (uint64_t)info->si_value.sival_ptr, info->si_code, info->si_pid);
    errno = before;
}

static void handle_any(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    struct tally *tally = &tallies[TO_PROCESS];
    uint64_t value = (uint64_t)info->si_value.sival_ptr, serial = (uint32_t)value % SERIALS, bit = 1ul << serial % 64;
    tally->taken++;
    // Two threads may handle two of them at the same time, so what is checked is that none comes twice.
    int twice = (seen[serial / 64] & bit) != 0 || (atomic_fetch_or(&seen[serial / 64], bit) & bit) != 0;
    check(tally, !twice && value == value_of(serial) && info->si_code == SI_QUEUE && info->si_pid == sender);
}

static int queue(int stream, uint64_t serial) {
    siginfo_t info = {0};
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)value_of(serial);
    if (stream == TO_PROCESS) return sigqueue(orders->process, SIGRTMIN + 1, info.si_value);
    return (int)syscall(SYS_rt_tgsigqueueinfo, orders->process, orders->receivers[stream], SIGRTMIN, &info);
}

// The other process: 11 signals to each stream in turn, every 6 ms.
static void send_signals(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!orders->begin) sleep_until(now() + MILLISECOND);
    for (uint64_t next = now(); !orders->over; sleep_until(next += 6 * MILLISECOND)) {
        for (int i = 0; i < 11 * STREAMS; i++) {
            struct tally *tally = &tallies[i % STREAMS];
            // The kernel keeps so many for a user and no more; whoever is late is waited for.
            while (tally->given - tally->taken >= IN_FLIGHT && !orders->over) sleep_until(now() + MILLISECOND);
            while (queue(i % STREAMS, tally->given + 1)) {
                if (errno != EAGAIN) _exit(1);
                sleep_until(now() + MILLISECOND);
            }
            tally->given++;
        }
    }
    _exit(0);
}

static void receive_forever(int how) {
    sigset_t set;
    int ends[2];
    char byte;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    if (how <= READS_ON_OTHER_STACK) {
        sigset_t handled = set;
        sigaddset(&handled, SIGRTMIN + 1);
        if (how == SLEEPS) sigaddset(&handled, SIGRTMIN + 2);
        if (how != WORKS) sigaddset(&handled, SIGALRM);
        pthread_sigmask(SIG_UNBLOCK, &handled, NULL);
    }
    if (how == SLEEPS) for (;;) pause();
    if (how == WORKS) for (;; sleep_until(now() + 200000)) work(20000);
    if (how == READS_ON_OTHER_STACK) {
        stack_t other = {.ss_sp = malloc(64 * 1024), .ss_size = 64 * 1024};
        if (sigaltstack(&other, NULL) || pipe(ends)) abort();
        for (;;) if (read(ends[0], &byte, 1) >= 0 || errno != EINTR) abort();
    }
    int descriptor = how == READS_SIGNALFD ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
    for (;;) {
        siginfo_t info;
        struct signalfd_siginfo read_info;
        if (how == WAITS_FOR_SIGNALS) {
            if (sigwaitinfo(&set, &info) > 0) take(how, (uint64_t)info.si_value.sival_ptr, info.si_code, info.si_pid);
            else if (errno != EINTR) abort();
        } else if (read(descriptor, &read_info, sizeof read_info) == sizeof read_info) {
            take(how, read_info.ssi_ptr, read_info.ssi_code, (pid_t)read_info.ssi_pid);
        } else if (errno != EINTR) abort();
    }
}

static void *receive(void *number) {
    own = (int)(long)number;
    orders->receivers[own] = gettid();
    orders->ready++;
    receive_forever(own);
    return NULL;
}

// ---- timers: what expired while a signal was pending is in its overrun; together no expiration is missing ----

static uint64_t expired(void) {
    uint64_t time = now();
    return timers_began == 0 || time < timers_began ? 0 : (time - timers_began) / MILLISECOND + 1;
}

static void tick(int number, siginfo_t *info, void *context) {
    (void)context;
    struct tally *tally = &tallies[number == SIGALRM ? TICKS : THREAD_TICKS];
    uint64_t taken = atomic_fetch_add(&tally->taken, (uint64_t)info->si_overrun + 1) + (uint64_t)info->si_overrun + 1;
    check(tally, info->si_code == SI_TIMER && taken <= expired());
}

static void start_timers(void) {
    struct itimerspec time = {{0, MILLISECOND}, {0, 0}};
    struct sigevent to_process = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct sigevent to_thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 2};
    timer_t timers[2];
    to_thread._sigev_un._tid = orders->receivers[SLEEPS];
    timers_began = now() + 20 * MILLISECOND;
    time.it_value = (struct timespec){(time_t)(timers_began / SECOND), (long)(timers_began % SECOND)};
    if (timer_create(CLOCK_MONOTONIC, &to_process, &timers[0]) || timer_create(CLOCK_MONOTONIC, &to_thread, &timers[1])
        || timer_settime(timers[0], TIMER_ABSTIME, &time, NULL) || timer_settime(timers[1], TIMER_ABSTIME, &time, NULL))
        abort();
}

// ---- births and children ----

static void *live_shortly(void *number) {
    sigset_t any;
    sigemptyset(&any);
    sigaddset(&any, SIGRTMIN + 1);
    // Signals to the process may come to it until its end.
    pthread_sigmask(SIG_UNBLOCK, &any, NULL);
    work(2000);
    if ((long)number % 2) sleep_until(now() + MILLISECOND);
    return (void *)~(uintptr_t)number;
}

static void *give_birth(void *unused) {
    pthread_t threads[AT_ONCE];
    struct tally *tally = &tallies[BIRTHS];
    uint64_t next = now();
    for (; !over || tally->taken < tally->given; sleep_until(next += over ? 0 : 4 * MILLISECOND)) {
        if (tally->given - tally->taken == AT_ONCE || over) {
            void *result;
            if (pthread_join(threads[tally->taken % AT_ONCE], &result)) abort();
            check(tally, (uintptr_t)result == ~(uintptr_t)tally->taken);
            tally->taken++;
        }
        if (over) continue;
        uint64_t number = tally->given;
        if (pthread_create(&threads[number % AT_ONCE], NULL, live_shortly, (void *)number)) abort();
        tally->given++;
    }
    return unused;
}

static _Atomic pid_t signalled;

static void child_ended(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    struct tally *tally = &tallies[CHILD_SIGNALS];
    tally->taken++;
    signalled = info->si_pid;
    check(tally, info->si_code == CLD_EXITED && (uint64_t)info->si_status == tallies[CHILDREN].given % 128);
}

// Only this thread takes SIGCHLD, which is sent before the child can be waited for: when waitpid returns, it was here.
static void *fork_children(void *unused) {
    sigset_t set;
    struct tally *tally = &tallies[CHILDREN], *signals = &tallies[CHILD_SIGNALS];
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (uint64_t next = now(); !over; sleep_until(next += 20 * MILLISECOND)) {
        int status = -1;
        signals->given++;
        uint64_t number = ++tally->given;
        pid_t child = fork(), ended;
        if (child == 0) {
            work(5000);
            _exit((int)(number % 128));
        }
        do ended = waitpid(child, &status, 0);
        while (ended < 0 && errno == EINTR);
        tally->taken += ended == child;
        check(tally, WIFEXITED(status) && WEXITSTATUS(status) == (int)(number % 128));
        check(signals, signalled == child && signals->taken == signals->given);
    }
    return unused;
}

// ---- execution ----

static void *sleep_for_ever(void *unused) {
    for (;;) pause();
    return unused;
}

static void *execute(void *arguments) {
    execv("/proc/self/exe", arguments);
    abort();
}

static void execute_again(const char *file, uint64_t turn) {
    struct tally *tally = &tallies[EXECUTIONS];
    struct pollfd input = {.fd = 0, .events = POLLIN};
    sigset_t set;
    siginfo_t info;
    pthread_t thread;
    char next[24], process[24], shown[24];
    snprintf(process, sizeof process, "%d", getpid());
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    if (turn == 0) {
        sigprocmask(SIG_BLOCK, &set, NULL);
        setenv("STORM", process, 1);
        puts("ready");
        fflush(stdout);
    } else {
        // Queued by the program before this one, it was pending all the while.
        struct timespec none = {0, 0};
        int number;
        do number = sigtimedwait(&set, &info, &none);
        while (number < 0 && errno == EINTR);
        check(tally, number == SIGRTMIN && (uint64_t)info.si_value.sival_ptr == value_of(turn));
        check(tally, sigtimedwait(&set, &info, &none) < 0);
        tally->taken++;
        check(tally, tally->taken == turn && getenv("STORM") && !strcmp(getenv("STORM"), process));
    }
    if (poll(&input, 1, 0) > 0) return;
    for (int i = 0; i < 10; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL)) abort();
    sleep_until(now() + 3 * MILLISECOND);
    tally->given++;
    if (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_ptr = (void *)value_of(turn + 1)})) abort();
    snprintf(next, sizeof next, "%lu", turn + 1);
    snprintf(shown, sizeof shown, "storm-%lu", turn % 2);
    char *again[] = {shown, (char *)file, "exec", next, NULL};
    if (turn % 2) execute(again);
    if (pthread_create(&thread, NULL, execute, again)) abort();
    sleep_for_ever(NULL);
}

// ---- all of it ----

static void take_signal(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
    sigaction(number, &action, NULL);
}

// Whether everything given has been taken. Timers go on: what counts is that nothing that has expired stays away.
static int arrived(struct tally told[KINDS]) {
    int all = 1;
    for (int kind = 0; kind < KINDS; kind++) {
        told[kind].taken = tallies[kind].taken;
        told[kind].given = kind == TICKS || kind == THREAD_TICKS ? expired() : tallies[kind].given;
        all &= told[kind].given == told[kind].taken;
    }
    return all;
}

static void storm(void) {
    sigset_t all;
    pthread_t thread, mother, parent;
    char byte;
    // Threads inherit this, and take what is theirs.
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    take_signal(SIGRTMIN, handle_own, SA_ONSTACK);
    take_signal(SIGRTMIN + 1, handle_any, SA_ONSTACK);
    take_signal(SIGRTMIN + 2, tick, 0);
    take_signal(SIGALRM, tick, SA_ONSTACK);
    take_signal(SIGCHLD, child_ended, 0);
    orders = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    orders->process = getpid();
    if ((sender = fork()) == 0) send_signals();
    for (long number = 0; number < RECEIVERS; number++)
        if (pthread_create(&thread, NULL, receive, (void *)number)) abort();
    while (orders->ready < RECEIVERS) sleep_until(now() + MILLISECOND);
    start_timers();
    orders->begin = 1;
    if (pthread_create(&mother, NULL, give_birth, NULL) || pthread_create(&parent, NULL, fork_children, NULL)) abort();
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) != 0) {}
    over = 1;
    pthread_join(parent, NULL);
    pthread_join(mother, NULL);
    orders->over = 1;
    int status;
    if (waitpid(sender, &status, 0) != sender || status != 0) abort();
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int file = open(arguments[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, KINDS * sizeof *tallies)) return 1;
    tallies = mmap(NULL, KINDS * sizeof *tallies, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (count == 2) storm();
    else execute_again(arguments[1], count > 3 ? strtoul(arguments[3], NULL, 10) : 0);
    struct tally told[KINDS];
    for (uint64_t until = now() + 300ul * SECOND; !arrived(told) && now() < until;) sleep_until(now() + MILLISECOND / 4);
    for (int kind = 0; kind < KINDS; kind++) {
        if (tallies[kind].taken == 0 && tallies[kind].given == 0) continue;
        printf("%s given %lu taken %lu wrong %lu\n", names[kind], told[kind].given, told[kind].taken,
               tallies[kind].wrong);
    }
    puts("done");
}
