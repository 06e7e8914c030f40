// Part of matrix.c: semaphores and message queues, of System V and of POSIX; asynchronous input and output.

static void prepare_semop(struct row *r) { r->in = MUST(r, semget(IPC_PRIVATE, 1, 0600)); }
static void increment(struct row *r) {
    struct sembuf up = {0, 1, 0};
    expect(r, "released by", semop(r->in, &up, 1), 0);
}
static const struct sembuf down = {0, -1, 0};
ROW(semop) {
    struct sembuf operation = down;
    expect(r, "decremented", BLOCK(r, semop(r->in, &operation, 1)), 0);
    unchanged(r, &operation, &down, sizeof down);
    MUST(r, semctl(r->in, 0, IPC_RMID));
}
ROW(semtimedop_long) {
    struct sembuf operation = down;
    struct timespec limit = {AGES, 0};
    expect(r, "decremented", BLOCK(r, semtimedop(r->in, &operation, 1, &limit)), 0);
    unchanged(r, &operation, &down, sizeof down);
    MUST(r, semctl(r->in, 0, IPC_RMID));
}
ROW(semtimedop_timed) {
    struct sembuf operation = down;
    struct timespec limit = spec(TIMEOUT), before = limit;
    while (!ending) {
        int64_t begun = begin(r);
        timed_out(r, begun, EXACT, semtimedop(r->in, &operation, 1, &limit), EAGAIN);
        unchanged(r, &operation, &down, sizeof down);
        unchanged(r, &limit, &before, sizeof limit);
    }
    MUST(r, semctl(r->in, 0, IPC_RMID));
}

struct message { long type; char bytes[8]; };
static void prepare_messages(struct row *r) { r->in = MUST(r, msgget(IPC_PRIVATE, 0600)); }
static struct message message_of(const char *bytes) {
    struct message message = {1, {0}};
    memcpy(message.bytes, bytes, 8);
    return message;
}
static void give_message(struct row *r) {
    struct message message = message_of(eight);
    expect(r, "released by", msgsnd(r->in, &message, 8, 0), 0);
}
ROW(msgrcv) {
    struct message message = message_of("another.");
    expect(r, "received", BLOCK(r, msgrcv(r->in, &message, 8, 0, 0)), 8);
    check_eight(r, message.bytes);
    MUST(r, msgctl(r->in, IPC_RMID, NULL));
}
// Takes what filled the queue, and then the row's own.
static void take_messages(struct row *r) {
    struct message message;
    do expect(r, "released by", msgrcv(r->in, &message, 8, 0, 0), 8);
    while (memcmp(message.bytes, eight, 8) != 0);
    MUST(r, msgctl(r->in, IPC_RMID, NULL));
}
ROW(msgsnd) {
    struct message filler = message_of("another."), message = message_of(eight), before = message;
    while (msgsnd(r->in, &filler, 8, IPC_NOWAIT) == 0) {}
    expect(r, "sent", BLOCK(r, msgsnd(r->in, &message, 8, 0)), 0);
    unchanged(r, &message, &before, sizeof message);
}

static void prepare_mq(struct row *r) {
    struct mq_attr size = {.mq_maxmsg = 1, .mq_msgsize = 8};
    char name[64];
    snprintf(name, sizeof name, "/hangsnap-matrix-%d-%s", getpid(), r->name);
    r->in = mq_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600, &size);
    if (r->in < 0) r->absent = "no POSIX message queues";
    else mq_unlink(name);
}
static void prepare_full_mq(struct row *r) {
    prepare_mq(r);
    if (!r->absent) MUST(r, mq_send(r->in, "another.", 8, 0));
}
static void give_mq(struct row *r) { expect(r, "released by", mq_send(r->in, eight, 8, 0), 0); }
static void take_mq(struct row *r) {
    char bytes[8];
    expect(r, "released by", mq_receive(r->in, bytes, 8, NULL), 8);
    expect(r, "received", mq_receive(r->in, bytes, 8, NULL), 8);
    check_eight(r, bytes);
}
ROW(mq_receive) {
    char bytes[8] = {0};
    expect(r, "received", BLOCK(r, mq_receive(r->in, bytes, 8, NULL)), 8);
    check_eight(r, bytes);
}
ROW(mq_send) { expect(r, "sent", BLOCK(r, mq_send(r->in, eight, 8, 0)), 0); }
LIMIT_ROW(mq_timedreceive_timed, REALTIME, CLOCKS, ETIMEDOUT, char to[8], mq_timedreceive(r->in, to, 8, NULL, &limit))
LIMIT_ROW(mq_timedsend_timed, REALTIME, CLOCKS, ETIMEDOUT, , mq_timedsend(r->in, eight, 8, 0, &limit))

