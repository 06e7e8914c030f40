// Processes of unusual shape: `odd SHAPE [NUMBER]`. Each prints what it knows of itself, then `ready`, and stands still.
//
// The values that it prints, and those that are written in here, are what a test compares with.

#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
enum { SLICE = 1 << 18, PAGE = 4096 };

uint64_t odd_value[4] = {0x1122334455667788, 0x99aabbccddeeff00, 0x0123456789abcdef, 0xfedcba9876543210};
uint64_t odd_marks[8];
uint64_t odd_lanes[2] = {0x0f1e2d3c4b5a6978, 0x8796a5b4c3d2e1f0};
static volatile uint64_t odd_top;
static ucontext_t outside, inside;

static void ready(void) {
    puts("ready");
    fflush(stdout);
}

KEEP static void rest(void) {
    for (;;) pause();
}

KEEP static void *parked(void *argument) {
    rest();
    return argument;
}

KEEP static void *on_slice(void *argument) {
    rest();
    return argument;
}

KEEP static void in_coroutine(void) {
    ready();
    rest();
}

// Its stack pointer points to where nothing is.
KEEP static void *wild(void *argument) {
    (void)argument;
    __asm__ volatile("mov $0x10, %rsp\n movl $1, odd_gone(%rip)\n 1: pause\n jmp 1b");
    __builtin_unreachable();
}
volatile int odd_gone;

// Holds what is known in its registers and below its stack pointer, and runs for ever.
KEEP static void *marked(void *argument) {
    (void)argument;
    __asm__ volatile(
        "sub $128, %%rsp\n"
        "lea odd_marks(%%rip), %%rsi\n mov %%rsp, %%rdi\n mov $8, %%ecx\n rep movsq\n"
        "movdqu odd_lanes(%%rip), %%xmm7\n"
        "movabs $0x5151515152525252, %%r12\n"
        "movabs $0x6161616162626262, %%r13\n"
        "mov %%rsp, %0\n"
        "1: pause\n jmp 1b" : "=m"(odd_top));
    __builtin_unreachable();
}

static void start(void *(*run)(void *), pthread_attr_t *attributes) {
    pthread_t thread;
    if (pthread_create(&thread, attributes, run, NULL) != 0) {
        perror("pthread_create");
        exit(1);
    }
}

static void print_words(const char *name, const void *at, size_t size) {
    printf("%s ", name);
    for (size_t i = 0; i < size; i++) printf("%02x", ((const unsigned char *)at)[i]);
    printf("\n");
}

int main(int count, char **arguments) {
    const char *shape = count > 1 ? arguments[1] : "";
    long number = count > 2 ? atol(arguments[2]) : 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (!strcmp(shape, "threads")) {
        pthread_attr_setstacksize(&attributes, 32 << 10);
        for (long i = 1; i < number; i++) start(parked, &attributes);
    } else if (!strcmp(shape, "slices")) {
        char *all = mmap(NULL, number * SLICE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (long i = 0; i < number; i++) {
            pthread_attr_setstack(&attributes, all + i * SLICE, SLICE);
            start(on_slice, &attributes);
        }
    } else if (!strcmp(shape, "coroutine")) {
        getcontext(&inside);
        inside.uc_stack.ss_sp = malloc(SLICE / 4);
        inside.uc_stack.ss_size = SLICE / 4;
        inside.uc_link = &outside;
        makecontext(&inside, in_coroutine, 0);
        swapcontext(&outside, &inside);
    } else if (!strcmp(shape, "wild")) {
        start(wild, NULL);
        while (!odd_gone) usleep(1000);
    } else if (!strcmp(shape, "marked")) {
        for (int i = 0; i < 8; i++) odd_marks[i] = 0xa0b0c0d0e0f00000 + i;
        start(marked, NULL);
        while (!odd_top) usleep(1000);
        char *heap = malloc(48);
        for (int i = 0; i < 48; i++) heap[i] = i * 5;
        print_words("value", odd_value, sizeof odd_value);
        print_words("marks", odd_marks, sizeof odd_marks);
        print_words("heap", heap, 48);
        printf("heap-at %p\nvalue-at %p\nrsp %#lx\n", heap, odd_value, odd_top);
        printf("xmm7 0x%016lx%016lx\n", odd_lanes[1], odd_lanes[0]);
    } else if (!strcmp(shape, "mappings")) {
        char *all = mmap(NULL, number * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (long i = 0; i < number; i += 2)
            if (mprotect(all + i * PAGE, PAGE, PROT_READ | PROT_WRITE) != 0) return 1;
        start(parked, NULL);
    } else if (!strcmp(shape, "poor")) {
        start(parked, NULL);
        struct rlimit little = {PAGE, PAGE}, none = {0, 0};
        if (setrlimit(RLIMIT_AS, &little) || setrlimit(RLIMIT_DATA, &none)) return 1;
        if (mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) return 1;
    } else if (!strcmp(shape, "strict")) {
        int ends[2];
        char byte;
        if (pipe(ends) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 1;
        if (write(1, "ready\n", 6) != 6 || read(ends[0], &byte, 1) < 0) return 1;
    } else {
        return 1;
    }
    ready();
    rest();
}
