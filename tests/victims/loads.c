// Among so many mappings that it takes a while to read the map, a library is loaded, waits for a byte on standard input, and goes; again
// and again.
//
//   loads LIBRARY    before each byte that it waits for it says where: "ready", or "there" in the library
//
// With -DLIBRARY it is the library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef LIBRARY

__attribute__((noinline)) int wait_in_library(void) {
    char byte;
    puts("there");
    fflush(stdout);
    return read(0, &byte, 1) != 1;
}

#else

enum { MAPPINGS = 20000 };

int main(int count, char **arguments) {
    char byte;
    if (count < 2) return 1;
    for (int i = 0; i < MAPPINGS; i++)
        if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) abort();
    for (;;) {
        puts("ready");
        fflush(stdout);
        if (read(0, &byte, 1) != 1) return 0;
        void *library = dlopen(arguments[1], RTLD_NOW);
        int (*wait_in_library)(void) = (int (*)(void))dlsym(library, "wait_in_library");
        if (wait_in_library()) return 0;
        dlclose(library);
    }
}

#endif
