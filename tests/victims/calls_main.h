// Part of calls.c: the workers there are, who feeds them, and what they counted.

static struct worker workers[] = {
    {"read-pipe", prepare_pipe, give_bytes, receive_bytes},
    {"read-socket", prepare_socket, give_bytes, receive_bytes},
    {"read-tty", prepare_terminal, give_bytes, receive_bytes},
    {"recv", prepare_socket, give_bytes, receive_socket},
    {"poll", prepare_pipe, give_bytes, receive_when_ready, .kind = POLL},
    {"ppoll", prepare_pipe, give_bytes, receive_when_ready, .kind = PPOLL},
    {"pselect", prepare_pipe, give_bytes, receive_when_ready, .kind = PSELECT},
    {"splice", prepare_pipe, give_bytes, receive_spliced},
    {"accept", prepare_listener, give_connection, receive_connection},
    {"read-inotify", prepare_watch, give_file, receive_name},
    {"msgrcv", prepare_messages, give_message, receive_message},
    {"mq_receive", prepare_mq, give_mq, receive_mq},
    {"read-eventfd", prepare_eventfd, give_event, receive_event},
    {"sem_wait", prepare_semaphore, give_post, receive_post},
    {"futex", NULL, give_word, receive_word, .kind = 0},
    {"futex-timed", NULL, give_word, receive_word, .kind = 1},
    {"cond_timedwait", prepare_condition, give_condition, receive_condition},
    {"read-signalfd", prepare_signalfd, give_signal, receive_signalfd, .kind = BY_DESCRIPTOR},
    {"sigsuspend", prepare_handler, give_signal, receive_handled, .kind = BY_SIGSUSPEND},
    {"pause", prepare_handler, give_signal, receive_handled, .kind = BY_PAUSE},
    {"timer_create", prepare_timer, NULL, receive_handled, settle_ticks, .kind = BY_TIMER},
    {"read-timerfd", prepare_timerfd, NULL, receive_ticks, settle_ticks},
    {"nanosleep", NULL, NULL, receive_sleep, .kind = NANOSLEEP},
    {"clock_nanosleep", NULL, NULL, receive_sleep, .kind = RELATIVE},
    {"clock_abs", NULL, NULL, receive_sleep, .kind = ABSOLUTE},
    {"flock-1", prepare_lock, NULL, receive_lock, .kind = FLOCK},
    {"flock-2", prepare_lock, NULL, receive_lock, .kind = FLOCK},
    {"ofd-lock-1", prepare_lock, NULL, receive_lock, .kind = OFD},
    {"ofd-lock-2", prepare_lock, NULL, receive_lock, .kind = OFD},
    {"wait4", NULL, NULL, receive_child, .kind = WAIT4},
    {"waitid", NULL, NULL, receive_child, .kind = WAITID},
};
static struct worker *const last = workers + sizeof workers / sizeof *workers;

static void *work(void *argument) {
    struct worker *w = self = argument;
    pthread_setname_np(pthread_self(), w->name);
    if (w->prepare) w->prepare(w);
    w->ready = 1;
    while (w->give ? !w->done : !ending) {
        uint64_t value = 0;
        if (!w->receive(w, &value)) continue;
        if (value == END) break;
        if (value != w->taken + 1) wrong(w, "work", value, w->taken + 1);
        w->taken++;
    }
    if (w->settle) w->settle(w);
    w->done = 1;
    return NULL;
}

static void *feed(void *argument) {
    struct worker *feeder = argument;
    pthread_setname_np(pthread_self(), "feeder");
    for (unsigned round = 1; !ending; round++) {
        for (struct worker *w = workers; w < last; w++) {
            if (!w->give) continue;
            uint64_t number = ++w->given;
            w->give(w, number);
        }
        // Now shorter, now longer than the workers' timeouts.
        struct timespec pause = spec(MS + round * 7919 % 5000 * 1000);
        noted(feeder, nanosleep(&pause, NULL));
        feeder->given++;
        feeder->taken++;
    }
    return NULL;
}

static void print(struct worker *w) {
    printf("%s given %llu taken %llu eintr %ld errors %ld wrong %ld\n", w->name, (unsigned long long)w->given,
           (unsigned long long)w->taken, w->eintr, w->errors, w->wrong);
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    directory = arguments[1];
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) sigaddset(&blocked, number);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    for (struct worker *w = workers; w < last; w++) {
        if (pthread_create(&w->thread, NULL, work, w)) return 1;
        while (!w->ready) sched_yield();
    }
    struct worker feeder = {.name = "feeder"}, reader = {.name = "main"};
    if (pthread_create(&feeder.thread, NULL, feed, &feeder)) return 1;
    puts("ready");
    fflush(stdout);
    char ignored;
    while (noted(&reader, read(0, &ignored, 1)) != 0) {}
    ending = 1;
    pthread_join(feeder.thread, NULL);
    for (struct worker *w = workers; w < last; w++) {
        if (w->give) w->give(w, END);
        // A signal that comes just before pause() is handled outside it, and would leave the worker there.
        while (w->kind == BY_PAUSE && w->give == give_signal && !w->done) {
            w->give(w, END);
            usleep(1000);
        }
        pthread_join(w->thread, NULL);
        print(w);
    }
    print(&feeder);
    print(&reader);
    puts("done");
    return 0;
}
