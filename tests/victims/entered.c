// Functions made while the program runs and called through pointers, in ways that compilers of such code use. Nothing says where
// they begin. The innermost calls a function of the program, which pauses or, with a second argument, polls.
//   framed     push %rbp; mov %rsp,%rbp; sub; ..; leave; ret
//   plain      sub $8,%rsp; ..; add $8,%rsp; ret, as Python's perf trampolines
//   saving     pushes of %rbx, %rbp and %r12, which it then changes; pops in the other order
//   testing    a jump over the end after the call, and another jump back to it
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int kept;
static int polls = -1;
static struct epoll_event event;

__attribute__((noinline)) static int native_waits(void) {
    if (polls < 0) while (pause()) {}
    else while (epoll_wait(polls, &event, 1, -1) < 0) {}
    kept = 1;
    return 2;
}

// `movabs $callee,%rax; call *%rax` with code before and after it.
static size_t emit(unsigned char *at, const void *callee, const unsigned char *before, size_t many, const unsigned char *after, size_t more) {
    memcpy(at, before, many);
    unsigned char call[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xd0};
    memcpy(call + 2, &callee, 8);
    memcpy(at + many, call, sizeof call);
    memcpy(at + many + sizeof call, after, more);
    return many + sizeof call + more;
}

#define BYTES(...) (const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__})

static size_t function(const char *kind, unsigned char *at, const void *callee) {
    if (!strcmp(kind, "framed"))
        return emit(at, callee, BYTES(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20), BYTES(0xc9, 0xc3));
    if (!strcmp(kind, "plain"))
        return emit(at, callee, BYTES(0x48, 0x83, 0xec, 8), BYTES(0x48, 0x83, 0xc4, 8, 0xc3));
    if (!strcmp(kind, "saving"))
        // push %rbx; push %rbp; push %r12; xor %ebx,%ebx; mov $7,%ebp; sub $16,%rsp
        return emit(at, callee, BYTES(0x53, 0x55, 0x41, 0x54, 0x31, 0xdb, 0xbd, 7, 0, 0, 0, 0x48, 0x83, 0xec, 16),
                    BYTES(0x48, 0x83, 0xc4, 16, 0x41, 0x5c, 0x5d, 0x5b, 0xc3));
    // sub $8,%rsp; ..; test %eax,%eax; js 2f; 1: jmp 3f; 2: ud2; 3: add $8,%rsp; ret
    return emit(at, callee, BYTES(0x48, 0x83, 0xec, 8),
                BYTES(0x85, 0xc0, 0x78, 2, 0xeb, 2, 0x0f, 0x0b, 0x48, 0x83, 0xc4, 8, 0xc3));
}

__attribute__((noinline)) static int enters(int (*first)(void)) {
    int result = first();
    kept = result;
    return result + 1;
}

int main(int argc, char **argv) {
    if (argc > 2) polls = epoll_create1(0);
    unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const char *names[] = {"made_inner", "made_middle", "made_outer"};
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    const void *callee = (void *)native_waits;
    for (int i = 0; i < 3; i++) {
        unsigned char *at = code + 256 * i;
        size_t size = function(argv[1], at, callee);
        fprintf(map, "%lx %zx %s\n", (unsigned long)at, size, names[i]);
        callee = at;
    }
    fclose(map);
    puts("ready");
    fflush(stdout);
    int result = enters((int (*)(void))(uintptr_t)callee);
    kept = result;
    return 0;
}
