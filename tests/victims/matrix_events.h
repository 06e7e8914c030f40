// Part of matrix.c: sleeps, signals, children, and descriptors that count events.

// A sleep that is interrupted tells how much of it was left, if it was asked to: one that came to its end does not.
#define SLEEP_ROW(name, call) \
    ROW(name) { \
        while (!ending) { \
            struct timespec length = spec(TIMEOUT), rest = {7, 7}, before[2] = {length, rest}; \
            int64_t begun = begin(r); \
            timed_out(r, begun, EXACT, call, 0); \
            unchanged(r, &length, before, sizeof length); \
            unchanged(r, &rest, before + 1, sizeof rest); \
        } \
    }
SLEEP_ROW(nanosleep, nanosleep(&length, NULL))
SLEEP_ROW(nanosleep_rest, nanosleep(&length, &rest))
SLEEP_ROW(nanosleep_raw_rest, syscall(SYS_nanosleep, &length, &rest))
SLEEP_ROW(clock_nanosleep_rest, to_errno(clock_nanosleep(CLOCK_MONOTONIC, 0, &length, &rest)))
static int sleep_on(clockid_t clock, int flags, const struct timespec *limit) {
    return to_errno(clock_nanosleep(clock, flags, limit, NULL));
}
LIMIT_ROW(clock_nanosleep, 0, EXACT, 0, , sleep_on(CLOCK_MONOTONIC, 0, &limit))
LIMIT_ROW(clock_nanosleep_abs, MONOTONIC, EXACT, 0, , sleep_on(CLOCK_MONOTONIC, TIMER_ABSTIME, &limit))
LIMIT_ROW(clock_nanosleep_real, REALTIME, CLOCKS, 0, , sleep_on(CLOCK_REALTIME, TIMER_ABSTIME, &limit))

// A real-time signal that every thread blocks; it is sent to the row's thread alone.
static int signal_number(void) { return SIGRTMIN + 3; }
static sigset_t only_signal(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number());
    return set;
}
static void send_signal(struct row *r) { expect(r, "released by", pthread_kill(r->thread, signal_number()), 0); }
ROW(sigwaitinfo) {
    sigset_t set = only_signal();
    siginfo_t info = {0};
    expect(r, "signal", BLOCK(r, sigwaitinfo(&set, &info)), signal_number());
    expect(r, "sender", info.si_pid, getpid());
}
ROW(sigtimedwait_long) {
    sigset_t set = only_signal();
    struct timespec limit = {AGES, 0};
    expect(r, "signal", BLOCK(r, sigtimedwait(&set, NULL, &limit)), signal_number());
}
LIMIT_ROW(sigtimedwait_timed, 0, EXACT, EAGAIN, sigset_t set = only_signal(), sigtimedwait(&set, NULL, &limit))
ROW(read_signalfd) {
    sigset_t set = only_signal();
    struct signalfd_siginfo info = {0};
    r->in = MUST(r, signalfd(-1, &set, SFD_CLOEXEC));
    expect(r, "read", BLOCK(r, read(r->in, &info, sizeof info)), sizeof info);
    expect(r, "signal", info.ssi_signo, signal_number());
}
// These two end by a handler, and then it is EINTR that must be seen: an EINTR without one is counted.
static void handle(int number) { self->word = number; }
#define HANDLED(r, call) \
    do { \
        begin(r); \
        expect(r, "returned", (call), -1); \
        expect(r, "errno", errno, EINTR); \
    } while (!(r)->word && ++(r)->eintr)
ROW(pause) {
    sigset_t set = only_signal();
    MUST(r, to_errno(pthread_sigmask(SIG_UNBLOCK, &set, NULL)));
    HANDLED(r, pause());
}
ROW(sigsuspend) {
    sigset_t open;
    MUST(r, to_errno(pthread_sigmask(SIG_BLOCK, NULL, &open)));
    sigdelset(&open, signal_number());
    HANDLED(r, sigsuspend(&open));
}

