// Part of matrix.c: which rows there are, how they begin and end, and what is told of them.

// Name, the system call it is blocked in, and what the main thread does to release it and before it begins.
#define INFINITE(name, call, ...) {#name, SYS_##call, row_##name, __VA_ARGS__}
#define FINITE(name, call, ...) {#name, SYS_##call, row_##name, NULL, ##__VA_ARGS__}
static struct row rows[] = {
    INFINITE(epoll_wait, epoll_wait, give_event),
    INFINITE(epoll_wait_long, epoll_wait, give_event),
    INFINITE(epoll_pwait, epoll_pwait, give_event),
    INFINITE(epoll_pwait2, epoll_pwait2, give_event),
    FINITE(epoll_wait_timed, epoll_wait),
    FINITE(epoll_pwait_timed, epoll_pwait),
    FINITE(epoll_pwait2_timed, epoll_pwait2),
    INFINITE(poll, poll, give_event),
    INFINITE(ppoll, ppoll, give_event),
    INFINITE(ppoll_long, ppoll, give_event),
    INFINITE(ppoll_raw_long, ppoll, give_event),
    FINITE(poll_timed, poll),
    FINITE(ppoll_timed, ppoll),
    INFINITE(select, pselect6, give_event),
    INFINITE(select_long, pselect6, give_event),
    INFINITE(select_raw_long, select, give_event),
    INFINITE(pselect, pselect6, give_event),
    INFINITE(pselect_long, pselect6, give_event),
    FINITE(select_timed, pselect6),
    FINITE(select_raw_timed, select),
    FINITE(pselect_timed, pselect6),

    INFINITE(recv, recvfrom, give_eight),
    INFINITE(read_socket, read, give_eight),
    INFINITE(recv_tcp, recvfrom, give_eight),
    INFINITE(recv_waitall_part, recvfrom, give_second_half),
    INFINITE(recv_tcp_waitall_part, recvfrom, give_second_half),
    INFINITE(recvfrom, recvfrom, give_eight),
    INFINITE(recvmsg, recvmsg, give_eight),
    INFINITE(recvmmsg, recvmmsg, give_eight),
    INFINITE(recvmmsg_part, recvmmsg, give_eight),
    FINITE(recv_timed, recvfrom),
    FINITE(recv_tcp_timed, recvfrom),
    FINITE(read_socket_timed, read),
    FINITE(recvfrom_timed, recvfrom),
    FINITE(recvmsg_timed, recvmsg),
    FINITE(recvmmsg_timed, recvmmsg),
    INFINITE(accept, accept, give_connection),
    FINITE(accept_timed, accept),
    INFINITE(connect, connect, take_connection),
    FINITE(connect_timed, connect),
    INFINITE(send_large, sendto, drain_large),
    INFINITE(send_tcp_large, sendto, drain_large),
    INFINITE(write_socket_large, write, drain_large),
    INFINITE(sendmsg_large, sendmsg, drain_large),
    INFINITE(sendfile_large, sendfile, drain_large),
    INFINITE(send_datagram, sendto, take_datagrams),
    FINITE(send_timed, sendto),

    INFINITE(read_pipe, read, give_eight),
    INFINITE(readv_pipe, readv, give_eight),
    INFINITE(write_pipe_large, write, drain_large),
    INFINITE(writev_pipe_large, writev, drain_large),
    INFINITE(open_fifo, openat, open_other_end),
    INFINITE(read_fifo, read, give_eight),
    INFINITE(read_tty, read, give_eight),
    INFINITE(read_tty_part, read, give_second_half),
    INFINITE(write_tty_large, write, drain_large),
    INFINITE(splice, splice, give_eight),
    INFINITE(tee, tee, give_eight),
    INFINITE(write_pipe_full, write, take_pages),
    INFINITE(splice_full, splice, take_pages),
    INFINITE(vmsplice_full, vmsplice, take_pages),

