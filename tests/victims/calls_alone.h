// Part of calls.c: signals, timers, and workers that run by themselves.

// Queued signals: by signalfd, by a handler that sigsuspend lets in, and by one that interrupts pause.
enum { BY_DESCRIPTOR = 1, BY_SIGSUSPEND, BY_PAUSE, BY_TIMER };
static int signal_of(struct worker *w) { return SIGRTMIN + w->kind; }
static void give_signal(struct worker *w, uint64_t value) {
    union sigval word = {.sival_ptr = (void *)value};
    int result = pthread_sigqueue(w->thread, signal_of(w), word);
    if (result) errno = result, noted(w, -1);
}
static void prepare_signalfd(struct worker *w) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_of(w));
    w->in = noted(w, signalfd(-1, &set, 0));
}
static int receive_signalfd(struct worker *w, uint64_t *value) {
    struct signalfd_siginfo info;
    if (noted(w, read(w->in, &info, sizeof info)) != sizeof info) return 0;
    if (info.ssi_code != SI_QUEUE || info.ssi_pid != (uint32_t)getpid()) wrong(w, "si_code", info.ssi_code, SI_QUEUE);
    *value = info.ssi_ptr;
    return 1;
}
// The work is counted where it arrives, in the handler; `receive` only sees whether END was among it.
static void handle(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    struct worker *w = self;
    uint64_t value = (uint64_t)info->si_value.sival_ptr;
    w->handled++;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid()) w->wrong++;
    if (value == END) w->word = 1;
    else if (value != ++w->taken) w->wrong++;
}
static void handle_tick(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    self->handled++;
    if (info->si_code != SI_TIMER) self->wrong++;
    self->taken += 1 + info->si_overrun;
}
static void prepare_handler(struct worker *w) {
    struct sigaction action = {.sa_sigaction = w->kind == BY_TIMER ? handle_tick : handle, .sa_flags = SA_SIGINFO};
    noted(w, sigaction(signal_of(w), &action, NULL));
    if (w->kind != BY_PAUSE) return;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_of(w));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
// Each return must have had its signal; blocked outside, they come one by one, so that no return may be missing either.
static int receive_handled(struct worker *w, uint64_t *value) {
    (void)value;
    sigset_t open;
    pthread_sigmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, signal_of(w));
    uint64_t before = w->handled;
    if (w->kind == BY_PAUSE) pause();
    else sigsuspend(&open);
    uint64_t came = w->handled - before;
    if (came == 0 || (w->kind != BY_PAUSE && came != 1)) wrong(w, "signals for one return", came, 1);
    if (w->kind != BY_TIMER && w->word) w->done = 1;
    return 0;
}

// Ticks of a timer that were seen, against the time that has passed.
static struct itimerspec every(int64_t ns) { return (struct itimerspec){spec(ns), spec(ns)}; }
static void settle_ticks(struct worker *w) {
    int64_t expected = (now(CLOCK_MONOTONIC) - w->begun) / (2 * MS);
    // Between the last tick and the clock another may have passed.
    if ((int64_t)w->taken > expected || (int64_t)w->taken + 2 < expected) wrong(w, "ticks", w->taken, expected);
    w->given = w->taken;
}
static void prepare_timerfd(struct worker *w) {
    struct itimerspec times = every(2 * MS);
    w->in = noted(w, timerfd_create(CLOCK_MONOTONIC, 0));
    w->begun = now(CLOCK_MONOTONIC);
    noted(w, timerfd_settime(w->in, 0, &times, NULL));
}
static int receive_ticks(struct worker *w, uint64_t *value) {
    (void)value;
    uint64_t ticks = 0;
    if (take_bytes(w, w->in, &ticks)) w->taken += ticks;
    return 0;
}
static void prepare_timer(struct worker *w) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal_of(w)};
    event._sigev_un._tid = gettid();
    struct itimerspec times = every(2 * MS);
    timer_t timer;
    prepare_handler(w);
    noted(w, timer_create(CLOCK_MONOTONIC, &event, &timer));
    w->begun = now(CLOCK_MONOTONIC);
    noted(w, timer_settime(timer, 0, &times, NULL));
}

enum { NANOSLEEP, RELATIVE, ABSOLUTE };
static int receive_sleep(struct worker *w, uint64_t *value) {
    (void)value;
    int64_t begun = now(CLOCK_MONOTONIC);
    struct timespec length = spec(w->kind == ABSOLUTE ? begun + 3 * MS : 3 * MS);
    if (w->kind == NANOSLEEP) noted(w, nanosleep(&length, NULL));
    else {
        int result = clock_nanosleep(CLOCK_MONOTONIC, w->kind == ABSOLUTE ? TIMER_ABSTIME : 0, &length, NULL);
        if (result) errno = result, noted(w, -1);
    }
    check_wait(w, begun, 3 * MS);
    w->given++;
    w->taken++;
    return 0;
}

// Two workers with a description of the same file each are in each other's way most of the time.
enum { FLOCK, OFD };
static void prepare_lock(struct worker *w) {
    char path[4096];
    snprintf(path, sizeof path, "%s/lock-%d", directory, w->kind);
    w->in = noted(w, open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
}
static void lock(struct worker *w, int type) {
    struct flock range = {.l_type = type, .l_whence = SEEK_SET};
    if (w->kind == OFD) noted(w, fcntl(w->in, F_OFD_SETLKW, &range));
    else noted(w, flock(w->in, type == F_WRLCK ? LOCK_EX : LOCK_UN));
}
static int receive_lock(struct worker *w, uint64_t *value) {
    (void)value;
    static _Atomic int inside[2];
    struct timespec length = spec(2 * MS), pause = spec(MS / 2);
    lock(w, F_WRLCK);
    if (++inside[w->kind] != 1) wrong(w, "holders", 2, 1);
    noted(w, nanosleep(&length, NULL));
    inside[w->kind]--;
    lock(w, F_UNLCK);
    noted(w, nanosleep(&pause, NULL));
    w->given++;
    w->taken++;
    return 0;
}

enum { WAIT4, WAITID };
static int receive_child(struct worker *w, uint64_t *value) {
    (void)value;
    siginfo_t info = {0};
    int status = 0, code = ++w->extra % 100;
    pid_t child = noted(w, fork());
    if (child == 0) {
        struct timespec length = spec(4 * MS);
        nanosleep(&length, NULL);
        _exit(code);
    }
    w->given++;
    if (w->kind == WAITID) {
        noted(w, waitid(P_PID, child, &info, WEXITED));
        status = info.si_status;
    } else if (noted(w, wait4(child, &status, 0, NULL)) == child) status = WEXITSTATUS(status);
    if (status != code) wrong(w, "exit status", status, code);
    else w->taken++;
    return 0;
}
