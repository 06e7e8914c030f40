/*
 * `places KIND`: a thread that spins at one certain instruction, and the main thread waiting.
 *
 * The functions are written in assembly so that the instruction is known; their call frame information is what an assembler
 * programmer writes.
 */
#include "chain.h"

#define FUNCTION(name) ".globl " name "\n.type " name ", @function\n" name ":\n"
#define END(name) ".size " name ", . - " name "\n"
#define SPIN "1: jmp 1b\n"

void at_entry(void);
void after_push(void);
void after_frame_pointer(void);
void after_pop(void);
void between_pushes(void);
void with_frame_pointer_only(void);
void leaf_in_red_zone(void);
void aligned_by_hand(void);

__asm__(".text\n"
        FUNCTION("at_entry") ".cfi_startproc\n" SPIN "ret\n.cfi_endproc\n" END("at_entry")
        FUNCTION("after_push") ".cfi_startproc\n"
        "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n" SPIN
        "pop %rbp\n.cfi_def_cfa_offset 8\n.cfi_restore %rbp\nret\n.cfi_endproc\n" END("after_push")
        FUNCTION("after_frame_pointer") ".cfi_startproc\n"
        "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
        "mov %rsp, %rbp\n.cfi_def_cfa_register %rbp\nsub $64, %rsp\n" SPIN
        "leave\n.cfi_def_cfa %rsp, 8\n.cfi_restore %rbp\nret\n.cfi_endproc\n" END("after_frame_pointer")
        FUNCTION("after_pop") ".cfi_startproc\n"
        "push %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\nmov $7, %ebx\n"
        "pop %rbx\n.cfi_def_cfa_offset 8\n.cfi_restore %rbx\n" SPIN "ret\n.cfi_endproc\n" END("after_pop")
        FUNCTION("between_pushes") ".cfi_startproc\n"
        "push %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\nmov $7, %ebx\n" SPIN
        "push %r12\n.cfi_def_cfa_offset 24\n.cfi_offset %r12, -24\n"
        "pop %r12\n.cfi_def_cfa_offset 16\npop %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n" END("between_pushes")
        /* No call frame information, but a frame pointer. */
        FUNCTION("with_frame_pointer_only")
        "push %rbp\nmov %rsp, %rbp\nsub $64, %rsp\n" SPIN "leave\nret\n" END("with_frame_pointer_only")
        FUNCTION("leaf_in_red_zone") ".cfi_startproc\n"
        "movq $1, -8(%rsp)\nmovq $2, -128(%rsp)\n" SPIN "ret\n.cfi_endproc\n" END("leaf_in_red_zone")
        /* OpenSSL's way: the caller's stack pointer is kept in the frame, and an expression finds it there
         * (DW_CFA_def_cfa_expression, DW_OP_breg7 16, DW_OP_deref, DW_OP_plus_uconst 8). */
        FUNCTION("aligned_by_hand") ".cfi_startproc\n"
        "mov %rsp, %rax\n.cfi_def_cfa_register %rax\nsub $200, %rsp\nand $-64, %rsp\nmov %rax, 16(%rsp)\n"
        ".cfi_escape 0x0f, 0x05, 0x77, 0x10, 0x06, 0x23, 0x08\nxor %eax, %eax\n" SPIN
        "mov 16(%rsp), %rsp\n.cfi_def_cfa %rsp, 8\nret\n.cfi_endproc\n" END("aligned_by_hand"));

/* The vdso's clock, for ever. */
PLAIN static void reads_clock(void) {
    struct timespec now;
    ENTER("reads_clock");
    for (;;)
        clock_gettime(CLOCK_MONOTONIC, &now);
}

/* A function without a frame. */
PLAIN static void counts(long *number) {
    for (;;)
        __atomic_add_fetch(number, 1, __ATOMIC_RELAXED);
}

static const char *inner;
static void (*place)(void);
static int is_about_to;
static long number;

/* What the C library does in memory: no calls, assembly that has its own call frame information. */
PLAIN static void copies(void) {
    static char from[1 << 16], to[1 << 16];
    ENTER("copies");
    for (;;) {
        memmove(to, from, sizeof to - (from[1] = to[2]));
        memset(from, 0, sizeof from);
        AFTER_CALL();
    }
}

PLAIN static void goes_there(void) {
    ENTER("goes_there");
    announce(inner);
    __atomic_store_n(&is_about_to, 1, __ATOMIC_SEQ_CST);
    place();
    AFTER_CALL();
}

PLAIN static void starts_leaf(void) {
    counts(&number);
    AFTER_CALL();
}

PLAIN static void *run_thread(void *argument) {
    ENTER("run_thread");
    goes_there();
    AFTER_CALL();
    return argument;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*place)(void);
        const char *inner;
    } places[] = {
        {"at_entry", at_entry, "at_entry"},
        {"after_push", after_push, "after_push"},
        {"after_frame_pointer", after_frame_pointer, "after_frame_pointer"},
        {"after_pop", after_pop, "after_pop"},
        {"between_pushes", between_pushes, "between_pushes"},
        {"with_frame_pointer_only", with_frame_pointer_only, "with_frame_pointer_only"},
        {"leaf_in_red_zone", leaf_in_red_zone, "leaf_in_red_zone"},
        {"aligned_by_hand", aligned_by_hand, "aligned_by_hand"},
        {"leaf", starts_leaf, "counts starts_leaf"},
        {"vdso", reads_clock, ".. reads_clock"},
        {"string", copies, ".. copies"},
    };
    pthread_t thread;
    ENTER("main");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (count == 2 && strcmp(places[i].name, arguments[1]) == 0) {
            place = places[i].place;
            inner = places[i].inner;
        }
    if (place == NULL)
        return 1;
    expect_threads(2);
    if (pthread_create(&thread, NULL, run_thread, NULL) != 0)
        return 1;
    arrive_for_spinner(thread, &is_about_to);
    stay();
    return 0;
}