    INFINITE(futex_wait, futex, wake_word),
    INFINITE(futex_wait_long, futex, wake_word),
    INFINITE(futex_wait_bitset, futex, wake_word),
    FINITE(futex_wait_timed, futex),
    FINITE(futex_wait_bitset_timed, futex),
    {"futex_waitv", FUTEX_WAITV, row_futex_waitv, wake_word},
    {"futex_waitv_timed", FUTEX_WAITV, row_futex_waitv_timed},
    INFINITE(sem_wait, futex, post, prepare_semaphore),
    FINITE(sem_timedwait_timed, futex, prepare_semaphore),
    FINITE(sem_clockwait_timed, futex, prepare_semaphore),
    INFINITE(cond_wait, futex, signal_condition, prepare_condition),
    FINITE(cond_timedwait_timed, futex, prepare_condition),
    INFINITE(mutex_lock, futex, unlock_mutex, hold_mutex),
    INFINITE(mutex_lock_pi, futex, unlock_mutex, hold_pi_mutex),
    FINITE(mutex_timedlock_timed, futex, hold_mutex),
    FINITE(mutex_timedlock_pi_timed, futex, hold_pi_mutex),
    INFINITE(rwlock_rdlock, futex, unlock_rwlock, hold_rwlock),
    INFINITE(rwlock_wrlock, futex, unlock_rwlock, hold_rwlock),
    INFINITE(barrier_wait, futex, reach_barrier, prepare_barrier),
    INFINITE(flock, flock, unlock_flock),
    INFINITE(ofd_setlkw, fcntl, unlock_ofd),
    INFINITE(setlkw, fcntl, end_child, prepare_child),

    INFINITE(semop, semtimedop, increment, prepare_semop),
    INFINITE(semtimedop_long, semtimedop, increment, prepare_semop),
    FINITE(semtimedop_timed, semtimedop, prepare_semop),
    INFINITE(msgrcv, msgrcv, give_message, prepare_messages),
    INFINITE(msgsnd, msgsnd, take_messages, prepare_messages),
    INFINITE(mq_receive, mq_timedreceive, give_mq, prepare_mq),
    INFINITE(mq_send, mq_timedsend, take_mq, prepare_full_mq),
    FINITE(mq_timedreceive_timed, mq_timedreceive, prepare_mq),
    FINITE(mq_timedsend_timed, mq_timedsend, prepare_full_mq),
    INFINITE(io_getevents, io_getevents, submit_aio, prepare_aio),
    INFINITE(io_getevents_long, io_getevents, submit_aio, prepare_aio),
    FINITE(io_getevents_timed, io_getevents, prepare_aio),
    FINITE(io_pgetevents_timed, io_pgetevents, prepare_aio),
    INFINITE(io_uring_enter, io_uring_enter, give_event),
    FINITE(io_uring_enter_timed, io_uring_enter),

    FINITE(nanosleep, clock_nanosleep),
    FINITE(nanosleep_rest, clock_nanosleep),
    FINITE(nanosleep_raw_rest, nanosleep),
    FINITE(clock_nanosleep, clock_nanosleep),
    FINITE(clock_nanosleep_rest, clock_nanosleep),
    FINITE(clock_nanosleep_abs, clock_nanosleep),
    FINITE(clock_nanosleep_real, clock_nanosleep),
    INFINITE(sigwaitinfo, rt_sigtimedwait, send_signal),
    INFINITE(sigtimedwait_long, rt_sigtimedwait, send_signal),
    FINITE(sigtimedwait_timed, rt_sigtimedwait),
    INFINITE(read_signalfd, read, send_signal),
    INFINITE(pause, pause, send_signal),
    INFINITE(sigsuspend, rt_sigsuspend, send_signal),
    INFINITE(wait4, wait4, end_child, prepare_child),
    INFINITE(waitid, waitid, end_child, prepare_child),
    INFINITE(read_eventfd, read, give_event),
    INFINITE(write_eventfd, write, take_event),
    INFINITE(read_timerfd, read, let_timer_expire),
    FINITE(read_timerfd_timed, read),
    INFINITE(read_inotify, read, make_watched_file),
};
static struct row *const last = rows + sizeof rows / sizeof *rows;