// A child that holds the lock which `setlkw` wants, and ends with 42 when it is told to, or with this process.
static void prepare_child(struct row *r) {
    char path[PATH_MAX], byte;
    int locked[2], told[2], own = getpid();
    path_of(r, path);
    r->in = MUST(r, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    MUST(r, pipe2(locked, O_CLOEXEC));
    MUST(r, pipe2(told, O_CLOEXEC));
    r->other = MUST(r, fork());
    if (r->other == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != own) _exit(1);
        if (fcntl(r->in, F_SETLK, &whole) || write(locked[1], "x", 1) != 1) _exit(1);
        if (read(told[0], &byte, 1) != 1) _exit(1);
        _exit(42);
    }
    MUST(r, read(locked[0], &byte, 1));
    r->out = told[1];
}
static void end_child(struct row *r) { expect(r, "released by", write(r->out, "x", 1), 1); }
ROW(wait4) {
    int status = 0;
    expect(r, "child", BLOCK(r, wait4(r->other, &status, 0, NULL)), r->other);
    expect(r, "status", WEXITSTATUS(status), 42);
}
ROW(waitid) {
    siginfo_t info = {0};
    expect(r, "waited", BLOCK(r, waitid(P_PID, r->other, &info, WEXITED)), 0);
    expect(r, "status", info.si_status, 42);
}

ROW(read_eventfd) {
    uint64_t count = 0;
    prepare_event(r);
    expect(r, "read", BLOCK(r, read(r->in, &count, 8)), 8);
    expect(r, "count", count, 1);
}
// The counter is as high as it can be.
ROW(write_eventfd) {
    uint64_t most = UINT64_MAX - 1, one = 1;
    prepare_event(r);
    expect(r, "filled", write(r->in, &most, 8), 8);
    expect(r, "written", BLOCK(r, write(r->in, &one, 8)), 8);
    expect(r, "count", one, 1);
}
static void take_event(struct row *r) {
    uint64_t count = 0;
    expect(r, "released by", read(r->in, &count, 8), 8);
    expect(r, "count", count, UINT64_MAX - 1);
}
static void set_timer(struct row *r, int64_t ns) {
    struct itimerspec time = {.it_value = spec(ns)};
    expect(r, "timer set", timerfd_settime(r->in, 0, &time, NULL), 0);
}
static void let_timer_expire(struct row *r) { set_timer(r, 1); }
ROW(read_timerfd) {
    uint64_t count = 0;
    r->in = MUST(r, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    set_timer(r, AGES * 1000 * MS);
    expect(r, "read", BLOCK(r, read(r->in, &count, 8)), 8);
    expect(r, "expirations", count, 1);
}
ROW(read_timerfd_timed) {
    r->in = MUST(r, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    while (!ending) {
        uint64_t count = 0;
        int64_t begun = begin(r);
        set_timer(r, TIMEOUT);
        long result = read(r->in, &count, 8);
        timed_out(r, begun, EXACT, result == 8 && count == 1 ? 0 : result, 0);
    }
}
static void watched_file(struct row *r, char path[PATH_MAX]) {
    MUST(r, snprintf(path, PATH_MAX, "%s/watched/file", directory));
}
ROW(read_inotify) {
    char path[PATH_MAX];
    struct { struct inotify_event event; char name[16]; } event = {0};
    watched_file(r, path);
    *strrchr(path, '/') = 0;
    MUST(r, mkdir(path, 0700));
    r->in = MUST(r, inotify_init1(IN_CLOEXEC));
    MUST(r, inotify_add_watch(r->in, path, IN_CREATE));
    expect(r, "read", BLOCK(r, read(r->in, &event, sizeof event)), sizeof event);
    unchanged(r, event.name, "file", 5);
}
static void make_watched_file(struct row *r) {
    char path[PATH_MAX];
    watched_file(r, path);
    close(MUST(r, open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
}
