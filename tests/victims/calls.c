// Threads that sit in system calls that a stop must not disturb, and count what they see of one: EINTR, other errors,
// and work that is lost, out of order, or woken for too early or much too late.
//
// A feeder gives workers numbered work now and then; others run by themselves. At the end of standard input each gets an
// END, and what it counted is printed: `NAME given N taken N eintr N errors N wrong N`. DIR is an empty directory.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END UINT64_MAX
#define MS 1000000LL

struct worker {
    const char *name;
    void (*prepare)(struct worker *);
    // Hands work over; NULL for a worker that runs by itself.
    void (*give)(struct worker *, uint64_t);
    // Waits for work; false when it woke up without any, as after a timeout.
    int (*receive)(struct worker *, uint64_t *);
    // Compares what was seen with what must have happened, at the end.
    void (*settle)(struct worker *);
    int kind;
    pthread_t thread;
    _Atomic int ready, done;
    _Atomic uint64_t given, taken, handled;
    _Atomic long eintr, errors, wrong;
    int in, out, extra;
    _Atomic uint32_t word;
    int64_t begun;
    sem_t semaphore;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};

static _Atomic int ending;
static const char *directory;
static __thread struct worker *self;

static long noted(struct worker *w, long result) {
    if (result >= 0) return result;
    if (errno == EINTR) w->eintr++;
    else w->errors++;
    fprintf(stderr, "%s: %s\n", w->name, strerror(errno));
    return result;
}

static void wrong(struct worker *w, const char *what, long long found, long long wanted) {
    w->wrong++;
    fprintf(stderr, "%s: %s %lld instead of %lld\n", w->name, what, found, wanted);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000 * MS + time.tv_nsec;
}

static struct timespec spec(int64_t ns) { return (struct timespec){ns / (1000 * MS), ns % (1000 * MS)}; }

// A wait that a stop cuts short ends early; one that a stop begins anew does not end while samples come faster than it.
static void check_wait(struct worker *w, int64_t begun, int64_t length) {
    int64_t took = now(CLOCK_MONOTONIC) - begun;
    if (took < length || took > length + 2000 * MS) wrong(w, "waited ns", took, length);
}

// Work as eight bytes through a descriptor.
static void give_bytes(struct worker *w, uint64_t value) {
    if (noted(w, write(w->out, &value, sizeof value)) != sizeof value) wrong(w, "wrote", 0, 8);
}
static int take_bytes(struct worker *w, int from, uint64_t *value) {
    long count = noted(w, read(from, value, sizeof *value));
    if (count >= 0 && count != sizeof *value) wrong(w, "read bytes", count, 8);
    return count == sizeof *value;
}
static int receive_bytes(struct worker *w, uint64_t *value) { return take_bytes(w, w->in, value); }
static void ends(struct worker *w, int pair[2]) { w->in = pair[0], w->out = pair[1]; }
static void prepare_pipe(struct worker *w) { int pair[2]; noted(w, pipe(pair)); ends(w, pair); }
static void prepare_socket(struct worker *w) {
    int pair[2];
    noted(w, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    ends(w, pair);
}
static void prepare_terminal(struct worker *w) {
    struct termios raw;
    int pair[2];
    noted(w, openpty(&pair[1], &pair[0], NULL, NULL, NULL));
    tcgetattr(pair[0], &raw);
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = sizeof(uint64_t);
    noted(w, tcsetattr(pair[0], TCSANOW, &raw));
    ends(w, pair);
}
static int receive_socket(struct worker *w, uint64_t *value) {
    return noted(w, recv(w->in, value, sizeof *value, MSG_WAITALL)) == sizeof *value;
}

// Every second wait has a timeout, which may come before the work.
enum { POLL, PPOLL, PSELECT };
static int receive_when_ready(struct worker *w, uint64_t *value) {
    struct pollfd ready = {w->in, POLLIN, 0};
    struct timespec limit = spec(3 * MS), *timeout = w->extra++ % 2 ? &limit : NULL;
    int64_t begun = now(CLOCK_MONOTONIC);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(w->in, &set);
    int count = w->kind == POLL    ? poll(&ready, 1, timeout ? 3 : -1)
                : w->kind == PPOLL ? ppoll(&ready, 1, timeout, NULL)
                                   : pselect(w->in + 1, &set, NULL, NULL, timeout, NULL);
    if (noted(w, count) == 0) check_wait(w, begun, timeout ? 3 * MS : INT64_MAX / 2);
    return count == 1 && take_bytes(w, w->in, value);
}

static int receive_spliced(struct worker *w, uint64_t *value) {
    static int through[2];
    if (!through[1]) noted(w, pipe(through));
    return noted(w, splice(w->in, NULL, through[1], NULL, 8, 0)) == 8 && take_bytes(w, through[0], value);
}

static struct sockaddr_un place(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
    return address;
}
static void prepare_listener(struct worker *w) {
    struct sockaddr_un address = place();
    w->in = socket(AF_UNIX, SOCK_STREAM, 0);
    noted(w, bind(w->in, (struct sockaddr *)&address, sizeof address));
    noted(w, listen(w->in, 100));
}
static void give_connection(struct worker *w, uint64_t value) {
    struct sockaddr_un address = place();
    w->out = socket(AF_UNIX, SOCK_STREAM, 0);
    if (noted(w, connect(w->out, (struct sockaddr *)&address, sizeof address)) == 0) give_bytes(w, value);
    close(w->out);
}
static int receive_connection(struct worker *w, uint64_t *value) {
    int connection = noted(w, accept(w->in, NULL, NULL));
    if (connection < 0) return 0;
    int taken = take_bytes(w, connection, value);
    close(connection);
    return taken;
}

static void prepare_watch(struct worker *w) {
    w->in = inotify_init();
    noted(w, inotify_add_watch(w->in, directory, IN_DELETE));
}
static void give_file(struct worker *w, uint64_t value) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%llu", directory, (unsigned long long)value);
    close(noted(w, open(path, O_CREAT | O_WRONLY, 0600)));
    unlink(path);
}
static int receive_name(struct worker *w, uint64_t *value) {
    char event[sizeof(struct inotify_event) + 32];
    if (noted(w, read(w->in, event, sizeof event)) < 0) return 0;
    *value = strtoull(((struct inotify_event *)event)->name, NULL, 10);
    return 1;
}