static void prepare_aio(struct row *r) {
    if (syscall(SYS_io_setup, 4, &r->object) < 0) r->absent = "no io_setup";
}
// A write of eight bytes, which completes at once.
static void submit_aio(struct row *r) {
    struct iocb request = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_data = 42}, *requests[1] = {&request};
    request.aio_fildes = MUST(r, memfd_create(r->name, MFD_CLOEXEC));
    request.aio_buf = (uintptr_t)eight, request.aio_nbytes = 8;
    expect(r, "released by", syscall(SYS_io_submit, r->object, 1, requests), 1);
}
#define AIO_ROW(name, call) \
    ROW(name) { \
        struct io_event events[2] = {{7, 7, 7, 7}, {8, 8, 8, 8}}, before = events[1]; \
        struct timespec limit = {AGES, 0}; \
        (void)limit; \
        expect(r, "events", BLOCK(r, call), 1); \
        expect(r, "which", events[0].data, 42); \
        expect(r, "result", events[0].res, 8); \
        unchanged(r, events + 1, &before, sizeof before); \
    }
#define AIO_ROW_TIMED(name, call) \
    ROW(name) { \
        struct io_event events[2] = {{7, 7, 7, 7}, {8, 8, 8, 8}}, before[2] = {{7, 7, 7, 7}, {8, 8, 8, 8}}; \
        struct timespec limit = spec(TIMEOUT), limit_before = limit; \
        while (!ending) { \
            int64_t begun = begin(r); \
            timed_out(r, begun, EXACT, call, 0); \
            unchanged(r, events, before, sizeof before); \
            unchanged(r, &limit, &limit_before, sizeof limit); \
        } \
    }
AIO_ROW(io_getevents, syscall(SYS_io_getevents, r->object, 1, 2, events, NULL))
AIO_ROW(io_getevents_long, syscall(SYS_io_getevents, r->object, 1, 2, events, &limit))
AIO_ROW_TIMED(io_getevents_timed, syscall(SYS_io_getevents, r->object, 1, 2, events, &limit))
AIO_ROW_TIMED(io_pgetevents_timed, syscall(SYS_io_pgetevents, r->object, 1, 2, events, &limit, NULL))

// A ring through which is asked whether an eventfd is ready.
struct ring { int fd; char *queues; const struct io_uring_cqe *completions; };
static int ringed(struct row *r, struct ring *ring) {
    struct io_uring_params layout = {0};
    r->in = r->out = MUST(r, eventfd(0, EFD_CLOEXEC));
    ring->fd = syscall(SYS_io_uring_setup, 4, &layout);
    if (ring->fd < 0 || !(layout.features & IORING_FEAT_SINGLE_MMAP) || !(layout.features & IORING_FEAT_EXT_ARG)) {
        r->absent = "no io_uring, or an old one";
        return 0;
    }
    size_t size = layout.cq_off.cqes + layout.cq_entries * sizeof(struct io_uring_cqe);
    ring->queues = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entries = mmap(NULL, layout.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
    if (ring->queues == MAP_FAILED || entries == MAP_FAILED) must(r, "mmap of the ring", -1);
    ring->completions = (void *)(ring->queues + layout.cq_off.cqes);
    entries[0] = (struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD, .fd = r->in, .user_data = 42};
    entries[0].poll32_events = POLLIN;
    *(uint32_t *)(ring->queues + layout.sq_off.array) = 0;
    atomic_store((_Atomic uint32_t *)(ring->queues + layout.sq_off.tail), 1);
    expect(r, "submitted", syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0), 1);
    return 1;
}
ROW(io_uring_enter) {
    struct ring ring;
    if (!ringed(r, &ring)) return;
    expect(r, "waited", BLOCK(r, syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0)), 0);
    expect(r, "completed", ring.completions[0].user_data, 42);
    expect(r, "result", ring.completions[0].res, POLLIN);
}
ROW(io_uring_enter_timed) {
    struct ring ring;
    if (!ringed(r, &ring)) return;
    while (!ending) {
        struct __kernel_timespec limit = {0, TIMEOUT}, before = limit;
        struct io_uring_getevents_arg argument = {.ts = (uintptr_t)&limit};
        int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
        int64_t begun = begin(r);
        long result = syscall(SYS_io_uring_enter, ring.fd, 0, 1, flags, &argument, sizeof argument);
        timed_out(r, begun, EXACT, result, ETIME);
        unchanged(r, &limit, &before, sizeof limit);
    }
}
