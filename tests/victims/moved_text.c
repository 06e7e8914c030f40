// Moves code into anonymous memory at the same addresses, as programs do to have it in huge pages, and pauses. The argument says
// which: `page` (one page of its own), `program` (all of its own), `library` (the C library's).
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int sink;

#define APART __attribute__((noinline, aligned(4096)))

APART int waits(int depth) { pause(); sink = depth; return depth + 1; }
__attribute__((noinline)) int fetches(int depth) { char room[200]; room[depth] = 1; int got = waits(depth); sink = room[depth]; return got + 1; }
APART int serves(int depth) { int got = fetches(depth); sink = got; return got + 1; }

// The executable mapping that holds this address.
static void find(uintptr_t inside, uintptr_t *start, uintptr_t *end) {
    char line[4096], permissions[8];
    unsigned long from, to;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, permissions) == 3 && permissions[2] == 'x' && inside >= from && inside < to)
            *start = from, *end = to;
    if (maps) fclose(maps);
}

int main(int argc, char **argv) {
    uintptr_t start = 0, end = 0;
    if (argc > 1 && !strcmp(argv[1], "page")) {
        start = (uintptr_t)waits & ~4095ul;
        end = start + 4096;
    } else {
        find(argc > 1 && !strcmp(argv[1], "library") ? (uintptr_t)pause : (uintptr_t)main, &start, &end);
    }
    char *copy = mmap(0, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) return 1;
    memcpy(copy, (void *)start, end - start);
    if (mprotect(copy, end - start, PROT_READ | PROT_EXEC)) return 1;
    if (mremap(copy, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) == MAP_FAILED) return 1;
    puts("ready");
    fflush(stdout);
    int got = serves(argc);
    sink = got;
    return 0;
}
