// A thread that sleeps below code which the program has made itself, and named in its file for perf: between names of
// other code, lines that make no sense, and an older name of the same place.

#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret
static const unsigned char CODE[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};

__attribute__((noipa)) static void sleeps_below(void) {
    for (;;) pause();
}

__attribute__((noipa)) static int calls_generated(void (*generated)(void (*)(void))) {
    generated(sleeps_below);
    return 1;
}

int main(void) {
    unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    memcpy(code + 64, CODE, sizeof CODE);
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC)) return 1;
    char name[64];
    snprintf(name, sizeof name, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(name, "we");
    if (!map) return 1;
    unsigned long start = (unsigned long)code;
    fprintf(map, "%lx 1000 old_name of the page\n", start);
    fprintf(map, "%lx 40 before_it\n%lx 8 after_it\n", start, start + 64 + sizeof CODE);
    fprintf(map, "%lx %zx made_by_hand(int, char)\n", start + 64, sizeof CODE);
    fprintf(map, "nonsense\n%lx\n%lx -1 negative\nffffffffffffffff ff wraps\n%lx 0 empty\n", start, start, start);
    fprintf(map, "%lx 1000 never_finished", start);
    if (fclose(map)) return 1;
    // The names of C's functions are to be seen, too, so something is done after each call.
    puts("ready");
    fflush(stdout);
    return calls_generated((void (*)(void (*)(void)))(code + 64)) + 1;
}
