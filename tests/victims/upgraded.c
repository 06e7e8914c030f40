// A program that waits in a function of its own which its plugin calls. All names end in V, so that
// another version has others. The first argument is the plugin (this source with -DPLUGIN); with
// `memory` as the second it is loaded from a memfd, with `all` the program executes itself from
// one, too.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define PASTE(name, version) name##version
#define VERSIONED(name, version) PASTE(name, version)
#define NAME(name) VERSIONED(name, V)
#define APART __attribute__((noinline))

static volatile int kept;
static inline __attribute__((always_inline)) int NAME(inlined)(int (*waits)(int), int n) { int got = waits(n + 2); kept = got; return got; }

#ifdef PLUGIN
APART int NAME(retries)(int (*waits)(int), int n) { int got = NAME(inlined)(waits, n); kept = got; return got + n; }
int handles(int (*waits)(int), int n);
APART int NAME(handles)(int (*waits)(int), int n) { int got = NAME(retries)(waits, n); kept = got; return got + n; }
int handles(int (*waits)(int), int n) { int got = NAME(handles)(waits, n); kept = got; return got + n; }
#else
static const char *path;
static int in_memory;

static int copy(const char *from, int flags) {
    int file = open(from, O_RDONLY), memory = memfd_create("copy", flags);
    while (sendfile(memory, file, 0, 1 << 20) > 0);
    close(file);
    return memory;
}

APART int NAME(waits)(int n) {
    puts("ready");
    fflush(stdout);
    for (;;) { pause(); kept = n; }
}

APART int NAME(serves)(int n) {
    char own[64];
    if (in_memory) {
        snprintf(own, sizeof own, "/proc/self/fd/%d", copy(path, 0));
        path = own;
    }
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin) { fputs(dlerror(), stderr); return 1; }
    int (*handles)(int (*)(int), int) = (int (*)(int (*)(int), int))dlsym(plugin, "handles");
    int got = handles(NAME(waits), n);
    kept = got;
    return got + n;
}

int main(int argc, char **argv) {
    path = argv[1];
    in_memory = argc > 2;
    if (argc > 2 && !strcmp(argv[2], "all")) {
        argv[2] = "memory";
        fexecve(copy("/proc/self/exe", MFD_CLOEXEC), argv, environ);
        return 1;
    }
    int got = NAME(serves)(argc);
    kept = got;
    return 0;
}
#endif
