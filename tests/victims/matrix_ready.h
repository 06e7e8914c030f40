// Part of matrix.c: calls that wait until one of several descriptors is ready.
//
// select, pselect and ppoll write the remaining time back when they return, and when a stop makes them begin again:
// into the caller's own memory (`_raw`), or into a copy on its stack that the C library made. The `_long` rows have a
// timeout that does not come, so that nothing but a stop can have written there before they are released.

static void prepare_event(struct row *r) { r->in = r->out = MUST(r, eventfd(0, 0)); }
static void give_event(struct row *r) {
    uint64_t one = 1;
    expect(r, "released by", write(r->out, &one, 8), 8);
}

static int watching(struct row *r) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    int set = MUST(r, epoll_create1(EPOLL_CLOEXEC));
    prepare_event(r);
    MUST(r, epoll_ctl(set, EPOLL_CTL_ADD, r->in, &wanted));
    return set;
}

// One event, and not a byte beyond it.
static void check_events(struct row *r, long result, struct epoll_event *events, struct epoll_event *before) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    expect(r, "events", result, 1);
    unchanged(r, events, &wanted, sizeof wanted);
    unchanged(r, events + 1, before + 1, sizeof *before);
}

#define EPOLL_ROW(name, call) \
    ROW(name) { \
        struct epoll_event events[2] = {{7, {.u64 = 7}}, {8, {.u64 = 8}}}, before[2]; \
        int set = watching(r); \
        memcpy(before, events, sizeof events); \
        long result = BLOCK(r, call); \
        check_events(r, result, events, before); \
    }
#define EPOLL_ROW_TIMED(name, call) \
    ROW(name) { \
        struct epoll_event events[2] = {{7, {.u64 = 7}}, {8, {.u64 = 8}}}, before[2]; \
        struct timespec limit = spec(TIMEOUT), limit_before = limit; \
        int set = watching(r); \
        memcpy(before, events, sizeof events); \
        while (!ending) { \
            int64_t begun = begin(r); \
            timed_out(r, begun, EXACT, call, 0); \
            unchanged(r, events, before, sizeof events); \
            unchanged(r, &limit, &limit_before, sizeof limit); \
        } \
    }
EPOLL_ROW(epoll_wait, epoll_wait(set, events, 2, -1))
EPOLL_ROW(epoll_wait_long, epoll_wait(set, events, 2, AGES * 1000))
EPOLL_ROW(epoll_pwait, epoll_pwait(set, events, 2, -1, &(sigset_t){0}))
EPOLL_ROW(epoll_pwait2, epoll_pwait2(set, events, 2, NULL, NULL))
EPOLL_ROW_TIMED(epoll_wait_timed, epoll_wait(set, events, 2, TIMEOUT / MS))
EPOLL_ROW_TIMED(epoll_pwait_timed, epoll_pwait(set, events, 2, TIMEOUT / MS, &(sigset_t){0}))
EPOLL_ROW_TIMED(epoll_pwait2_timed, epoll_pwait2(set, events, 2, &limit, NULL))

#define POLL_ROW(name, call) \
    ROW(name) { \
        struct timespec limit = {AGES, 0}; \
        prepare_event(r); \
        struct pollfd ready[2] = {{r->in, POLLIN, 0}, {-1, 0, 0}}, wanted[2] = {{r->in, POLLIN, POLLIN}, {-1, 0, 0}}; \
        (void)limit; \
        expect(r, "ready", BLOCK(r, call), 1); \
        unchanged(r, ready, wanted, sizeof ready); \
    }
#define POLL_ROW_TIMED(name, call) \
    ROW(name) { \
        prepare_event(r); \
        struct timespec limit = spec(TIMEOUT), before = limit; \
        struct pollfd ready[2] = {{r->in, POLLIN, 0}, {-1, 0, 0}}, wanted[2] = {{r->in, POLLIN, 0}, {-1, 0, 0}}; \
        while (!ending) { \
            int64_t begun = begin(r); \
            timed_out(r, begun, EXACT, call, 0); \
            unchanged(r, ready, wanted, sizeof ready); \
            unchanged(r, &limit, &before, sizeof limit); \
        } \
    }
POLL_ROW(poll, poll(ready, 2, -1))
POLL_ROW(ppoll, ppoll(ready, 2, NULL, NULL))
POLL_ROW(ppoll_long, ppoll(ready, 2, &limit, NULL))
POLL_ROW(ppoll_raw_long, syscall(SYS_ppoll, ready, 2, &limit, NULL, 8))
POLL_ROW_TIMED(poll_timed, poll(ready, 2, TIMEOUT / MS))
POLL_ROW_TIMED(ppoll_timed, ppoll(ready, 2, &limit, NULL))

// What select makes of its arguments: the descriptor that is ready stays in the set.
#define SELECT_ROW(name, call) \
    ROW(name) { \
        struct timeval time = {AGES, 0}; \
        struct timespec limit = {AGES, 0}; \
        fd_set set, wanted; \
        prepare_event(r); \
        FD_ZERO(&set); \
        FD_SET(r->in, &set); \
        wanted = set; \
        (void)time, (void)limit; \
        expect(r, "ready", BLOCK(r, call), 1); \
        unchanged(r, &set, &wanted, sizeof set); \
    }
SELECT_ROW(select, select(r->in + 1, &set, NULL, NULL, NULL))
SELECT_ROW(select_long, select(r->in + 1, &set, NULL, NULL, &time))
SELECT_ROW(select_raw_long, syscall(SYS_select, r->in + 1, &set, NULL, NULL, &time))
SELECT_ROW(pselect, pselect(r->in + 1, &set, NULL, NULL, NULL, NULL))
SELECT_ROW(pselect_long, pselect(r->in + 1, &set, NULL, NULL, &limit, NULL))

// A timeout empties the set and leaves no time; pselect does not touch its limit.
#define SELECT_ROW_TIMED(name, call) \
    ROW(name) { \
        fd_set set, empty; \
        prepare_event(r); \
        FD_ZERO(&empty); \
        while (!ending) { \
            struct timeval time = {0, TIMEOUT / 1000}, none = {0, 0}; \
            struct timespec limit = spec(TIMEOUT), before = limit; \
            FD_ZERO(&set); \
            FD_SET(r->in, &set); \
            int64_t begun = begin(r); \
            timed_out(r, begun, EXACT, call, 0); \
            unchanged(r, &set, &empty, sizeof set); \
            unchanged(r, &limit, &before, sizeof limit); \
            if (time.tv_usec != TIMEOUT / 1000) unchanged(r, &time, &none, sizeof time); \
        } \
    }
SELECT_ROW_TIMED(select_timed, select(r->in + 1, &set, NULL, NULL, &time))
SELECT_ROW_TIMED(select_raw_timed, syscall(SYS_select, r->in + 1, &set, NULL, NULL, &time))
SELECT_ROW_TIMED(pselect_timed, pselect(r->in + 1, &set, NULL, NULL, &limit, NULL))