static __attribute__((noipa)) void *enter(void *argument) {
    struct row *r = self = argument;
    char name[16];
    snprintf(name, sizeof name, "%s", r->name);
    pthread_setname_np(pthread_self(), name);
    r->tid = gettid();
    r->run(r);
    r->done = 1;
    return NULL;
}

// On a stack of its own making, so that all of it can be compared.
static void start(struct row *r) {
    pthread_attr_t attributes;
    char *memory = mmap(NULL, PAGE + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE)) must(r, "a stack", -1);
    r->stack = memory + PAGE;
    r->before = malloc(STACK);
    pthread_attr_init(&attributes);
    MUST(r, to_errno(pthread_attr_setstack(&attributes, r->stack, STACK)));
    MUST(r, to_errno(pthread_create(&r->thread, &attributes, enter, r)));
}

static int is_blocked(struct row *r) {
    char path[64], text[256] = {0};
    if (!r->entered) return 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", r->tid);
    int file = MUST(r, open(path, O_RDONLY | O_CLOEXEC));
    MUST(r, read(file, text, sizeof text - 1));
    close(file);
    return text[0] != 'r' && atol(text) == r->number;
}

// The stack below the thread's control block, in which the kernel keeps an account of CPUs (rseq).
static size_t stack_size(struct row *r) { return (char *)r->thread - r->stack; }

// When somebody takes so long to get on with it, it is the test that fails.
static void patience(struct row *r) {
    struct timespec pause = spec(MS);
    static int64_t begun;
    if (!begun) begun = now(CLOCK_MONOTONIC);
    if (now(CLOCK_MONOTONIC) - begun > 20000 * MS) {
        fprintf(stderr, "%s: not blocked in system call %ld\n", r->name, r->number);
        exit(1);
    }
    nanosleep(&pause, NULL);
}

static void finish(struct row *r) {
    struct timespec limit = spec(now(CLOCK_REALTIME) + 10000 * MS);
    if (r->release && r->done) wrong(r, "released before its time", 1, 0);
    else if (r->release) r->release(r);
    if (pthread_timedjoin_np(r->thread, NULL, &limit)) wrong(r, "still blocked", 1, 0);
}

static void print(struct row *r) {
    printf("row %s tid %d kind %s calls %ld eintr %ld short %ld wrong %ld changed %ld late_us %lld\n", r->name, r->tid,
           r->release ? "infinite" : "finite", r->calls, r->eintr, r->shorter, r->wrong, r->changed,
           (long long)r->late / 1000);
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    directory = arguments[1];
    // Queues that a killed process would leave behind end with the namespace. Without the right to one it is as it is.
    unshare(CLONE_NEWIPC);
    struct sigaction action = {.sa_handler = handle};
    sigset_t signals = only_signal();
    sigaction(signal_number(), &action, NULL);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    for (int i = 0; i < LARGE; i++) large[i] = i * 7 + i / 251;
    for (struct row *r = rows; r < last; r++)
        if (r->prepare) r->prepare(r);
    for (struct row *r = rows; r < last; r++)
        if (!r->absent) start(r);
    for (struct row *r = rows; r < last; r++)
        while (!r->absent && !is_blocked(r)) patience(r);
    for (struct row *r = rows; r < last; r++) {
        if (r->absent || !r->release) continue;
        memcpy(r->before, r->stack, stack_size(r));
        r->calls_before = r->calls;
    }
    puts("ready");
    fflush(stdout);

    char ignored;
    if (read(0, &ignored, 1) < 0) return 1;
    // Something that never comes to its end is shown by a death.
    alarm(60);
    for (struct row *r = rows; r < last; r++) {
        // A call that was made again has changed its own stack.
        if (r->absent || !r->release || r->calls != r->calls_before) continue;
        unchanged(r, r->stack, r->before, stack_size(r));
    }
    ending = 1;
    for (struct row *r = rows; r < last; r++)
        if (!r->absent) finish(r);
    for (struct row *r = rows; r < last; r++) {
        if (r->absent) printf("absent %s %s\n", r->name, r->absent);
        else print(r);
    }
    puts("done");
    fflush(stdout);
    // Without waiting for a row that is still blocked.
    _exit(0);
}
