/*
 * `split SEGMENTS KIND`: a thread and the main thread on stacks of so many segments (gcc's -fsplit-stack), one for each call of
 * `fills`. Where a function was called by way of __morestack, which has made a new segment for it, its return address tells:
 * that is in __morestack, and where that returns to is not asked.
 *
 * KIND is the call that the threads end in, and with it whether segments lie one higher, one lower (`zigzag`), and whether a handler is on top.
 * In the kind `moves` the other thread goes through so many segments and back all the time, in the kind `deep` it stays there.
 */
/* What tells the stack makes no segment: it would be used again by what comes later, and is larger. */
static inline void add(char *, unsigned long, const char *, const void *) __attribute__((no_split_stack));
static inline void say(const char *) __attribute__((no_split_stack));
static inline void announce(const char *) __attribute__((no_split_stack));
#include "chain.h"

#include <linux/futex.h>
#include <sys/mman.h>

#define SPLIT(function) split(function, __builtin_return_address(0), 0)
#define NOT_SPLIT __attribute__((no_split_stack))

/* libgcc's own, in every program that splits its stacks. */
extern const char morestack[] __asm__("__morestack") __attribute__((visibility("hidden")));
enum { MORESTACK_SIZE = 0xe5, SMALL = 12 << 10, LARGE = 200 << 10 };

static const char *kind;
static int segments;
static int pipes[2];

static int is(const char *part) {
    return strstr(kind, part) != NULL;
}

NOT_SPLIT static inline void split(const char *name, void *returns_to, int is_handler) {
    int by_morestack = (size_t)((char *)returns_to - (char *)morestack) < MORESTACK_SIZE;
    if (by_morestack)
        enter(name, returns_to, "__morestack", is_handler ? "<signal> .." : "");
    else
        enter(name, returns_to, is_handler ? "<signal>" : NULL, "..");
}

static void arrive_and_wait(void) {
    static int word;
    struct timespec long_time = {100000, 0};
    char byte;
    arrive();
    for (;;)
        if (is("futex"))
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        else if (is("read"))
            (void)!read(pipes[0], &byte, 1);
        else if (is("nanosleep"))
            nanosleep(&long_time, NULL);
        else
            pause();
}

PLAIN static void leaf(void) {
    SPLIT("leaf");
    announce(".. __morestack? ..");
    arrive_and_wait();
    AFTER_CALL();
}

/* Its prologue may need a segment, too. */
PLAIN static void handler(int signal) {
    (void)signal;
    split("handler", __builtin_return_address(0), 1);
    leaf();
    AFTER_CALL();
}

/* On a stack of a handler's own, whatever the word says that others compare with. */
PLAIN NOT_SPLIT static void handler_not_split(int signal) {
    (void)signal;
    ENTER_HANDLER("handler_not_split", "..");
    leaf();
    AFTER_CALL();
}

PLAIN static void top(void) {
    SPLIT("top");
    if (is("signal") || is("alternate")) {
        struct sigaction action = {.sa_handler = is("not-split") ? handler_not_split : handler};
        stack_t stack = {.ss_size = 64 << 10, .ss_sp = malloc(64 << 10)};
        action.sa_flags = is("alternate") ? SA_ONSTACK : 0;
        if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0)
            _exit(1);
        pthread_kill(pthread_self(), SIGUSR1);
    } else {
        leaf();
    }
    AFTER_CALL();
}

static void goes_on(int left);

PLAIN static void fills(int left) {
    volatile char room[SMALL];
    SPLIT("fills");
    room[0] = 0;
    goes_on(left);
    AFTER_CALL();
    room[1] = 0;
}

PLAIN static void fills_more(int left) {
    volatile char room[LARGE];
    SPLIT("fills_more");
    room[0] = 0;
    goes_on(left);
    AFTER_CALL();
    room[1] = 0;
}

/* Inlined into both. */
__attribute__((always_inline)) static inline void goes_on(int left) {
    if (left == 1)
        top();
    else if (is("zigzag") && left % 2 == 0)
        fills_more(left - 1);
    else
        fills(left - 1);
}

/* As many calls deep, each in a segment of its own, and there for ever or back at once. */
PLAIN static int climbs(int left) {
    volatile char room[SMALL];
    room[0] = 0;
    if (left > 1)
        left += climbs(left - 1);
    else if (is("deep"))
        arrive_and_wait();
    AFTER_CALL();
    return left + room[0];
}

static int is_about_to;

PLAIN NOT_SPLIT static void *moves(void *argument) {
    ENTER("moves");
    announce("..");
    __atomic_store_n(&is_about_to, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        climbs(segments);
        AFTER_CALL();
    }
    return argument;
}

PLAIN static void *run_thread(void *argument) {
    SPLIT("run_thread");
    fills(segments);
    AFTER_CALL();
    return argument;
}

/* Leaves holes into which a small segment goes and no large one. */
static void make_holes(void) {
    enum { HOLE = 24 << 10, BETWEEN = 4096, COUNT = 100 };
    char *all = mmap(NULL, COUNT * (HOLE + BETWEEN), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < COUNT; i++)
        if (all == MAP_FAILED || munmap(all + i * (HOLE + BETWEEN), HOLE) != 0)
            _exit(1);
}

int main(int count, char **arguments) {
    pthread_t thread;
    SPLIT("main");
    if (count != 3 || pipe(pipes) != 0)
        return 1;
    segments = atoi(arguments[1]);
    kind = arguments[2];
    if (is("zigzag"))
        make_holes();
    expect_threads(2);
    if (is("moves") || is("deep")) {
        pthread_attr_t small;
        if (pthread_attr_init(&small) != 0 || pthread_attr_setstacksize(&small, 64 << 10) != 0 ||
            pthread_create(&thread, &small, moves, NULL) != 0)
            return 1;
        if (is("moves"))
            arrive_for_spinner(thread, &is_about_to);
        leaf();
    }
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    fills(segments);
    AFTER_CALL();
    return 0;
}