// Message queues of both kinds.
struct message { long type; uint64_t value; };
static void prepare_messages(struct worker *w) { w->in = noted(w, msgget(IPC_PRIVATE, 0600)); }
static void give_message(struct worker *w, uint64_t value) {
    struct message message = {1, value};
    noted(w, msgsnd(w->in, &message, sizeof value, 0));
}
static int receive_message(struct worker *w, uint64_t *value) {
    struct message message;
    if (noted(w, msgrcv(w->in, &message, sizeof *value, 0, 0)) != sizeof *value) return 0;
    *value = message.value;
    // The queue outlives the process unless it is removed.
    if (*value == END) noted(w, msgctl(w->in, IPC_RMID, NULL));
    return 1;
}
static void prepare_mq(struct worker *w) {
    struct mq_attr size = {.mq_maxmsg = 10, .mq_msgsize = sizeof(uint64_t)};
    char name[64];
    snprintf(name, sizeof name, "/hangsnap-calls-%d", getpid());
    w->in = noted(w, mq_open(name, O_RDWR | O_CREAT, 0600, &size));
    mq_unlink(name);
}
static void give_mq(struct worker *w, uint64_t value) { noted(w, mq_send(w->in, (char *)&value, sizeof value, 0)); }
static int receive_mq(struct worker *w, uint64_t *value) {
    return noted(w, mq_receive(w->in, (char *)value, sizeof *value, NULL)) == sizeof *value;
}

// Counters carry no numbers: what comes after all that was given is the END.
static int counted(struct worker *w, uint64_t *value) {
    *value = w->taken == w->given ? END : w->taken + 1;
    return 1;
}
static void prepare_eventfd(struct worker *w) { w->in = w->out = noted(w, eventfd(0, EFD_SEMAPHORE)); }
static void give_event(struct worker *w, uint64_t value) { (void)value; give_bytes(w, 1); }
static int receive_event(struct worker *w, uint64_t *value) { return receive_bytes(w, value) && counted(w, value); }
static void prepare_semaphore(struct worker *w) { noted(w, sem_init(&w->semaphore, 0, 0)); }
static void give_post(struct worker *w, uint64_t value) { (void)value; noted(w, sem_post(&w->semaphore)); }
static int receive_post(struct worker *w, uint64_t *value) {
    return noted(w, sem_wait(&w->semaphore)) == 0 && counted(w, value);
}
static void give_word(struct worker *w, uint64_t value) {
    (void)value;
    w->word++;
    noted(w, syscall(SYS_futex, &w->word, FUTEX_WAKE, 1, NULL, NULL, 0));
}
static int receive_word(struct worker *w, uint64_t *value) {
    struct timespec limit = spec(3 * MS);
    if (w->word == (uint32_t)w->taken) {
        int64_t begun = now(CLOCK_MONOTONIC);
        long result = syscall(SYS_futex, &w->word, FUTEX_WAIT, (uint32_t)w->taken, w->kind ? &limit : NULL, NULL, 0);
        if (result < 0 && errno == ETIMEDOUT) check_wait(w, begun, 3 * MS);
        else if (result < 0 && errno != EAGAIN) noted(w, result);
        return 0;
    }
    return counted(w, value);
}
static void prepare_condition(struct worker *w) {
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->condition, NULL);
}
static void give_condition(struct worker *w, uint64_t value) {
    (void)value;
    pthread_mutex_lock(&w->mutex);
    w->word++;
    pthread_cond_signal(&w->condition);
    pthread_mutex_unlock(&w->mutex);
}
static int receive_condition(struct worker *w, uint64_t *value) {
    int result = 0;
    pthread_mutex_lock(&w->mutex);
    struct timespec limit = spec(now(CLOCK_REALTIME) + 3 * MS);
    int64_t begun = now(CLOCK_MONOTONIC);
    while (w->word == (uint32_t)w->taken && result == 0)
        result = pthread_cond_timedwait(&w->condition, &w->mutex, &limit);
    // The two clocks need not agree to the microsecond.
    if (result == ETIMEDOUT) check_wait(w, begun, 3 * MS - MS / 10);
    else if (result != 0) errno = result, noted(w, -1);
    int some = w->word != (uint32_t)w->taken && counted(w, value);
    pthread_mutex_unlock(&w->mutex);
    return some;
}

// One program in three files, none of them too long to read.
#include "calls_alone.h"
#include "calls_main.h"
