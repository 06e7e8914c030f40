// Functions written by hand whose call frame information says nothing of their ends, each stopped at one instruction of its end:
// the program single-steps itself, and its handler pauses when it has interrupted that instruction.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

// The call frame information has its pushes and its sub, and not its add, pops and ret.
__asm__(
    ".text\n"
    ".type hand_written,@function\n"
    "hand_written:\n"
    ".cfi_startproc\n"
    "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx,0\n"
    "push %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %r12,0\n"
    "sub $24,%rsp\n.cfi_adjust_cfa_offset 24\n"
    "xor %ebx,%ebx\n"
    "xor %r12d,%r12d\n"
    "at_add: add $24,%rsp\n"
    "at_first_pop: pop %r12\n"
    "at_second_pop: pop %rbx\n"
    "at_ret: ret\n"
    ".cfi_endproc\n"
    ".size hand_written,.-hand_written\n"
    // A leaf that takes stack without a word of it in the call frame information.
    ".type says_nothing,@function\n"
    "says_nothing:\n"
    ".cfi_startproc\n"
    "push %rbx\n"
    "xor %ebx,%ebx\n"
    "at_unsaid_pop: pop %rbx\n"
    "at_unsaid_ret: ret\n"
    ".cfi_endproc\n"
    ".size says_nothing,.-says_nothing\n");

void hand_written(void), says_nothing(void);
extern const char at_add[], at_first_pop[], at_second_pop[], at_ret[], at_unsaid_pop[], at_unsaid_ret[];

static const char *wanted;
static void (*which)(void);
static volatile int kept;

static void steps(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    if (((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] == (long)wanted)
        for (;;) pause();
}

__attribute__((noinline)) static int calls_it(int n) {
    __asm__ volatile("pushfq; orq $0x100,(%%rsp); popfq" ::: "memory", "cc");
    which();
    kept = n;
    return kept + 1;
}

__attribute__((noinline)) static int calls_that(int n) {
    volatile char room[64];
    room[n] = 1;
    return calls_it(n) + room[n];
}

int main(int argc, char **argv) {
    struct { const char *name, *place; } places[] = {
        {"at_add", at_add}, {"at_first_pop", at_first_pop}, {"at_second_pop", at_second_pop}, {"at_ret", at_ret},
        {"at_unsaid_pop", at_unsaid_pop}, {"at_unsaid_ret", at_unsaid_ret},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strcmp(argv[1], places[i].name)) wanted = places[i].place;
    if (!wanted) return 2;
    which = strstr(argv[1], "unsaid") ? says_nothing : hand_written;
    struct sigaction action = {.sa_sigaction = steps, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, 0);
    puts("ready");
    fflush(stdout);
    return calls_that(argc) == 77;
}
