// A program for aarch64 that records itself: called `aarch64 CASE`, it brings about one kind of stack, writes down what it
// knows of it, and ends.
//
//   map LINE              /proc/self/maps
//   NAME VALUE            each register: x0 to x30, sp, pc
//   memory ADDRESS HEX    the stack from sp on, and code that lies in no file
//   frame NAME            by its own account, innermost first, down to main; `signal` stands for the kernel's frame
//                         and `nowhere` for code at address 0
//
// Every function of a case writes its name down when it begins and takes it back at its end: that is the account.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define FUNCTION __attribute__((noinline, noclone))
#define ENTER names[depth++] = __func__
#define LEAVE depth--

static const char *volatile names[4096];
static volatile int depth;
static volatile int sink;

static void put_memory(uintptr_t start, uintptr_t end) {
    printf("memory %lx ", start);
    for (const unsigned char *byte = (void *)start; byte < (const unsigned char *)end; byte++) printf("%02x", *byte);
    printf("\n");
}

// Prints what is known and ends the program. Called with all registers as they are in `snap`.
static void put_all(const uint64_t *registers) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        uintptr_t start, end;
        char rights[8], path[256] = "";
        printf("map %s", line);
        sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &start, &end, rights, path);
        if (start <= registers[31] && registers[31] < end) put_memory(registers[31], end);
        if (rights[2] == 'x' && !path[0]) put_memory(start, end);
    }
    for (int number = 0; number < 31; number++) printf("x%d %lx\n", number, registers[number]);
    printf("sp %lx\npc %lx\n", registers[31], registers[32]);
    while (depth) printf("frame %s\n", names[--depth]);
    fflush(stdout);
    _exit(0);
}

static FUNCTION void snap(void) {
    ENTER;
    uint64_t registers[33];
    register uint64_t *to asm("x9") = registers;
    asm volatile(
        "stp x0, x1, [x9]\n stp x2, x3, [x9, #16]\n stp x4, x5, [x9, #32]\n stp x6, x7, [x9, #48]\n"
        "stp x8, x9, [x9, #64]\n stp x10, x11, [x9, #80]\n stp x12, x13, [x9, #96]\n stp x14, x15, [x9, #112]\n"
        "stp x16, x17, [x9, #128]\n stp x18, x19, [x9, #144]\n stp x20, x21, [x9, #160]\n stp x22, x23, [x9, #176]\n"
        "stp x24, x25, [x9, #192]\n stp x26, x27, [x9, #208]\n stp x28, x29, [x9, #224]\n"
        "mov x10, sp\n stp x30, x10, [x9, #240]\n adr x10, .\n str x10, [x9, #256]"
        : : "r"(to) : "x10", "memory");
    put_all(registers);
}

static FUNCTION int third(int n) {
    ENTER;
    snap();
    LEAVE;
    return n + sink;
}

// Callee-saved registers in use, an array whose size is not known, and arguments on the stack.
static FUNCTION int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j) {
    ENTER;
    int sum = third(a + j) + b * c + d * e + f * g + h * i;
    LEAVE;
    return sum;
}

static FUNCTION int varying(int n) {
    ENTER;
    volatile char room[n];
    room[n - 1] = 1;
    int sum = many(n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9) + room[n - 1];
    LEAVE;
    return sum;
}

static FUNCTION int large(int n) {
    ENTER;
    volatile char room[20000];
    room[n] = 1;
    int sum = varying(n + 20) + room[n];
    LEAVE;
    return sum;
}

static FUNCTION int first(int n) {
    ENTER;
    int sum = large(n) + 1;
    LEAVE;
    return sum;
}

static FUNCTION int recursion(int n) {
    ENTER;
    int sum = n == 0 ? third(n) : recursion(n - 1) + n;
    LEAVE;
    return sum + sink;
}

// The call is the last instruction: the return address lies in the next function.
static FUNCTION void goes_for_good(int n) __attribute__((noreturn));
static FUNCTION void goes_for_good(int n) {
    ENTER;
    third(n);
    abort();
}

static FUNCTION int calls_for_good(int n) {
    ENTER;
    sink = n;
    goes_for_good(n + 1);
}

// A leaf: it calls nothing, and its return address is in x30 when it runs into the bad address.
static FUNCTION int leaf(volatile int *at) {
    ENTER;
    int sum = *at + 1;
    LEAVE;
    return sum;
}

static FUNCTION int above_leaf(int n) {
    ENTER;
    int sum = leaf((volatile int *)(uintptr_t)(n & 1)) + n;
    LEAVE;
    return sum + sink;
}

static FUNCTION int bad_pointer(int n) {
    ENTER;
    int (*volatile nowhere)(int) = (int (*)(int))(uintptr_t)(n & 0);
    names[depth++] = "nowhere";
    int sum = nowhere(n) + sink;
    LEAVE;
    LEAVE;
    return sum;
}

static FUNCTION int by_number(const void *a, const void *b) {
    const int *left = a, *right = b;
    if (*left + *right == 7) {
        ENTER;
        snap();
    }
    return *left - *right;
}

static void handler(int signal) {
    names[depth++] = "signal";
    ENTER;
    if (signal == SIGSEGV) third(signal);
    if (signal == SIGUSR1) above_leaf(signal & ~1);
    if (signal == SIGUSR2) third(signal);
    _exit(1);
}

int main(int count, char **words) {
    const char *which = count > 1 ? words[1] : "";
    struct sigaction action = {.sa_handler = handler};
    for (int signal = 1; signal < 16; signal++) sigaction(signal, &action, 0);
    ENTER;
    if (!strcmp(which, "plain")) return first(count);
    if (!strcmp(which, "recursion")) return recursion(1000);
    if (!strcmp(which, "noreturn")) return calls_for_good(count);
    if (!strcmp(which, "leaf")) return above_leaf(count & ~1);
    if (!strcmp(which, "nested")) return raise(SIGUSR1);
    if (!strcmp(which, "raise")) return raise(SIGUSR2);
    if (!strcmp(which, "null")) return bad_pointer(count);
    if (!strcmp(which, "callback")) {
        int numbers[] = {3, 4};
        qsort(numbers, 2, sizeof *numbers, by_number);
    }
    return 1;
}
