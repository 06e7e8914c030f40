/*
 * `signals KIND`: a thread in a signal handler of that kind, and the main thread waiting for it.
 *
 * Handlers enter themselves with what lies between the frame that the kernel laid and the function that was interrupted.
 */
#include "chain.h"

#include <ucontext.h>

static void (*volatile nowhere)(void);
static volatile int *volatile null_pointer;

PLAIN static void leaf(void) {
    ENTER("leaf");
    stay();
    AFTER_CALL();
}

/* A signal sent to oneself interrupts the C library's pthread_kill. */
PLAIN static void plain_handler(int number) {
    (void)number;
    ENTER_HANDLER("plain_handler", "..");
    leaf();
    AFTER_CALL();
}

PLAIN static void information_handler(int number, siginfo_t *information, void *context) {
    (void)number, (void)information, (void)context;
    ENTER_HANDLER("information_handler", "..");
    leaf();
    AFTER_CALL();
}

PLAIN static void raise_inner(void) {
    ENTER("raise_inner");
    pthread_kill(pthread_self(), SIGUSR2);
    AFTER_CALL();
}

/* Its own handler is interrupted by another. */
PLAIN static void nesting_handler(int number) {
    (void)number;
    ENTER_HANDLER("nesting_handler", "..");
    raise_inner();
    AFTER_CALL();
}

/* A fault interrupts the very function. */
PLAIN static void fault_handler(int number) {
    (void)number;
    ENTER_HANDLER("fault_handler", "");
    leaf();
    AFTER_CALL();
}

/* A call of a null pointer leaves a frame at address 0 below the function that made it. */
PLAIN static void null_call_handler(int number) {
    (void)number;
    ENTER_HANDLER("null_call_handler", "?@0x0");
    leaf();
    AFTER_CALL();
}

PLAIN static void jump_handler(int number) {
    (void)number;
    ENTER_HANDLER("jump_handler", "?@0x123456789000");
    leaf();
    AFTER_CALL();
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    if (flags & SA_SIGINFO)
        action.sa_sigaction = information_handler;
    if (sigaction(number, &action, NULL) != 0)
        _exit(1);
}

static void use_alternate_stack(void) {
    stack_t stack = {.ss_size = 1 << 16};
    stack.ss_sp = malloc(stack.ss_size);
    if (sigaltstack(&stack, NULL) != 0)
        _exit(1);
}

PLAIN static void raises(void) {
    ENTER("raises");
    pthread_kill(pthread_self(), SIGUSR1);
    AFTER_CALL();
}

PLAIN static void faults(void) {
    ENTER("faults");
    *null_pointer = 1;
    AFTER_CALL();
}

PLAIN static void calls_null(void) {
    ENTER("calls_null");
    nowhere();
    AFTER_CALL();
}

PLAIN static void calls_unmapped(void) {
    ENTER("calls_unmapped");
    nowhere = (void (*)(void))0x123456789000;
    nowhere();
    AFTER_CALL();
}

/* It ends when the stack does; that is not for the compiler to see. */
static volatile int goes_on = 1;

PLAIN static int overflows(volatile char *outer) {
    volatile char here[1000];
    here[0] = *outer;
    int result = goes_on ? overflows(here) : 0;
    AFTER_CALL();
    return result + here[0];
}

PLAIN static void overflow_handler(int number) {
    (void)number;
    ENTER_HANDLER("overflow_handler", "overflows*any");
    leaf();
    AFTER_CALL();
}

PLAIN static void overflows_stack(void) {
    volatile char first = 0;
    ENTER("overflows_stack");
    overflows(&first);
    AFTER_CALL();
}

struct kind {
    const char *name;
    void (*function)(void);
    int number;
    void (*handler)(int);
    int flags;
};

static const struct kind kinds[] = {
    {"plain", raises, SIGUSR1, plain_handler, 0},
    {"information", raises, SIGUSR1, NULL, SA_SIGINFO},
    {"alternate", raises, SIGUSR1, NULL, SA_SIGINFO | SA_ONSTACK},
    {"nested", raises, SIGUSR1, nesting_handler, 0},
    {"nested-alternate", raises, SIGUSR1, nesting_handler, SA_ONSTACK},
    {"fault", faults, SIGSEGV, fault_handler, 0},
    {"fault-alternate", faults, SIGSEGV, fault_handler, SA_ONSTACK},
    {"null-call", calls_null, SIGSEGV, null_call_handler, 0},
    {"null-call-alternate", calls_null, SIGSEGV, null_call_handler, SA_ONSTACK},
    {"unmapped-call-alternate", calls_unmapped, SIGSEGV, jump_handler, SA_ONSTACK},
    {"overflow", overflows_stack, SIGSEGV, overflow_handler, SA_ONSTACK},
};

static const struct kind *kind;

PLAIN static void run_kind(void) {
    ENTER("run_kind");
    use_alternate_stack();
    kind->function();
    AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    run_kind();
    AFTER_CALL();
    return argument;
}

int main(int count, char **arguments) {
    pthread_t thread;
    ENTER("main");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (count == 2 && strcmp(kinds[i].name, arguments[1]) == 0)
            kind = &kinds[i];
    if (kind == NULL)
        return 1;
    handle(kind->number, kind->handler, kind->flags);
    handle(SIGUSR2, plain_handler, 0);
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    run_kind();
    AFTER_CALL();
    return 0;
}
