// `generated_steps N`: a thread that stops for ever in a handler after so many instructions of code which the program has made
// itself, and called through a pointer. `generated_steps` alone tells how many there are.

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// push %rbp; mov %rsp,%rbp; push %rbx; sub $8,%rsp; xor %ebx,%ebx; xor %eax,%eax; add $8,%rsp; pop %rbx; pop %rbp; cmp %eax,%eax;
// jne .; ret
static const unsigned char CODE[] = {0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 8, 0x31, 0xdb, 0x31, 0xc0,
                                     0x48, 0x83, 0xc4, 8, 0x5b, 0x5d, 0x39, 0xc0, 0x75, 0xfe, 0xc3};
enum { TRAP_FLAG = 0x100 };

static unsigned char *code;
static volatile int steps, wanted = -1;

__attribute__((noipa)) static void waits(void) {
    for (;;) pause();
}

static void handles(int number, siginfo_t *information, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned long pc = registers[REG_RIP];
    if (pc >= (unsigned long)code && pc < (unsigned long)code + sizeof CODE) {
        if (steps++ == wanted) waits();
    } else if (steps > 0) {
        registers[REG_EFL] &= ~TRAP_FLAG;
    }
}

// Its caller is found by the frame pointer, which the code above uses for something else.
__attribute__((noipa, optimize("no-omit-frame-pointer"))) static int calls_generated(int (*generated)(void)) {
    volatile char room[64] = {0};
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" : : "i"(TRAP_FLAG) : "memory", "cc");
    return generated() + room[1];
}

int main(int count, char **arguments) {
    if (count > 1) wanted = atoi(arguments[1]);
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    memcpy(code, CODE, sizeof CODE);
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC)) return 1;
    struct sigaction action = {.sa_sigaction = handles, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGTRAP, &action, NULL)) return 1;
    if (wanted >= 0) {
        puts("ready");
        fflush(stdout);
    }
    int got = calls_generated((int (*)(void))code);
    printf("%d\n", steps);
    return got;
}
