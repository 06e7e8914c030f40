// Part of matrix.c: futexes and what the C library makes of them, and locks on files.

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *limit) {
    return syscall(SYS_futex, word, operation, value, limit, NULL, FUTEX_BITSET_MATCH_ANY);
}
static void wake_word(struct row *r) {
    r->word = 1;
    expect(r, "woken", futex(&r->word, FUTEX_WAKE, 1, NULL), 1);
}
ROW(futex_wait) { expect(r, "woken", BLOCK(r, futex(&r->word, FUTEX_WAIT, 0, NULL)), 0); }
ROW(futex_wait_long) {
    struct timespec limit = {AGES, 0};
    expect(r, "woken", BLOCK(r, futex(&r->word, FUTEX_WAIT, 0, &limit)), 0);
}
ROW(futex_wait_bitset) { expect(r, "woken", BLOCK(r, futex(&r->word, FUTEX_WAIT_BITSET, 0, NULL)), 0); }

// A call with a limit that it must not write to: so long from now, or at that time of a clock.
#define LIMIT_ROW(name, from, early, wanted, prepare, call) \
    ROW(name) { \
        prepare; \
        while (!ending) { \
            int64_t begun = begin(r); \
            struct timespec limit = spec((from) + TIMEOUT), before = limit; \
            timed_out(r, begun, early, call, wanted); \
            unchanged(r, &limit, &before, sizeof limit); \
        } \
    }
#define REALTIME now(CLOCK_REALTIME)
#define MONOTONIC now(CLOCK_MONOTONIC)
LIMIT_ROW(futex_wait_timed, 0, EXACT, ETIMEDOUT, , futex(&r->word, FUTEX_WAIT, 0, &limit))
LIMIT_ROW(futex_wait_bitset_timed, MONOTONIC, EXACT, ETIMEDOUT, , futex(&r->word, FUTEX_WAIT_BITSET, 0, &limit))

// linux/futex.h has these since 5.16; the number of the call is the same everywhere.
struct waited { uint64_t value, address; uint32_t flags, reserved; };
enum { FUTEX_WAITV = 449, SIZE_U32 = 2 };
static long futex_waitv(struct row *r, const struct timespec *limit) {
    struct waited wanted[1] = {{0, (uintptr_t)&r->word, SIZE_U32, 0}};
    return syscall(FUTEX_WAITV, wanted, 1, 0, limit, CLOCK_MONOTONIC);
}
static int has_waitv(struct row *r) {
    if (syscall(FUTEX_WAITV, NULL, 0, 0, NULL, 0) == -1 && errno == EINVAL) return 1;
    r->absent = "the kernel has no futex_waitv";
    return 0;
}
ROW(futex_waitv) {
    if (has_waitv(r)) expect(r, "woken", BLOCK(r, futex_waitv(r, NULL)), 0);
}
LIMIT_ROW(futex_waitv_timed, MONOTONIC, EXACT, ETIMEDOUT, if (!has_waitv(r)) return, futex_waitv(r, &limit))

static void prepare_semaphore(struct row *r) {
    r->object = malloc(sizeof(sem_t));
    MUST(r, sem_init(r->object, 0, 0));
}
static void post(struct row *r) { expect(r, "released by", sem_post(r->object), 0); }
ROW(sem_wait) { expect(r, "waited", BLOCK(r, sem_wait(r->object)), 0); }
LIMIT_ROW(sem_timedwait_timed, REALTIME, CLOCKS, ETIMEDOUT, , sem_timedwait(r->object, &limit))
LIMIT_ROW(sem_clockwait_timed, MONOTONIC, EXACT, ETIMEDOUT, , sem_clockwait(r->object, CLOCK_MONOTONIC, &limit))

struct condition { pthread_mutex_t mutex; pthread_cond_t condition; };
static void prepare_condition(struct row *r) {
    struct condition *c = r->object = malloc(sizeof *c);
    MUST(r, to_errno(pthread_mutex_init(&c->mutex, NULL)));
    MUST(r, to_errno(pthread_cond_init(&c->condition, NULL)));
}
static void signal_condition(struct row *r) {
    struct condition *c = r->object;
    pthread_mutex_lock(&c->mutex);
    r->word = 1;
    pthread_cond_signal(&c->condition);
    pthread_mutex_unlock(&c->mutex);
}
ROW(cond_wait) {
    struct condition *c = r->object;
    expect(r, "locked", pthread_mutex_lock(&c->mutex), 0);
    while (!r->word) expect(r, "waited", BLOCK(r, to_errno(pthread_cond_wait(&c->condition, &c->mutex))), 0);
    expect(r, "unlocked", pthread_mutex_unlock(&c->mutex), 0);
    // Nobody else signals: one wait, and none that came back for nothing.
    expect(r, "waits", r->calls, 1);
}
static long wait_condition(struct row *r, const struct timespec *limit) {
    struct condition *c = r->object;
    pthread_mutex_lock(&c->mutex);
    int result = pthread_cond_timedwait(&c->condition, &c->mutex, limit);
    pthread_mutex_unlock(&c->mutex);
    return to_errno(result);
}
LIMIT_ROW(cond_timedwait_timed, REALTIME, CLOCKS, ETIMEDOUT, , wait_condition(r, &limit))

