/*
 * `coroutines KIND`: a thread that has switched to a stack in the heap, made by glibc (`context`), or by a few instructions
 * as boost and others do (`switch`), whose entry has nowhere to return to.
 */
#include "chain.h"

#include <ucontext.h>

#define STACK_SIZE (256 << 10)

PLAIN static void leaf(void) {
    ENTER("leaf");
    stay();
    AFTER_CALL();
}

PLAIN static void middle(void) {
    ENTER("middle");
    leaf();
    AFTER_CALL();
}

/* The coroutine's stack is all that the thread is on: what switched to it is on another one. */
static void forget_switcher(void) {
    entered_count = 0;
}

PLAIN static void context_entry(void) {
    forget_switcher();
    /* It returns to what glibc has put there, and nothing has called that. */
    ends = ENDS_BEHIND_LAST;
    ENTER("context_entry");
    middle();
    AFTER_CALL();
}

PLAIN __attribute__((noreturn)) void switch_entry(void) {
    forget_switcher();
    /* Its return address is 0. */
    ends = ENDS_NOWHERE;
    ENTER("switch_entry");
    middle();
    abort();
}

/* switch_to(top): callee-saved registers are pushed, the stack pointer is exchanged, and the entry is jumped to. */
__asm__(".text\n.globl switch_to\n.type switch_to, @function\nswitch_to:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, %rax\nmov %rdi, %rsp\npush %rax\nxor %ebp, %ebp\npushq $0\njmp switch_entry\n"
        ".size switch_to, . - switch_to\n");
void switch_to(void *top);

static const char *kind;

PLAIN static void switches(void) {
    ENTER("switches");
    if (strcmp(kind, "switch") == 0) {
        char *stack = aligned_alloc(64, STACK_SIZE);
        switch_to(stack + STACK_SIZE - 8);
        AFTER_CALL();
        return;
    }
    static __thread ucontext_t own, other;
    getcontext(&other);
    other.uc_stack.ss_sp = malloc(STACK_SIZE);
    other.uc_stack.ss_size = STACK_SIZE;
    other.uc_link = &own;
    makecontext(&other, context_entry, 0);
    swapcontext(&own, &other);
    AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    switches();
    AFTER_CALL();
    return argument;
}

int main(int count, char **arguments) {
    pthread_t thread;
    ENTER("main");
    if (count != 2)
        return 1;
    kind = arguments[1];
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    switches();
    AFTER_CALL();
    return 0;
}