// Held by the main thread until it releases the row.
static void hold_mutex_with(struct row *r, int protocol) {
    pthread_mutexattr_t attributes;
    r->object = malloc(sizeof(pthread_mutex_t));
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    MUST(r, to_errno(pthread_mutex_init(r->object, &attributes)));
    MUST(r, to_errno(pthread_mutex_lock(r->object)));
}
static void hold_mutex(struct row *r) { hold_mutex_with(r, PTHREAD_PRIO_NONE); }
static void hold_pi_mutex(struct row *r) { hold_mutex_with(r, PTHREAD_PRIO_INHERIT); }
static void unlock_mutex(struct row *r) { expect(r, "released by", pthread_mutex_unlock(r->object), 0); }
static void lock_mutex(struct row *r) {
    expect(r, "locked", BLOCK(r, to_errno(pthread_mutex_lock(r->object))), 0);
    expect(r, "unlocked", pthread_mutex_unlock(r->object), 0);
}
ROW(mutex_lock) {
    lock_mutex(r);
    expect(r, "locks", r->calls, 1);
}
ROW(mutex_lock_pi) {
    lock_mutex(r);
    expect(r, "locks", r->calls, 1);
}
LIMIT_ROW(mutex_timedlock_timed, REALTIME, CLOCKS, ETIMEDOUT, , to_errno(pthread_mutex_timedlock(r->object, &limit)))
LIMIT_ROW(mutex_timedlock_pi_timed, REALTIME, CLOCKS, ETIMEDOUT, , to_errno(pthread_mutex_timedlock(r->object, &limit)))
static void hold_rwlock(struct row *r) {
    r->object = malloc(sizeof(pthread_rwlock_t));
    MUST(r, to_errno(pthread_rwlock_init(r->object, NULL)));
    MUST(r, to_errno(pthread_rwlock_wrlock(r->object)));
}
static void unlock_rwlock(struct row *r) { expect(r, "released by", pthread_rwlock_unlock(r->object), 0); }
ROW(rwlock_rdlock) { expect(r, "locked", BLOCK(r, to_errno(pthread_rwlock_rdlock(r->object))), 0); }
ROW(rwlock_wrlock) { expect(r, "locked", BLOCK(r, to_errno(pthread_rwlock_wrlock(r->object))), 0); }
static void prepare_barrier(struct row *r) {
    r->object = malloc(sizeof(pthread_barrier_t));
    MUST(r, to_errno(pthread_barrier_init(r->object, NULL, 2)));
}
static void reach_barrier(struct row *r) { pthread_barrier_wait(r->object); }
ROW(barrier_wait) {
    int result = BLOCK(r, pthread_barrier_wait(r->object));
    if (result != PTHREAD_BARRIER_SERIAL_THREAD) expect(r, "waited", result, 0);
}

// Two descriptions of one file: the first has the lock until the row is released.
static void two_descriptions(struct row *r) {
    char path[PATH_MAX];
    path_of(r, path);
    r->out = MUST(r, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    r->in = MUST(r, open(path, O_RDWR | O_CLOEXEC));
}
ROW(flock) {
    two_descriptions(r);
    MUST(r, flock(r->out, LOCK_EX));
    expect(r, "locked", BLOCK(r, flock(r->in, LOCK_EX)), 0);
}
static void unlock_flock(struct row *r) { expect(r, "released by", flock(r->out, LOCK_UN), 0); }
static const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, none = {.l_type = F_UNLCK};
ROW(ofd_setlkw) {
    struct flock range = whole;
    two_descriptions(r);
    MUST(r, fcntl(r->out, F_OFD_SETLK, &whole));
    expect(r, "locked", BLOCK(r, fcntl(r->in, F_OFD_SETLKW, &range)), 0);
    unchanged(r, &range, &whole, sizeof range);
}
static void unlock_ofd(struct row *r) { expect(r, "released by", fcntl(r->out, F_OFD_SETLK, &none), 0); }
// Such a lock belongs to a process: a child has it (`matrix_events.h`), and its end lets go of it.
ROW(setlkw) {
    struct flock range = whole;
    expect(r, "locked", BLOCK(r, fcntl(r->in, F_SETLKW, &range)), 0);
    unchanged(r, &range, &whole, sizeof range);
}
